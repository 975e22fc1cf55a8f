// INT8 over whole tensors: float32 on SIMD lanes.

#include <algorithm>

#include "kernels_ref/formats/check.hpp"
#include "kernels_ref/formats/elements.hpp"
#include "kernels_ref/formats/parts.hpp"
#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/formats/int8_cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels_ref/formats/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR
// A CPU without SIMD: nothing is done here, and all of it by the scalar codec.
std::size_t int8_encode_floats(std::span<const float>, float, std::int8_t*) {
  return 0;
}
#else

/// Of whole vectors; returns how many numbers that were.
std::size_t int8_encode_floats(std::span<const float> x, float scale_value, std::int8_t* q) {
  const Singles d;
  const hn::Rebind<std::int8_t, Singles> narrow_bytes;
  const auto scale = hn::Set(d, scale_value), most = hn::Set(d, 127.0f);
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= x.size(); i += hn::Lanes(d)) {
    const auto value = hn::LoadU(d, &x[i]);
    const auto is_number =
        hn::Lt(hn::And(hn::BitCast(Dwords(), value), hn::Set(Dwords(), 0x7fffffffu)),
               hn::Set(Dwords(), 0x7f800001u));
    const auto quotient = hn::Max(hn::Min(hn::Div(value, scale), most), hn::Neg(most));
    const auto rounded = hn::IfThenElseZero(
        hn::RebindMask(hn::RebindToSigned<Singles>(), is_number), hn::NearestInt(quotient));
    hn::StoreU(hn::DemoteTo(narrow_bytes, rounded), narrow_bytes, q + i);
  }
  return i;
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {
namespace {

HWY_EXPORT(int8_encode_floats);

}  // namespace

template <>
void int8_encode<Backend::cpu>(Numbers x, float scale, std::span<std::int8_t> q, int threads) {
  check_int8_encode(x, q);
  std::visit(
      [&]<class T>(std::span<T> from) {
        parallel_ranges(elements(x), task, threads, [&](std::int64_t first, std::int64_t last) {
          const auto source = part(from, first, last);
          const auto to = part(q, first, last);
          std::size_t done = 0;
          if constexpr (std::is_same_v<T, const float>)
            done = HWY_DYNAMIC_DISPATCH(int8_encode_floats)(source, scale, to.data());
          int8_encode_elements(source.subspan(done), scale, to.subspan(done));
        });
      },
      x);
}

template <>
void int8_decode<Backend::cpu>(std::span<const std::int8_t> q, float scale, MutableNumbers x,
                               int threads) {
  check_int8_decode(q, x);
  std::visit(
      [&](auto to) {
        parallel_ranges(elements(x), task, threads, [&](std::int64_t first, std::int64_t last) {
          int8_decode_elements(part(q, first, last), scale, part(to, first, last));
        });
      },
      x);
}

}  // namespace ospsim
#endif
