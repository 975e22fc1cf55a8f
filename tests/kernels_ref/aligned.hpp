#pragma once

#include <algorithm>
#include <vector>

#include "kernels_ref/cuda/lane.hpp"
#include "kernels_ref/formats/wide_float.hpp"

namespace ospsim {

/// An array that kernels read: 16-byte aligned, as device memory is.
template <class T>
class Aligned {
 public:
  explicit Aligned(std::size_t size, T value = {})
      : size_(size), packs_((size + pack_size<T> - 1) / pack_size<T>) {
    std::fill_n(data(), packs_.size() * pack_size<T>, value);
  }
  T* data() { return packs_.empty() ? nullptr : &packs_[0].at[0]; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data()[i]; }

 private:
  std::size_t size_;
  std::vector<Pack16<T>> packs_;
};

inline Aligned<Bfloat16> as_bf16(const std::vector<double>& x) {
  Aligned<Bfloat16> to(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) to[i] = to_bfloat16(static_cast<float>(x[i]));
  return to;
}
inline Aligned<float> as_float(const std::vector<double>& x) {
  Aligned<float> to(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) to[i] = static_cast<float>(x[i]);
  return to;
}
inline std::vector<double> rounded_to_bf16(std::vector<double> x) {
  for (auto& v : x) v = round_to_bf16(static_cast<float>(v));
  return x;
}
inline std::vector<double> values(Aligned<Bfloat16>& x) {
  std::vector<double> to(x.size());
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = to_float(x[i]);
  return to;
}

/// What an output holds before it is written.
inline constexpr Bfloat16 poison{0x7fc1};

}  // namespace ospsim
