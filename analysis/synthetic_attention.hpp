#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "analysis/tensor_error.hpp"
#include "kernels_ref/layout/grid.hpp"

/// Made-up q, k and v of a video: smooth content with objects moving through it, in which tokens of
/// like content attend to each other.
///
/// Of each head, with r = noise, c and u [tokens, head_dim] of unit variance and every e white:
///
///   q = sharpness * R(sqrt(1-r) c + sqrt(r) e_q)   k = R(sqrt(1-r) c + sqrt(r) e_k)
///   v = sqrt(1-r) u + sqrt(r) e_v
///
/// R is the model's 3-D RoPE (kernels_ref/block/rope.hpp). The channels of c and u are independent
/// stationary Gaussian fields with covariance exp(-(dt/lt)^2/2 - (dy/ly)^2/2 - (dx/lx)^2/2), drawn
/// exactly (to float32): white numbers times a root of each axis' covariance matrix. Where an
/// object is, one normal vector of its own replaces the field, another in c than in u. All heads
/// see the same objects; fields, vectors and noise are theirs alone. Turning content by an
/// orthogonal matrix would change nothing, as its channels are alike.
namespace ospsim {

struct SyntheticAttention {
  Grid grid;
  std::int64_t heads = 40, head_dim = 128;  ///< head_dim is even
  /// Correlation lengths, in tokens; 0 is white. The defaults are 64 pixels and, at 16 frames a
  /// second, one second of Wan2.1's tokens.
  double length_t = 4, length_y = 4, length_x = 4;
  double noise = 0.5;  ///< share of the variance, 0..1
  std::int64_t objects = 8;
  double object_size = 0.25;  ///< largest extent of an object, of the frame's
  double speed = 2;           ///< largest, along y and along x, in tokens per frame
  double sharpness = 1;       ///< see sharpness_for
  std::uint64_t seed = 1;
};

/// A box or the ellipse in it. Its centre moves on a line and may leave the frame. Later objects
/// hide earlier ones.
struct MovingObject {
  bool ellipse = false;
  double y = 0, x = 0;                    ///< centre in frame 0
  double velocity_y = 0, velocity_x = 0;  ///< tokens per frame
  double half_height = 0.5, half_width = 0.5;

  bool covers(std::int64_t t, std::int64_t row, std::int64_t column) const;
};

/// Shapes and velocities are uniform: extents in [1, object_size * the frame's], velocities in
/// [-speed, speed], the centre in the frame in the middle of the video.
std::vector<MovingObject> moving_objects(const SyntheticAttention& parameters);

/// One head, each of q, k, v [tokens, head_dim]. Depends on the parameters and the head alone, not
/// on `threads`. Throws InputError for parameters out of range, std::invalid_argument where a size
/// does not fit.
void fill_synthetic_head(const SyntheticAttention& parameters, std::int64_t head,
                         std::span<float> q, std::span<float> k, std::span<float> v,
                         int threads = 0);

/// The same as a source. Throws InputError for parameters out of range.
AttentionHeads synthetic_heads(const SyntheticAttention& parameters, int threads = 0);

struct Sharpness {
  double sharpness = 1;
  double effective_tokens = 0;  ///< reached, on the queries it was chosen with
};

/// The sharpness at which the mean over queries of exp(entropy of full attention) is
/// `effective_tokens`, on `queries` tokens drawn from head 0 (`parameters.sharpness` is not looked
/// at). That mean falls strictly as sharpness grows, from the number of tokens at 0. Throws
/// InputError where it is asked to be the number of tokens or more, or less than it can be.
Sharpness sharpness_for(const SyntheticAttention& parameters, double effective_tokens,
                        std::int64_t queries = 128, int threads = 0);

}  // namespace ospsim
