// ospsim-replay: replays who sent what to whom, in which step, on a simulated cluster (SimGrid's
// flow model: flows that share a link share its bandwidth, max-min fair). The request comes on
// standard input, the answer goes to standard output; sim/network/replay.hpp describes both. A
// program of its own, because libsimgrid brings an MPI that must not meet the real one.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <simgrid/s4u.hpp>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/network/replayer/network.hpp"
#include "sim/network/replayer/request.hpp"

namespace ospsim::replayer {
namespace {

namespace s4u = simgrid::s4u;

constexpr int answer_version = 1;

void wait_for(double seconds) {
  if (seconds > 0) s4u::this_actor::sleep_for(seconds);
}

/// What one device spent its time on.
struct Account {
  explicit Account(std::size_t labels) : exchange_s(labels) {}
  std::vector<double> exchange_s;  ///< by label, from entering an exchange to having all of it
  double computation_s = 0, packing_s = 0, exposed_s = 0;
};

/// One device: a rank of one replica, working through its trace.
class Device {
 public:
  Device(const Request& request, const Network& network, int replica, int rank)
      : request_(request),
        network_(network),
        replica_(replica),
        device_(request.device_of(replica, rank)),
        trace_(request.ranks[static_cast<std::size_t>(rank)]),
        account_(request.labels.size()) {}

  /// Exchanges that overlap the next computation run beside it, one after the other; whatever comes
  /// after that computation waits for them.
  void run() {
    std::vector<const Event*> waiting;
    for (const Event& event : trace_) {
      if (event.is_exchange()) {
        waiting.push_back(&event);
        if (!event.overlaps_next) run_in_turn(waiting);
      } else if (waiting.empty()) {
        compute(event);
      } else {
        run_beside(event, waiting);
      }
    }
    run_in_turn(waiting);
  }

  const Account& account() const { return account_; }

 private:
  void compute(const Event& event) {
    wait_for(event.compute_s);
    account_.computation_s += event.compute_s;
  }
  void pack(double seconds) {
    wait_for(seconds);
    account_.packing_s += seconds;
  }

  void run_in_turn(std::vector<const Event*>& exchanges) {
    for (const Event* exchange : exchanges) {
      pack(exchange->packing_s / 2);
      const double start = s4u::Engine::get_clock();
      run_exchange(*exchange);
      account_.exposed_s += s4u::Engine::get_clock() - start;
      pack(exchange->packing_s / 2);
    }
    exchanges.clear();
  }

  void run_beside(const Event& computation, std::vector<const Event*>& exchanges) {
    const double packing_s = std::accumulate(
        exchanges.begin(), exchanges.end(), 0.0,
        [](double sum, const Event* exchange) { return sum + exchange->packing_s; });
    pack(packing_s / 2);
    const auto beside = s4u::Actor::create("", network_.host(device_), [this, &exchanges] {
      for (const Event* exchange : exchanges) run_exchange(*exchange);
    });
    compute(computation);
    const double computed = s4u::Engine::get_clock();
    beside->join();
    account_.exposed_s += s4u::Engine::get_clock() - computed;
    pack(packing_s / 2);
    exchanges.clear();
  }

  void run_exchange(const Event& exchange) {
    if (exchange.sent.empty() && exchange.received.empty()) return;
    const double start = s4u::Engine::get_clock();
    wait_for(request_.cluster.exchange_launch_s);
    if (request_.pairwise)
      run_rounds(exchange);
    else
      move(exchange.sent, exchange.received);
    account_.exchange_s[static_cast<std::size_t>(exchange.label)] +=
        s4u::Engine::get_clock() - start;
  }

  /// In round r, send to the r-th member after this one in the group and receive from the r-th
  /// before.
  void run_rounds(const Event& exchange) {
    std::vector<int> group{own_rank()};
    for (const Part& part : exchange.sent) group.push_back(part.peer);
    for (const Part& part : exchange.received) group.push_back(part.peer);
    std::sort(group.begin(), group.end());
    group.erase(std::unique(group.begin(), group.end()), group.end());
    const auto size = group.size();
    const auto place = static_cast<std::size_t>(
        std::lower_bound(group.begin(), group.end(), own_rank()) - group.begin());
    const auto parts_with = [](const std::vector<Part>& parts, int peer) {
      std::vector<Part> result;
      for (const Part& part : parts)
        if (part.peer == peer) result.push_back(part);
      return result;
    };
    for (std::size_t round = 1; round < size; ++round)
      move(parts_with(exchange.sent, group[(place + round) % size]),
           parts_with(exchange.received, group[(place + size - round) % size]));
  }

  void move(const std::vector<Part>& sent, const std::vector<Part>& received) {
    double latency_s = 0;
    for (const auto* const parts : {&sent, &received})
      for (const Part& part : *parts)
        latency_s = std::max(latency_s, network_.latency_s(device_, device_of(part.peer)));
    wait_for(latency_s);
    std::vector<s4u::CommPtr> flows;
    flows.reserve(sent.size() + received.size());
    for (const Part& part : received)
      flows.push_back(mailbox(device_of(part.peer), device_)->get_async<char>(&arrived_));
    for (const Part& part : sent)
      flows.push_back(mailbox(device_, device_of(part.peer))->put_async(&payload, part.bytes));
    s4u::Comm::wait_all(flows);
  }

  int device_of(int rank) const { return request_.device_of(replica_, rank); }
  int own_rank() const {
    return request_.strided ? device_ / request_.replicas : device_ % request_.ranks_per_replica();
  }
  s4u::Mailbox* mailbox(int from, int to) {
    const auto key = static_cast<std::int64_t>(from) << 32 | to;
    s4u::Mailbox*& box = mailboxes_[key];
    if (box == nullptr) box = s4u::Mailbox::by_name(fmt::format("{} {}", from, to));
    return box;
  }

  static inline char payload = 0;  // SimGrid hands over a pointer to something

  const Request& request_;
  const Network& network_;
  int replica_, device_;
  const Trace& trace_;
  Account account_;
  std::unordered_map<std::int64_t, s4u::Mailbox*> mailboxes_;
  char* arrived_ = nullptr;
};

using Devices = std::vector<std::unique_ptr<Device>>;

template <typename Seconds>
nlohmann::json mean_and_max(const Devices& devices, const Seconds& seconds) {
  double sum = 0, largest = 0;
  for (const auto& device : devices) {
    sum += seconds(device->account());
    largest = std::max(largest, seconds(device->account()));
  }
  return {{"mean_s", sum / static_cast<double>(devices.size())}, {"max_s", largest}};
}

nlohmann::json answer(const Request& request, const Network& network, const Devices& devices) {
  std::uint64_t flows = 0, bytes = 0;
  for (const Trace& trace : request.ranks)
    for (const Event& event : trace)
      for (const Part& part : event.sent) {
        ++flows;
        bytes += part.bytes;
      }
  const auto replicas = static_cast<std::uint64_t>(request.replicas);
  nlohmann::json exchanges = nlohmann::json::array();
  for (std::size_t label = 0; label < request.labels.size(); ++label) {
    nlohmann::json exchange = mean_and_max(
        devices, [label](const Account& account) { return account.exchange_s[label]; });
    exchange["label"] = request.labels[label];
    exchanges.push_back(std::move(exchange));
  }
  return {{"version", answer_version},
          {"time_s", s4u::Engine::get_clock()},
          {"exchanges", exchanges},
          {"computation", mean_and_max(devices, [](const auto& a) { return a.computation_s; })},
          {"packing", mean_and_max(devices, [](const auto& a) { return a.packing_s; })},
          {"exposed", mean_and_max(devices, [](const auto& a) { return a.exposed_s; })},
          {"devices", devices.size()},
          {"nodes", network.nodes()},
          {"flows", flows * replicas},
          {"bytes", bytes * replicas}};
}

nlohmann::json replay(const Request& request) {
  // The defaults of SimGrid describe TCP over Gigabit Ethernet: without the first three settings
  // latencies and bandwidths are scaled, windows cap rates, and acknowledgements take 5 %. Events
  // less than `precision` seconds apart count as one: the default of 10 us would blur whole
  // exchanges, while below 1e-11 flows that end together no longer do, for rounding, and each costs
  // a solution of its own. Solving for all flows at each event beats tracking which ones it
  // concerns: where groups share uplinks it concerns nearly all.
  for (const char* const setting :
       {"network/model:CM02", "network/TCP-gamma:0", "network/crosstraffic:0",
        "surf/precision:1e-10", "network/optim:Full", "contexts/stack-size:128"})
    s4u::Engine::set_config(setting);
  const Network network(request.cluster, request.devices());
  Devices devices;
  for (int replica = 0; replica < request.replicas; ++replica)
    for (int rank = 0; rank < request.ranks_per_replica(); ++rank) {
      devices.push_back(std::make_unique<Device>(request, network, replica, rank));
      s4u::Actor::create("", network.host(request.device_of(replica, rank)),
                         [device = devices.back().get()] { device->run(); });
    }
  s4u::Engine* const engine = s4u::Engine::get_instance();
  s4u::Engine::on_deadlock_cb([] {
    std::fputs(
        "ospsim-replay: the ranks wait for each other for ever: their exchanges are not in the "
        "same order\n",
        stderr);
    _exit(2);
  });
  engine->run();
  return answer(request, network, devices);
}

}  // namespace
}  // namespace ospsim::replayer

int main() {
  try {
    const auto request = ospsim::replayer::read_request(std::cin);
    char name[] = "ospsim-replay", quiet[] = "--log=root.app:file:/dev/null";
    char* arguments[] = {name, quiet, nullptr};
    int count = 2;
    const simgrid::s4u::Engine engine(&count, arguments);
    std::cout << ospsim::replayer::replay(request).dump() << std::endl;
    return 0;
  } catch (const std::exception& error) {
    std::fputs(fmt::format("ospsim-replay: {}\n", error.what()).c_str(), stderr);
    return 2;
  }
}
