#include <algorithm>

#include "kernels_ref/block/check.hpp"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/block/gelu_cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels_ref/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

/// (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u)) and its derivative with respect to 2u, where
/// u = sqrt(2 / pi) * (x + 0.044715 x^3), written with e^(-|2u|), which cannot overflow.
struct Gate {
  Vector value, slope, d_two_u;

  explicit Gate(Vector x) {
    const Floats floats;
    const Vector one = hn::Set(floats, 1.0f), square = hn::Mul(x, x);
    const Vector factor = hn::Set(floats, 1.5957691216f);  // 2 sqrt(2 / pi)
    const Vector two_u =
        hn::Mul(hn::Mul(factor, x), hn::MulAdd(hn::Set(floats, 0.044715f), square, one));
    const Vector small = exp(hn::Neg(hn::Abs(two_u)));
    const Vector inverse = hn::Div(one, hn::Add(one, small));
    value = hn::Mul(inverse, hn::IfThenElse(hn::Lt(two_u, hn::Zero(floats)), small, one));
    slope = hn::Mul(small, hn::Mul(inverse, inverse));
    d_two_u = hn::Mul(factor, hn::MulAdd(hn::Set(floats, 3 * 0.044715f), square, one));
  }
};

/// out[i] = f(a[i], b[i]) by whole vectors; the last, incomplete one passes through a buffer.
template <class F>
HWY_INLINE void transform(const float* a, const float* b, float* out, std::int64_t size, F f) {
  const Floats floats;
  std::int64_t i = 0;
  for (; i + lanes() <= size; i += lanes())
    hn::StoreU(f(hn::LoadU(floats, a + i), hn::LoadU(floats, b + i)), floats, out + i);
  if (i == size) return;
  float a_rest[hn::MaxLanes(floats)] = {}, b_rest[hn::MaxLanes(floats)] = {};
  std::copy(a + i, a + size, a_rest);
  std::copy(b + i, b + size, b_rest);
  hn::StoreU(f(hn::LoadU(floats, a_rest), hn::LoadU(floats, b_rest)), floats, a_rest);
  std::copy_n(a_rest, size - i, out + i);
}

void gelu_range(const float* x, float* y, std::int64_t size) {
  transform(x, x, y, size, [](Vector v, Vector) HWY_ATTR { return hn::Mul(v, Gate(v).value); });
}

void gelu_gradient_range(const float* x, const float* dy, float* dx, std::int64_t size) {
  transform(x, dy, dx, size, [](Vector v, Vector gradient) HWY_ATTR {
    const Gate gate(v);
    return hn::Mul(gradient, hn::MulAdd(hn::Mul(v, gate.slope), gate.d_two_u, gate.value));
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {
namespace {

HWY_EXPORT(gelu_range);
HWY_EXPORT(gelu_gradient_range);

constexpr std::int64_t elements_per_task = 32768;

}  // namespace

template <>
void gelu_tanh_forward<Backend::cpu>(std::span<const float> x, std::span<float> y, int threads) {
  check_gelu_tanh(x, x, y);
  parallel_ranges(std::ssize(x), elements_per_task, threads, [&](std::int64_t i, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(gelu_range)(x.data() + i, y.data() + i, end - i);
  });
}

template <>
void gelu_tanh_backward<Backend::cpu>(std::span<const float> x, std::span<const float> dy,
                                      std::span<float> dx, int threads) {
  check_gelu_tanh(x, dy, dx);
  parallel_ranges(std::ssize(x), elements_per_task, threads, [&](std::int64_t i, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(gelu_gradient_range)
    (x.data() + i, dy.data() + i, dx.data() + i, end - i);
  });
}

}  // namespace ospsim
#endif
