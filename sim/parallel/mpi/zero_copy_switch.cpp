#include "sim/parallel/mpi/zero_copy_switch.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kernels_ref/layout/layout.hpp"

namespace ospsim {
namespace {

constexpr int sample_axis = -1;

/// A layout's digits as a rank stores them: those that number the rank, those of its sub-sequences,
/// the sample, the slots.
struct StoredDigits {
  std::vector<Digit> of_rank, stored;
};

struct Split {
  Digit digit;
  std::int64_t low = 1;  ///< radix of the lower part
};

/// Where a run of `run` sub-sequence numbers ends inside a digit, if it does. Nothing where it does
/// not end on a factor of the digit either.
std::optional<std::vector<Split>> split_of(const Layout& layout, std::int64_t run) {
  for (int d = layout.subsequence_digits() - 1; d >= 0 && run > 1; --d) {
    const Digit& digit = layout.digit(d);
    if (run % digit.radix == 0) {
      run /= digit.radix;
      continue;
    }
    if (digit.radix % run != 0) return std::nullopt;
    return std::vector<Split>{{digit, run}};
  }
  return std::vector<Split>{};
}

std::optional<StoredDigits> stored_digits(const Layout& layout, const std::vector<Split>& splits,
                                          std::int64_t run, std::int64_t batch) {
  std::vector<Digit> naming, slots;
  for (int d = 0; d < layout.digit_count(); ++d) {
    auto& list = d < layout.subsequence_digits() ? naming : slots;
    const Digit& digit = layout.digit(d);
    const auto split = std::find_if(splits.begin(), splits.end(),
                                    [&](const Split& s) { return s.digit == digit; });
    if (split == splits.end()) {
      list.push_back(digit);
      continue;
    }
    list.push_back({digit.stride * split->low, digit.radix / split->low, digit.axis});
    list.push_back({digit.stride, split->low, digit.axis});
  }
  StoredDigits result;
  std::int64_t within = 1;
  auto first_within = naming.end();
  while (within < run) within *= (--first_within)->radix;
  if (within != run) return std::nullopt;
  result.of_rank.assign(naming.begin(), first_within);
  result.stored.assign(first_within, naming.end());
  result.stored.push_back({1, batch, sample_axis});
  result.stored.insert(result.stored.end(), slots.begin(), slots.end());
  return result;
}

/// Rows between neighbours along a digit in a rank's array.
std::int64_t local_stride(const std::vector<Digit>& stored, const Digit& digit) {
  std::int64_t stride = 1;
  for (auto d = stored.rbegin(); d != stored.rend() && *d != digit; ++d) stride *= d->radix;
  return stride;
}

bool contains(const std::vector<Digit>& digits, const Digit& digit) {
  return std::find(digits.begin(), digits.end(), digit) != digits.end();
}

/// The value of a digit in the number that `digits` spell.
std::int64_t value_in(const std::vector<Digit>& digits, const Digit& digit, std::int64_t number) {
  return number / local_stride(digits, digit) % digit.radix;
}

/// Rows of `stored` that a fixed choice of the other side's rank digits leaves, in the order of
/// `order`, of `dim` floats each.
MPI_Datatype rows_type(const std::vector<Digit>& order, const std::vector<Digit>& stored,
                       std::int64_t dim) {
  const std::int64_t row_bytes = dim * static_cast<std::int64_t>(sizeof(float));
  MPI_Datatype type;
  MPI_Type_contiguous(static_cast<int>(dim), MPI_FLOAT, &type);
  for (auto digit = order.rbegin(); digit != order.rend(); ++digit) {
    if (digit->radix == 1) continue;
    MPI_Datatype outer;
    MPI_Type_create_hvector(static_cast<int>(digit->radix), 1,
                            local_stride(stored, *digit) * row_bytes, type, &outer);
    MPI_Type_free(&type);
    type = outer;
  }
  MPI_Type_commit(&type);
  return type;
}

}  // namespace

std::optional<ZeroCopySwitch> ZeroCopySwitch::make(const Sequence& sequence, Phase from, Phase to,
                                                   MPI_Comm group) {
  int ranks = 1, own = 0;
  MPI_Comm_size(group, &ranks);
  MPI_Comm_rank(group, &own);
  const Layout before(sequence.pattern, sequence.grid, from);
  const Layout after(sequence.pattern, sequence.grid, to);
  const std::int64_t run = before.subsequences() / ranks;
  auto splits = split_of(before, run);
  const auto more = split_of(after, run);
  if (!splits || !more) return std::nullopt;
  for (const Split& split : *more) {
    if (std::any_of(splits->begin(), splits->end(),
                    [&](const Split& s) { return s.digit == split.digit; }))
      return std::nullopt;
    splits->push_back(split);
  }
  const auto source = stored_digits(before, *splits, run, sequence.batch);
  const auto target = stored_digits(after, *splits, run, sequence.batch);
  if (!source || !target) return std::nullopt;

  std::vector<Digit> free;  // neither side's rank fixes them; in the order of the receiver
  for (const Digit& digit : target->stored)
    if (!contains(source->of_rank, digit)) free.push_back(digit);

  ZeroCopySwitch result;
  result.group_ = group;
  const auto row_bytes = sequence.dim() * static_cast<std::int64_t>(sizeof(float));
  const auto meet = [&](int sender, int receiver) {
    return std::all_of(source->of_rank.begin(), source->of_rank.end(), [&](const Digit& digit) {
      return !contains(target->of_rank, digit) ||
             value_in(source->of_rank, digit, sender) == value_in(target->of_rank, digit, receiver);
    });
  };
  const auto offset = [&](const StoredDigits& here, const StoredDigits& there, int rank) {
    std::int64_t rows = 0;
    for (const Digit& digit : there.of_rank)
      if (!contains(here.of_rank, digit))
        rows += value_in(there.of_rank, digit, rank) * local_stride(here.stored, digit);
    if (rows * row_bytes > std::numeric_limits<int>::max())
      throw std::length_error("a rank's shard exceeds 2 GiB");
    return static_cast<int>(rows * row_bytes);
  };
  for (int r = 0; r < ranks; ++r) {
    const bool sends = meet(own, r), receives = meet(r, own);
    result.sent_.push_back(sends ? rows_type(free, source->stored, sequence.dim()) : MPI_BYTE);
    result.received_.push_back(receives ? rows_type(free, target->stored, sequence.dim())
                                        : MPI_BYTE);
    result.sent_count_.push_back(sends ? 1 : 0);
    result.received_count_.push_back(receives ? 1 : 0);
    result.sent_at_.push_back(offset(*source, *target, r));
    result.received_at_.push_back(offset(*target, *source, r));
  }
  return result;
}

ZeroCopySwitch::ZeroCopySwitch(ZeroCopySwitch&& other) noexcept
    : group_(other.group_),
      sent_(std::exchange(other.sent_, {})),
      received_(std::exchange(other.received_, {})),
      sent_count_(std::move(other.sent_count_)),
      received_count_(std::move(other.received_count_)),
      sent_at_(std::move(other.sent_at_)),
      received_at_(std::move(other.received_at_)) {}

ZeroCopySwitch::~ZeroCopySwitch() {
  for (auto* types : {&sent_, &received_})
    for (MPI_Datatype& type : *types)
      if (type != MPI_BYTE) MPI_Type_free(&type);
}

void ZeroCopySwitch::run(std::span<const float> in, std::span<float> out) const {
  MPI_Alltoallw(in.data(), sent_count_.data(), sent_at_.data(), sent_.data(), out.data(),
                received_count_.data(), received_at_.data(), received_.data(), group_);
}

}  // namespace ospsim
