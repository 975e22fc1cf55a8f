#include "analysis/recall.hpp"

#include <fmt/format.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <boost/math/tools/roots.hpp>
#include <cmath>
#include <string>
#include <unordered_map>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

double gaussian(double distance, double length) {
  if (length == 0) return distance == 0 ? 1 : 0;
  const double in_lengths = distance / length;
  return std::exp(-in_lengths * in_lengths / 2);
}

MatrixXd gaussians(Index extent, double length) {
  return MatrixXd::NullaryExpr(extent, extent, [&](Index i, Index j) {
    return gaussian(static_cast<double>(i - j), length);
  });
}

/// One axis of the grid: attention's kernel [query][key], rows summing to 1, and each term of rho.
struct AxisModel {
  MatrixXd kernel;
  std::vector<MatrixXd> correlation;

  AxisModel(std::int64_t extent, const AttentionModel& model, double AxisLengths::*along)
      : kernel(gaussians(extent, model.bandwidth.*along)) {
    kernel.array().colwise() /= kernel.rowwise().sum().array().eval();
    for (const auto& term : model.correlation)
      correlation.push_back(gaussians(extent, term.length.*along));
  }
};

std::array<AxisModel, 3> axis_models(const Grid& grid, const AttentionModel& model) {
  return {AxisModel(grid.t, model, &AxisLengths::t), AxisModel(grid.h, model, &AxisLengths::y),
          AxisModel(grid.w, model, &AxisLengths::x)};
}

void check(const AttentionModel& model, const Grid& grid) {
  if (std::max({grid.t, grid.h, grid.w}) > longest_axis)
    throw InputError(
        fmt::format("{} is longer than {} tokens along an axis", to_string(grid), longest_axis));
  for (const double s : {model.bandwidth.t, model.bandwidth.y, model.bandwidth.x})
    if (!(s > 0)) throw InputError(fmt::format("bandwidth {} is not positive", s));
  for (const auto& [weight, length] : model.correlation)
    if (!(weight > 0) || std::isinf(weight) || !(length.t >= 0) || !(length.y >= 0) ||
        !(length.x >= 0))
      throw InputError(
          "a term of the correlation needs a positive weight and lengths of at least 0");
  if (model.correlation.empty()) throw InputError("the correlation has no terms");
}

// ---- Masks that are a product over t, y and x ---------------------------------------------------
//
// S and F are products, so sums over all queries of <S, rho S> and the like are products of sums
// along the axes. D = S - F is written as the telescoping sum over axes a of F (before a) x D_a x S
// (after a): no two large numbers are ever subtracted, and what is not sparse is 0 to the bit.

/// Per term of rho, the sum over the queries of one axis of <u, rho v>.
struct AxisProducts {
  std::vector<double> ff, df, dd, sf, sd, ss;
  double recall = 0;  ///< mean over queries
};

AxisProducts axis_products(const AxisMask& mask, const AxisModel& model) {
  const MatrixXd& f = model.kernel;
  const MatrixXd allowed = MatrixXd::NullaryExpr(
      f.rows(), f.cols(), [&](Index q, Index k) { return mask.attends(q, k) ? 1.0 : 0.0; });
  AxisProducts products;
  MatrixXd s = f;
  if (!mask.attends_to_all()) {
    s = f.cwiseProduct(allowed);
    const VectorXd share = s.rowwise().sum();
    products.recall = share.mean();
    s.array().colwise() /= share.array();
  } else {
    products.recall = 1;
  }
  const MatrixXd d = s - f;
  const auto sum = [](const MatrixXd& a, const MatrixXd& b) { return a.cwiseProduct(b).sum(); };
  for (const MatrixXd& rho : model.correlation) {
    const MatrixXd f_rho = f * rho, d_rho = d * rho, s_rho = s * rho;
    products.ff.push_back(sum(f_rho, f));
    products.df.push_back(sum(d_rho, f));
    products.dd.push_back(sum(d_rho, d));
    products.sf.push_back(sum(s_rho, f));
    products.sd.push_back(sum(s_rho, d));
    products.ss.push_back(sum(s_rho, s));
  }
  return products;
}

PhaseError product_error(const Mask& mask, const AttentionModel& model) {
  const auto models = axis_models(mask.grid, model);
  std::vector<AxisProducts> axes;
  double recall = 1;
  for (std::size_t a = 0; a < 3; ++a) {
    axes.push_back(axis_products(mask.axes[a], models[a]));
    recall *= axes.back().recall;
  }

  double squared_error = 0, square = 0;
  for (std::size_t l = 0; l < model.correlation.size(); ++l) {
    const double weight = model.correlation[l].weight;
    double all = weight;
    for (const auto& axis : axes) all *= axis.ff[l];
    square += all;
    for (std::size_t a = 0; a < 3; ++a)
      for (std::size_t b = a; b < 3; ++b) {
        double product = a == b ? weight : 2 * weight;
        for (std::size_t c = 0; c < 3; ++c) {
          const AxisProducts& axis = axes[c];
          product *= c < a    ? axis.ff[l]
                     : c > b  ? axis.ss[l]
                     : a == b ? axis.dd[l]
                     : c == a ? axis.df[l]
                     : c == b ? axis.sd[l]
                              : axis.sf[l];
        }
        squared_error += product;
      }
  }
  return {{recall}, root_estimate({squared_error / square})};
}

// ---- Any other mask: query by query, row by row -------------------------------------------------
//
// The rows (t, y) a query sees of a flattened frame or video are few different ones: D_q is a sum
// over kinds of rows p of (a plane of weights over t and y) x (a row over x), and <D, rho D> a sum
// over pairs of kinds of a product along the planes and one along the rows.

/// Below this share of its peak a kernel is nothing.
constexpr double negligible = 1e-18;

struct Range {
  Index first = 0, count = 0;
};

/// Where a row of a kernel is not negligible.
Range support(const MatrixXd& kernel, Index query) {
  const double least = negligible * kernel(query, query);
  Index first = query, last = query;
  while (first > 0 && kernel(query, first - 1) > least) --first;
  while (last + 1 < kernel.cols() && kernel(query, last + 1) > least) ++last;
  return {first, last + 1 - first};
}

class RowWise {
 public:
  RowWise(const Mask& mask, const AttentionModel& model)
      : grid_(mask.grid), model_(model), mask_(mask), axes_(axis_models(mask.grid, model)) {
    Index columns = 0;
    for (std::size_t l = 0; l < model.correlation.size(); ++l) {
      factors_.push_back(factor(axes_[2].correlation[l]));
      columns += factors_.back().cols();
    }
    factor_.resize(grid_.w, columns);
    Index first = 0;
    for (const MatrixXd& f : factors_) {
      factor_.middleCols(first, f.cols()) = f;
      first += f.cols();
    }
    for (std::size_t a = 0; a < 3; ++a)
      for (const MatrixXd& rho : axes_[a].correlation)
        squares_[a].push_back(
            (axes_[a].kernel * rho).cwiseProduct(axes_[a].kernel).rowwise().sum());
  }

  struct Query {
    double recall = 0, squared_error = 0, square = 0;
  };
  Query operator()(std::int64_t token) const;

 private:
  /// L with L L^T = correlation, as narrow as rounding allows.
  static MatrixXd factor(const MatrixXd& correlation) {
    const Eigen::SelfAdjointEigenSolver<MatrixXd> eigen(correlation);
    const VectorXd& values = eigen.eigenvalues();
    const double least = 1e-16 * values(values.size() - 1);
    Index rank = 0;
    while (rank < values.size() && values(values.size() - 1 - rank) > least) ++rank;
    return eigen.eigenvectors().rightCols(rank) *
           values.tail(rank).cwiseSqrt().asDiagonal().toDenseMatrix();
  }

  /// Which of the keys from `first` on, all of one row of the grid, the query attends to.
  void attended(std::int64_t query, std::int64_t first, std::string& keys) const {
    std::fill(keys.begin(), keys.end(), '\1');
    for (const AxisMask& axis : mask_.axes) {
      const auto coordinate = [&](std::int64_t token) {
        return token / axis.token_stride % axis.extent();
      };
      const std::uint8_t* allowed =
          &axis.allowed[index(axis.block_of[index(coordinate(query))] * axis.blocks)];
      const std::int32_t* blocks = &axis.block_of[index(coordinate(first))];
      if (axis.token_stride == 1) {
        for (std::size_t x = 0; x < keys.size(); ++x)
          keys[x] &= static_cast<char>(allowed[blocks[x]]);
      } else if (allowed[*blocks] == 0) {
        std::fill(keys.begin(), keys.end(), '\0');
      }
    }
  }

  Grid grid_;
  const AttentionModel& model_;
  const Mask& mask_;
  std::array<AxisModel, 3> axes_;
  std::vector<MatrixXd> factors_;
  MatrixXd factor_;
  std::array<std::vector<VectorXd>, 3> squares_;  ///< per axis and term: <F_q, rho F_q> of each q
};

RowWise::Query RowWise::operator()(std::int64_t token) const {
  const TokenPosition at = position_of(token, grid_);
  const std::array<Index, 3> query{at.t, at.y, at.x};
  std::array<Range, 3> range;
  for (std::size_t a = 0; a < 3; ++a) range[a] = support(axes_[a].kernel, query[a]);
  const auto kernel = [&](std::size_t a) {
    return axes_[a].kernel.row(query[a]).segment(range[a].first, range[a].count);
  };
  const auto kernel_t = kernel(0), kernel_y = kernel(1), kernel_x = kernel(2);
  const Index columns = range[2].count;

  // Which keys of each row it attends to, every kind of row once.
  std::unordered_map<std::string, Index> kinds;
  std::vector<const std::string*> rows;
  Eigen::MatrixXi kind(range[0].count, range[1].count);
  std::string row(static_cast<std::size_t>(columns), '\0');
  for (Index t = 0; t < kind.rows(); ++t)
    for (Index y = 0; y < kind.cols(); ++y) {
      attended(token,
               ((range[0].first + t) * grid_.h + range[1].first + y) * grid_.w + range[2].first,
               row);
      const auto [found, is_new] = kinds.try_emplace(row, std::ssize(kinds));
      if (is_new) rows.push_back(&found->first);
      kind(t, y) = static_cast<int>(found->second);
    }

  const Index count = std::ssize(rows);
  MatrixXd seen(count, columns);
  for (Index p = 0; p < count; ++p)
    for (Index x = 0; x < columns; ++x)
      seen(p, x) = (*rows[index(p)])[static_cast<std::size_t>(x)] != 0 ? kernel_x(x) : 0;
  const VectorXd seen_share = seen.rowwise().sum();
  std::vector<MatrixXd> planes(index(count), MatrixXd::Zero(kind.rows(), kind.cols()));
  Query result;
  for (Index t = 0; t < kind.rows(); ++t)
    for (Index y = 0; y < kind.cols(); ++y) {
      const double weight = kernel_t(t) * kernel_y(y);
      planes[index(kind(t, y))](t, y) = weight;
      result.recall += weight * seen_share(kind(t, y));
    }

  const MatrixXd difference = (seen / result.recall).rowwise() - kernel_x;
  const MatrixXd projected = difference * factor_.middleRows(range[2].first, columns);
  Index first = 0;
  for (std::size_t l = 0; l < model_.correlation.size(); ++l) {
    const double weight = model_.correlation[l].weight;
    const auto rows_l = projected.middleCols(first, factors_[l].cols());
    first += factors_[l].cols();
    const MatrixXd along_rows = rows_l * rows_l.transpose();
    const auto rho_t =
        axes_[0].correlation[l].block(range[0].first, range[0].first, kind.rows(), kind.rows());
    const auto rho_y =
        axes_[1].correlation[l].block(range[1].first, range[1].first, kind.cols(), kind.cols());
    for (Index p = 0; p < count; ++p) {
      const MatrixXd spread = rho_t * planes[index(p)] * rho_y;
      for (Index t = 0; t < kind.rows(); ++t)
        for (Index y = 0; y < kind.cols(); ++y)
          result.squared_error +=
              weight * spread(t, y) * kernel_t(t) * kernel_y(y) * along_rows(p, kind(t, y));
    }
    result.square +=
        weight * squares_[0][l](query[0]) * squares_[1][l](query[1]) * squares_[2][l](query[2]);
  }
  return result;
}

PhaseError row_wise_error(const Mask& mask, const AttentionModel& model, QuerySample sample,
                          int threads) {
  const RowWise error(mask, model);
  const auto tokens = drawn_tokens(mask.grid.tokens(), sample.count, sample.seed);
  std::vector<double> recall(tokens.size()), squared_error(tokens.size()), square(tokens.size());
  parallel_ranges(std::ssize(tokens), 16, threads, [&](std::int64_t from, std::int64_t to) {
    for (auto i = static_cast<std::size_t>(from); i < static_cast<std::size_t>(to); ++i) {
      const RowWise::Query query = error(tokens[i]);
      recall[i] = query.recall;
      squared_error[i] = query.squared_error;
      square[i] = query.square;
    }
  });
  const std::vector<double> ones(tokens.size(), 1.0);
  return {ratio_estimate(recall, ones, mask.grid.tokens()),
          root_estimate(ratio_estimate(squared_error, square, mask.grid.tokens()))};
}

/// What a query sees of one frame it sees of all, and all terms of rho fade alike along t, so that
/// what happens along t cancels: one frame stands for the video.
Mask one_frame_of(const Mask& mask, const AttentionModel& model) {
  const bool fade_alike = std::ranges::all_of(model.correlation, [&](const auto& term) {
    return term.length.t == model.correlation.front().length.t;
  });
  if (mask.axes.size() != 2 || !mask.axes[0].attends_to_all() || !fade_alike) return mask;
  Mask frame{{1, mask.grid.h, mask.grid.w}, mask.axes};
  frame.axes[0] = {'t', mask.axes[0].token_stride, {0}, 1, {1}};
  return frame;
}

}  // namespace

AttentionModel AttentionModel::isotropic(double s) {
  AttentionModel model{{std::isinf(s) ? s : 2, s, s}, {}};
  for (const double l : {0, 1, 2, 4, 8, 16}) model.correlation.push_back({1.0 / 6, {4, l, l}});
  return model;
}

PhaseError phase_error(const Mask& mask, const AttentionModel& model, QuerySample queries,
                       int threads) {
  check(model, mask.grid);
  if (mask.axes.size() == 3) return product_error(mask, model);
  return row_wise_error(one_frame_of(mask, model), model, queries, threads);
}

Pattern compared_pattern(std::string_view text, Ratio ratio, bool whole_video) {
  return parse_pattern(text, ratio, has_per_frame_variant(text) && !whole_video);
}

std::vector<PhaseError> phase_errors(std::span<const Mask> phases, const AttentionModel& model,
                                     QuerySample queries, int threads) {
  std::vector<PhaseError> errors;
  for (const Mask& mask : phases) errors.push_back(phase_error(mask, model, queries, threads));
  return errors;
}

double output_error(std::span<const PhaseError> phases) {
  double sum = 0;
  for (const auto& phase : phases) sum += phase.output_error.value * phase.output_error.value;
  return std::sqrt(sum / static_cast<double>(phases.size()));
}

std::vector<double> crossovers(std::span<const double> bandwidths,
                               std::span<const double> differences,
                               const std::function<double(double)>& difference) {
  const auto at = [&](double log_s) { return difference(std::exp(log_s)); };
  const auto close = [](double from, double to) { return std::abs(to - from) < 1e-6; };
  const auto opposite = [](double a, double b) { return (a < 0 && b > 0) || (a > 0 && b < 0); };
  std::vector<double> found;
  for (std::size_t i = 0; i + 1 < bandwidths.size(); ++i) {
    const double one = differences[i], next = differences[i + 1];
    if (one == 0 && i > 0 && opposite(differences[i - 1], next)) found.push_back(bandwidths[i]);
    if (!opposite(one, next)) continue;
    std::uintmax_t steps = 500;
    const auto [from, to] = boost::math::tools::toms748_solve(
        at, std::log(bandwidths[i]), std::log(bandwidths[i + 1]), one, next, close, steps);
    found.push_back(std::exp((from + to) / 2));
  }
  return found;
}

}  // namespace ospsim
