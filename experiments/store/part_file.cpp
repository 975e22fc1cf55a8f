#include "experiments/store/part_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "kernels_ref/errors.hpp"
#include "sim/process.hpp"

namespace ospsim {
namespace {

// What a signal handler may look at: the name stands complete before `registered` says so.
char registered_part[4096], registered_folder[4096];
volatile sig_atomic_t registered = 0, folder_registered = 0;

void remove_registered_folder() {
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/rm", "rm", "-rf", registered_folder, nullptr);
    _exit(1);
  }
  while (child > 0 && waitpid(child, nullptr, 0) < 0 && errno == EINTR) continue;
}

extern "C" void on_interrupt(int) {
  end_running_process();
  if (registered != 0) unlink(registered_part);
  if (folder_registered != 0) remove_registered_folder();
  constexpr char message[] = "\nospsim: interrupted\n";
  static_cast<void>(!write(STDERR_FILENO, message, sizeof message - 1));
  _exit(130);
}

[[noreturn]] void fail(const std::string& path, int error) {
  throw InputError(fmt::format("{}: cannot be written ({})", path, std::strerror(error)));
}

}  // namespace

PartFile::PartFile(std::string path)
    : path_(std::move(path)), part_(fmt::format("{}.part-{}", path_, getpid())) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path_, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw InputError(
        fmt::format("{}: is not a regular file; name one that can be replaced", path_));
  if (part_.size() >= sizeof registered_part) fail(path_, ENAMETOOLONG);
  std::memcpy(registered_part, part_.c_str(), part_.size() + 1);
  registered = 1;
  const int descriptor = open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (descriptor < 0) {
    registered = 0;
    fail(path_, errno);
  }
  close(descriptor);
}

PartFile::~PartFile() {
  if (!part_.empty()) unlink(part_.c_str());
  registered = 0;
}

void PartFile::commit() {
  const int descriptor = open(part_.c_str(), O_RDONLY);
  if (descriptor < 0) fail(path_, errno);
  const int synced = fsync(descriptor);
  const int error = errno;
  close(descriptor);
  if (synced != 0) fail(path_, error);
  if (std::rename(part_.c_str(), path_.c_str()) != 0) fail(path_, errno);
  part_.clear();
}

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "ospsim-XXXXXX").string();
  if (name.size() >= sizeof registered_folder) fail(name, ENAMETOOLONG);
  if (mkdtemp(name.data()) == nullptr) fail(name, errno);
  path_ = name;
  std::memcpy(registered_folder, path_.c_str(), path_.size() + 1);
  folder_registered = 1;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  folder_registered = 0;
}

void handle_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &action, nullptr);
}

}  // namespace ospsim
