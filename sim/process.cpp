#include "sim/process.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

volatile sig_atomic_t running = 0;  ///< pid of the program that is waited for

class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  int number() const { return number_; }
  void set(int number) { number_ = number; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_ = -1;
};

/// Unlike a pipe a socket can be written to without SIGPIPE when the reader is gone.
struct Channel {
  Descriptor ours, theirs;
  Channel() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw UnavailableError(fmt::format("no channel to a program: {}", std::strerror(errno)));
    ours.set(ends[0]);
    theirs.set(ends[1]);
  }
};

void send_all(const Descriptor& to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(to.number(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // it has ended, and its status will say how
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string receive_all(const Descriptor& from) {
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t got = read(from.number(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

std::vector<std::string> environment_with(const std::vector<std::string>& added) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  for (const std::string& entry : added)
    if (std::getenv(entry.substr(0, entry.find('=')).c_str()) == nullptr) all.push_back(entry);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (std::string& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

pid_t start(std::vector<std::string> command, const std::vector<std::string>& environment,
            const Channel& input, const Channel& output, const Channel& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.theirs.number(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.theirs.number(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.theirs.number(), STDERR_FILENO);
  std::vector<std::string> variables = environment_with(environment);
  pid_t pid = 0;
  const int failure = posix_spawnp(&pid, command.front().c_str(), &actions, nullptr,
                                   pointers(command).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0)
    throw UnavailableError(
        fmt::format("{} cannot be started: {}", command.front(), std::strerror(failure)));
  return pid;
}

}  // namespace

ProcessOutcome run_process(const std::vector<std::string>& command, std::string_view input,
                           const std::vector<std::string>& environment) {
  Channel in, out, err;
  const pid_t pid = start(command, environment, in, out, err);
  running = pid;
  for (Channel* channel : {&in, &out, &err}) channel->theirs.close();

  ProcessOutcome outcome{.program = command.front()};
  std::thread listener([&] { outcome.errors = receive_all(err.ours); });
  std::thread speaker([&] {
    send_all(in.ours, input);
    in.ours.close();
  });
  outcome.output = receive_all(out.ours);
  speaker.join();
  listener.join();

  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  running = 0;
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  if (WIFEXITED(status)) outcome.exit_status = WEXITSTATUS(status);
  return outcome;
}

std::string ProcessOutcome::failure() const {
  if (!errors.empty()) return errors.substr(0, errors.find('\n'));
  return signal != 0 ? fmt::format("{}: ended by signal {}", program, signal)
                     : fmt::format("{}: exit status {}", program, exit_status);
}

std::vector<std::string> mpi_environment() {
  return {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_mpi_yield_when_idle=1"};
}

void end_running_process() noexcept {
  const pid_t pid = running;
  if (pid == 0) return;
  kill(pid, SIGTERM);
  constexpr int looks = 100, ms_between = 50;
  for (int look = 0; look < looks; ++look) {
    if (waitpid(pid, nullptr, WNOHANG) != 0) return;
    poll(nullptr, 0, ms_between);
  }
  kill(pid, SIGKILL);
}

std::string sibling_program(const std::string& name, const std::string& lacked) {
  std::error_code ignored;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto path = own.parent_path() / name;
  if (!std::filesystem::exists(path, ignored))
    throw UnavailableError(fmt::format("{} is not built: {}", name, lacked));
  return path.string();
}

}  // namespace ospsim
