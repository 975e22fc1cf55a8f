#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "kernels_ref/errors.hpp"
#include "sim/network/replay.hpp"

extern char** environ;

namespace ospsim {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
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
  int number_;
};

/// A two-way channel: unlike a pipe it can be written to without SIGPIPE when the reader is gone.
struct Channel {
  Descriptor ours, theirs;
  Channel() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw UnavailableError(fmt::format("no channel to ospsim-replay: {}", std::strerror(errno)));
    ours.set(ends[0]);
    theirs.set(ends[1]);
  }
};

void send_all(const Descriptor& to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(to.number(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // it has died, and its status will say so
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

pid_t start(const std::string& program, Channel& input, Channel& output, Channel& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.theirs.number(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.theirs.number(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.theirs.number(), STDERR_FILENO);
  std::string name = program;
  std::array<char*, 2> arguments{name.data(), nullptr};
  pid_t pid = 0;
  const int failure =
      posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0)
    throw UnavailableError(
        fmt::format("{} cannot be started: {}", program, std::strerror(failure)));
  return pid;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::string run_replayer(const std::string& program, std::string_view request) {
  Channel input, output, errors;
  const pid_t pid = start(program, input, output, errors);
  for (Channel* channel : {&input, &output, &errors}) channel->theirs.close();

  std::string complaint;
  std::thread listener([&] { complaint = receive_all(errors.ours); });
  send_all(input.ours, request);
  input.ours.close();
  const std::string answer = receive_all(output.ours);
  listener.join();

  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return answer;
  if (!complaint.empty()) throw std::runtime_error(first_line(complaint));
  throw std::runtime_error(fmt::format("{} died (status {})", program, status));
}

}  // namespace ospsim
