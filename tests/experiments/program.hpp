#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "tests/experiments/temporary_folder.hpp"

namespace ospsim {

/// The built program, run with its output in files.
class Program {
 public:
  struct Settings {
    std::string folder;  ///< where it runs
    std::optional<rlim_t> largest_file_bytes = {};
    std::string standard_output = {};  ///< a file to use instead
    std::string standard_input = {};   ///< a file to read
  };

  Program(const std::vector<std::string>& arguments, const Settings& settings)
      : out_(settings.standard_output.empty() ? own_.file("out") : settings.standard_output),
        err_(own_.file("err")) {
    std::vector<char*> words{const_cast<char*>(OSPSIM_PROGRAM)};
    for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    if (!settings.standard_input.empty())
      dup2(open(settings.standard_input.c_str(), O_RDONLY), STDIN_FILENO);
    redirect(out_, STDOUT_FILENO);
    redirect(err_, STDERR_FILENO);
    if (settings.largest_file_bytes) {
      const rlimit limit{*settings.largest_file_bytes, *settings.largest_file_bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (chdir(settings.folder.c_str()) == 0) execv(OSPSIM_PROGRAM, words.data());
    _exit(127);
  }

  void interrupt() const { kill(pid_, SIGINT); }
  /// The exit status; minus the signal if one ended it.
  int wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string out() const { return contents(out_); }
  std::string err() const { return contents(err_); }

 private:
  static void redirect(const std::string& path, int descriptor) {
    dup2(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), descriptor);
  }
  static std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryFolder own_;
  std::string out_, err_;
  pid_t pid_;
};

}  // namespace ospsim
