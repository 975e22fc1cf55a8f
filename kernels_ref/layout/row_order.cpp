#include "kernels_ref/layout/row_order.hpp"

#include <limits>
#include <stdexcept>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {

RowOrder row_order(const Layout& layout, PaddingRows padding) {
  if (layout.padded_tokens() > std::numeric_limits<std::int32_t>::max())
    throw InputError("a device takes at most 2^31 - 1 tokens, padding included");
  RowOrder order;
  for (std::int64_t s = 0; s < layout.subsequences(); ++s) {
    order.first.push_back(std::ssize(order.tokens));
    const auto tokens = layout.tokens_of(s);
    order.lengths.push_back(std::ssize(tokens));
    for (const auto token : tokens) order.tokens.push_back(static_cast<std::int32_t>(token));
    if (padding == PaddingRows::kept)
      order.tokens.resize(index((s + 1) * layout.subsequence_length()), -1);
  }
  order.first.push_back(std::ssize(order.tokens));
  return order;
}

RowOrder part_of(const RowOrder& order, std::int64_t first, std::int64_t count) {
  const auto begin = order.first.begin() + first;
  RowOrder part{.tokens = {order.tokens.begin() + *begin, order.tokens.begin() + *(begin + count)},
                .lengths = {order.lengths.begin() + first, order.lengths.begin() + first + count},
                .first = {begin, begin + count + 1}};
  for (auto& row : part.first) row -= order.first[index(first)];
  return part;
}

std::vector<std::int32_t> row_map(const RowOrder& from, const RowOrder& to) {
  std::int32_t largest = -1;
  for (const auto token : from.tokens) largest = std::max(largest, token);
  std::vector<std::int32_t> row_of(index(std::int64_t{largest} + 1), -1);
  for (std::size_t row = 0; row < from.tokens.size(); ++row)
    if (from.tokens[row] >= 0) row_of[index(from.tokens[row])] = static_cast<std::int32_t>(row);
  std::vector<std::int32_t> map;
  for (const auto token : to.tokens) {
    if (token > largest) throw std::logic_error("row_map: the orders are of different grids");
    map.push_back(token < 0 ? -1 : row_of[index(token)]);
  }
  return map;
}

std::vector<EqualRun> equal_runs(const RowOrder& order) {
  std::vector<EqualRun> runs;
  for (std::int64_t s = 0; s < order.subsequences(); ++s) {
    const std::int64_t length = order.lengths[index(s)];
    const std::int64_t spacing = order.first[index(s + 1)] - order.first[index(s)];
    if (!runs.empty() && runs.back().length == length && runs.back().spacing == spacing)
      ++runs.back().subsequences;
    else
      runs.push_back({s, 1, length, spacing});
  }
  return runs;
}

}  // namespace ospsim
