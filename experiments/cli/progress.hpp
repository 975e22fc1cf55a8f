#pragma once

#include <chrono>
#include <string>

namespace ospsim {

/// One line on stderr, if that is a terminal: what is going on, how far it is and for how long it
/// will go on. It is wiped when this is destroyed. Otherwise nothing is printed.
class Progress {
 public:
  explicit Progress(double total_work);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// `work` more is done; `next` is what comes now.
  void advance(double work, const std::string& next);

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double total_, done_ = 0;
  bool shown_;
};

}  // namespace ospsim
