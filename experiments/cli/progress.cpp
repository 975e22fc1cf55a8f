#include "experiments/cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace ospsim {

Progress::Progress(double total_work) : total_(total_work), shown_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::advance(double work, const std::string& next) {
  done_ += work;
  if (!shown_) return;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  std::string left = "estimating the time left";
  if (done_ > 0) {
    const long long seconds = std::llround(elapsed.count() * (total_ - done_) / done_);
    left = seconds < 60 ? fmt::format("{} s left", seconds)
                        : fmt::format("{} min {:02} s left", seconds / 60, seconds % 60);
  }
  fmt::print(stderr, "\r\x1b[K{:3.0f} %  {}  {}", 100 * done_ / total_, left, next);
  std::fflush(stderr);
}

}  // namespace ospsim
