#pragma once

#include <string>

namespace ospsim {

/// A file on its way to `path`: it is written beside it as `part()` and appears under its own name
/// only when it is complete. Until `commit`, destroying this or interrupting the program leaves
/// nothing behind. One at a time.
class PartFile {
 public:
  /// Throws InputError if `path` names something that is no regular file or cannot be written.
  explicit PartFile(std::string path);
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile();

  const std::string& part() const { return part_; }
  /// Puts the part on disk and renames it. Throws InputError.
  void commit();

 private:
  std::string path_, part_;
};

/// Throws InputError if a file cannot be put there: before the work that would be lost.
inline void require_writable(const std::string& path) {
  PartFile probe(path);
}

/// From now on SIGINT, SIGTERM and SIGHUP remove the part file and end the program with status 130;
/// a file that exceeds a size limit is an error of that write, not a signal.
void handle_interrupts();

}  // namespace ospsim
