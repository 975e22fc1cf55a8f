#pragma once

#include <string>
#include <string_view>

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

/// A folder for files that other programs write while this one waits for them; gone with this and
/// when the program is interrupted. One at a time.
class ScratchFolder {
 public:
  /// Throws InputError if none can be made.
  ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + '/' + std::string(name); }

 private:
  std::string path_;
};

/// Throws InputError if a file cannot be put there: before the work that would be lost.
inline void require_writable(const std::string& path) {
  PartFile probe(path);
}

/// From now on SIGINT, SIGTERM and SIGHUP end the program that is waited for, remove the part file
/// and the temporary folder, and end this program with status 130;
/// a file that exceeds a size limit is an error of that write, not a signal.
void handle_interrupts();

}  // namespace ospsim
