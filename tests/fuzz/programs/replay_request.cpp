#include <sstream>
#include <string>

#include "sim/network/replayer/request.hpp"
#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

// What ospsim-replay reads: nothing but a std::runtime_error of one line may come of it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::istringstream input{std::string(text_of(data, size))};
  try {
    const auto request = replayer::read_request(input);
    require(request.devices() >= 1);
    for (const auto& trace : request.ranks)
      for (const auto& event : trace)
        for (const auto& part : event.sent)
          require(part.peer >= 0 && part.peer < request.ranks_per_replica());
  } catch (const std::runtime_error& error) {
    const std::string_view message = error.what();
    require(!message.empty() && message.find('\n') == std::string_view::npos);
  }
  return 0;
}
