#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "analysis/estimate.hpp"
#include "analysis/mask.hpp"

/// What a pattern keeps of full attention where attention is a Gaussian around the query: the
/// expected error of its output, and recall beside it.
///
/// Attention around q is a kernel F_q(j) = exp(-|j-q|^2 / 2s^2) / Z over the valid tokens. A phase
/// sees the share m(q) of it that lies on the tokens q attends to (recall), and computes with S_q =
/// F_q restricted to these and divided by m(q). Values are a random field with correlation rho, so
/// the expected squared error of a phase's output, relative to the expected square of full
/// attention's, is
///
///   error^2 = sum_q <D_q, rho D_q> / sum_q <F_q, rho F_q>,   D_q = S_q - F_q.
///
/// Exact up to rounding (about 1e-15 of error^2): Gaussians and rho's terms are products over the
/// axes, and a mask is a product too or consists of few different rows.
namespace ospsim {

/// A length per axis, in tokens.
struct AxisLengths {
  double t = 0, y = 0, x = 0;
};

/// How attention and values look, as far as the error of an output depends on it.
struct AttentionModel {
  /// s: standard deviations of the kernel around a query; infinity is uniform attention. The one
  /// along t cancels where a query sees the same of every frame and all terms of rho fade alike.
  AxisLengths bandwidth{2, 3, 3};
  /// rho(d) = sum of weight * exp(-dt^2/2lt^2 - dy^2/2ly^2 - dx^2/2lx^2). Length 0 stands for [d =
  /// 0] along that axis.
  struct Correlation {
    double weight;
    AxisLengths length;
  };
  std::vector<Correlation> correlation;

  /// Bandwidth s inside the frame; rho = (1/6)([d=0] + sum over l in {1,2,4,8,16} of
  /// exp(-|d|^2/2l^2)) there; along t, bandwidth 2 frames (infinite where s is) and every term of
  /// length 4.
  static AttentionModel isotropic(double s);
};

/// In tokens: an axis costs matrices of its length.
inline constexpr std::int64_t longest_axis = 2048;

/// Bandwidths to compare patterns at: from a token and its neighbours to a third of a frame.
inline constexpr std::array table_bandwidths{0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0};

/// Of one phase, over all queries or a sample of them.
struct PhaseError {
  Estimate recall, output_error;
};

/// Which queries stand for all of them: `count` drawn without replacement; 0 or at least as many as
/// there are tokens: all.
struct QuerySample {
  std::int64_t count = 0;
  std::uint64_t seed = 0;
};

/// Throws InputError for a grid longer than `longest_axis`, a bandwidth or a weight that is not
/// positive, or a negative length. `threads` 0 means all cores and never changes a bit of the
/// result. A mask that is a product over (t, y, x) takes no time and is never sampled.
PhaseError phase_error(const Mask& mask, const AttentionModel& model, QuerySample queries = {},
                       int threads = 0);

/// A pattern as it is compared with others here: with its per-frame variant where it has one
/// (parse_pattern()), unless the whole video is asked for.
Pattern compared_pattern(std::string_view text, Ratio ratio, bool whole_video = false);

/// Of each phase of a pattern.
std::vector<PhaseError> phase_errors(std::span<const Mask> phases, const AttentionModel& model,
                                     QuerySample queries = {}, int threads = 0);

/// A pattern's error: the root mean square over its phases.
double output_error(std::span<const PhaseError> phases);

/// Where two patterns change places: the bandwidths at which `difference` of their errors crosses
/// zero, ascending. `differences` are its values at the ascending `bandwidths`; each change of sign
/// between neighbours is refined to a relative 1e-6.
std::vector<double> crossovers(std::span<const double> bandwidths,
                               std::span<const double> differences,
                               const std::function<double(double)>& difference);

}  // namespace ospsim
