#include "sim/parallel/communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

std::vector<int> all_ranks(int ranks) {
  std::vector<int> members(index(ranks));
  std::iota(members.begin(), members.end(), 0);
  return members;
}

// ---- Without payload ----------------------------------------------------------------------------

class CountingCommunicator : public Communicator {
 public:
  CountingCommunicator(int rank, std::vector<int> members, std::shared_ptr<RankState> state)
      : Communicator(rank, std::move(members), std::move(state)) {}

  bool carries_payload() const override { return false; }

 protected:
  void move(Exchange::Kind, const SentParts&, const ReceivedParts&) override {}

  std::unique_ptr<Communicator> make_subgroup(const std::vector<int>&, int rank,
                                              std::vector<int> members,
                                              std::shared_ptr<RankState> state) override {
    return std::make_unique<CountingCommunicator>(rank, std::move(members), std::move(state));
  }
};

// ---- In one process -----------------------------------------------------------------------------

/// What the threads of one group share.
class Meeting {
 public:
  explicit Meeting(int ranks) : sent_(index(ranks)) {}

  /// All ranks of the group wait for each other. Throws if another rank has failed.
  void wait() {
    std::unique_lock lock(mutex_);
    if (failed_) throw AnotherRankFailed();
    const std::int64_t round = arrive();
    all_arrived_.wait(lock, [&] { return round_ != round || failed_; });
    if (round_ == round) throw AnotherRankFailed();
  }
  /// Like wait, but a failure elsewhere does not end it: for the second of two waits, which every
  /// rank that passed the first will reach. What lies between is safe from others' unwinding.
  void wait_regardless() {
    std::unique_lock lock(mutex_);
    const std::int64_t round = arrive();
    all_arrived_.wait(lock, [&] { return round_ != round; });
  }

  void fail() {
    const std::scoped_lock lock(mutex_);
    failed_ = true;
    for (const auto& [key, part] : parts_) part->fail();
    all_arrived_.notify_all();
  }

  const SentParts*& sent(int rank) { return sent_[index(rank)]; }

  std::shared_ptr<Meeting> subgroup(const std::vector<int>& ranks) {
    const std::scoped_lock lock(mutex_);
    auto& meeting = parts_[ranks];
    if (!meeting) meeting = std::make_shared<Meeting>(static_cast<int>(ranks.size()));
    if (failed_) meeting->fail();
    return meeting;
  }

  struct AnotherRankFailed : std::runtime_error {
    AnotherRankFailed() : std::runtime_error("another rank failed") {}
  };

 private:
  /// Returns the round that ends when the last rank arrives.
  std::int64_t arrive() {
    const std::int64_t round = round_;
    if (++arrived_ == std::ssize(sent_)) {
      arrived_ = 0;
      ++round_;
      all_arrived_.notify_all();
    }
    return round;
  }

  std::mutex mutex_;
  std::condition_variable all_arrived_;
  std::int64_t arrived_ = 0, round_ = 0;
  bool failed_ = false;
  std::vector<const SentParts*> sent_;
  std::map<std::vector<int>, std::shared_ptr<Meeting>> parts_;
};

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(int rank, std::vector<int> members, std::shared_ptr<RankState> state,
                     std::shared_ptr<Meeting> meeting)
      : Communicator(rank, std::move(members), std::move(state)), meeting_(std::move(meeting)) {}

  bool carries_payload() const override { return true; }

 protected:
  void move(Exchange::Kind, const SentParts& sent, const ReceivedParts& received) override {
    meeting_->sent(rank()) = &sent;
    meeting_->wait();
    std::string mismatch;
    for (int r = 0; r < size() && mismatch.empty(); ++r) {
      const SentParts& theirs = *meeting_->sent(r);
      const std::int64_t offered = theirs.bytes[index(rank())], wanted = received.bytes[index(r)];
      if (offered != wanted)
        mismatch = fmt::format("rank {} sends {} bytes where rank {} expects {}",
                               members()[index(r)], offered, members()[index(rank())], wanted);
      else if (wanted > 0)
        std::memcpy(received.data + received.offset[index(r)],
                    theirs.data + theirs.offset[index(rank())], static_cast<std::size_t>(wanted));
    }
    meeting_->wait_regardless();
    if (!mismatch.empty()) throw std::runtime_error(mismatch);
  }

  std::unique_ptr<Communicator> make_subgroup(const std::vector<int>& ranks, int rank,
                                              std::vector<int> members,
                                              std::shared_ptr<RankState> state) override {
    return std::make_unique<ThreadCommunicator>(rank, std::move(members), std::move(state),
                                                meeting_->subgroup(ranks));
  }

 private:
  std::shared_ptr<Meeting> meeting_;
};

}  // namespace

// ---- What engines share -------------------------------------------------------------------------

void Communicator::exchange(const StepName& name, const SentParts& sent,
                            const ReceivedParts& received, std::int64_t packing_bytes) {
  move(name.kind, sent, received);
  Exchange exchange{.kind = name.kind,
                    .label = name.label,
                    .block = name.block,
                    .packing_bytes = packing_bytes,
                    .overlaps_next = name.overlaps_next};
  for (int r = 0; r < size(); ++r) {
    if (sent.bytes[index(r)] > 0)
      exchange.sent.push_back({members_[index(r)], sent.bytes[index(r)]});
    if (received.bytes[index(r)] > 0)
      exchange.received.push_back({members_[index(r)], received.bytes[index(r)]});
  }
  if (!exchange.sent.empty() || !exchange.received.empty())
    state_->trace.push_back(std::move(exchange));
}

std::byte* Communicator::scratch(std::int64_t bytes) {
  if (state_->scratch_bytes < bytes) {
    state_->scratch = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(bytes));
    state_->scratch_bytes = bytes;
  }
  return state_->scratch.get();
}

std::unique_ptr<Communicator> Communicator::subgroup(const std::vector<int>& ranks) {
  std::vector<int> members;
  for (const int r : ranks) members.push_back(members_.at(index(r)));
  const auto own = std::find(ranks.begin(), ranks.end(), rank_);
  if (own == ranks.end()) throw std::logic_error("a rank cannot make a group it is not in");
  return make_subgroup(ranks, static_cast<int>(own - ranks.begin()), std::move(members), state_);
}

Ledger run_in_process(int ranks, const std::function<void(Communicator&)>& program) {
  const auto meeting = std::make_shared<Meeting>(ranks);
  Ledger ledger{std::vector<Trace>(index(ranks))};
  std::vector<std::exception_ptr> errors(index(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      const auto state = std::make_shared<RankState>();
      try {
        ThreadCommunicator communicator(rank, all_ranks(ranks), state, meeting);
        program(communicator);
      } catch (...) {
        errors[index(rank)] = std::current_exception();
        meeting->fail();
      }
      ledger.ranks[index(rank)] = std::move(state->trace);
    });
  for (auto& thread : threads) thread.join();

  std::exception_ptr first;
  for (const auto& error : errors) {
    if (!error) continue;
    try {
      std::rethrow_exception(error);
    } catch (const Meeting::AnotherRankFailed&) {
      continue;
    } catch (...) {
      first = error;
      break;
    }
  }
  if (first) std::rethrow_exception(first);
  return ledger;
}

Ledger run_without_payload(int ranks, const std::function<void(Communicator&)>& program) {
  Ledger ledger;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto state = std::make_shared<RankState>();
    CountingCommunicator communicator(rank, all_ranks(ranks), state);
    program(communicator);
    ledger.ranks.push_back(std::move(state->trace));
  }
  require_matching_parts(ledger);
  return ledger;
}

}  // namespace ospsim
