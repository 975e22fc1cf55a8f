#include "sim/process.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

ProcessOutcome shell(const std::string& script, std::string_view input = {},
                     const std::vector<std::string>& environment = {}) {
  return run_process({"sh", "-c", script}, input, environment);
}

TEST(Process, OutputAndErrorsStayApart) {
  const auto outcome = shell("echo said; echo complained >&2");
  EXPECT_TRUE(outcome.succeeded());
  EXPECT_EQ(outcome.output, "said\n");
  EXPECT_EQ(outcome.errors, "complained\n");
}

TEST(Process, WordsReachItAsTheyAre) {
  const auto outcome = run_process({"printf", "%s|", "two words", "", "$HOME *"});
  EXPECT_EQ(outcome.output, "two words||$HOME *|");
}

TEST(Process, ExitStatus) {
  const auto outcome = shell("exit 7");
  EXPECT_EQ(outcome.exit_status, 7);
  EXPECT_EQ(outcome.signal, 0);
  EXPECT_FALSE(outcome.succeeded());
}

TEST(Process, Signal) {
  const auto outcome = shell("echo last words; kill -9 $$");
  EXPECT_EQ(outcome.signal, 9);
  EXPECT_FALSE(outcome.succeeded());
  EXPECT_EQ(outcome.output, "last words\n");
}

std::string every_byte(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  return text;
}

/// More than any buffer between the two holds.
TEST(Process, FailureInOneLine) {
  EXPECT_EQ(shell("echo because >&2; echo and more >&2; exit 3").failure(), "because");
  EXPECT_EQ(shell("exit 3").failure(), "sh: exit status 3");
  EXPECT_EQ(shell("kill -9 $$").failure(), "sh: ended by signal 9");
}

TEST(Process, MuchInputAndOutputAtOnce) {
  const std::string input = every_byte(16 << 20);
  const auto outcome = run_process({"cat"}, input);
  EXPECT_TRUE(outcome.succeeded());
  EXPECT_TRUE(outcome.output == input);
  const auto both = shell("{ { tee /dev/fd/4 >&5; } 4>&1 | cat >&2; } 5>&1", input);
  EXPECT_TRUE(both.output == input);
  EXPECT_TRUE(both.errors == input);
}

TEST(Process, ErrorsBeforeAnyOutput) {
  const auto outcome = shell("head -c 4000000 /dev/zero >&2; echo done");
  EXPECT_EQ(outcome.errors.size(), 4000000u);
  EXPECT_EQ(outcome.output, "done\n");
}

TEST(Process, InputThatNobodyReads) {
  const auto outcome = shell("exec 0<&-; exit 3", every_byte(4 << 20));
  EXPECT_EQ(outcome.exit_status, 3);
  EXPECT_EQ(outcome.signal, 0);
  EXPECT_EQ(shell("head -c 5", every_byte(4 << 20)).output, every_byte(5));
}

TEST(Process, WithoutInputReadsItsEnd) {
  EXPECT_EQ(run_process({"wc", "-c"}).output, "0\n");
}

TEST(Process, ThatDoesNotExist) {
  for (const char* program : {"no-such-program", "/no/such/program", "/dev/null"}) try {
      run_process({program}, every_byte(1 << 20));
      ADD_FAILURE() << program << " was started";
    } catch (const UnavailableError& error) {
      EXPECT_NE(std::string(error.what()).find(program), std::string::npos) << error.what();
    }
}

TEST(Process, EnvironmentIsAddedWhereUnset) {
  setenv("OSPSIM_TEST_SET", "ours", 1);
  setenv("OSPSIM_TEST_EMPTY", "", 1);
  unsetenv("OSPSIM_TEST_UNSET");
  const auto outcome =
      shell("echo \"$OSPSIM_TEST_SET|$OSPSIM_TEST_EMPTY|$OSPSIM_TEST_UNSET|${PATH:+path}\"", {},
            {"OSPSIM_TEST_SET=theirs", "OSPSIM_TEST_EMPTY=theirs", "OSPSIM_TEST_UNSET=a=b c"});
  EXPECT_EQ(outcome.output, "ours||a=b c|path\n");
  EXPECT_EQ(std::getenv("OSPSIM_TEST_UNSET"), nullptr);
}

TEST(Process, SiblingThatIsNotBuilt) {
  try {
    sibling_program("ospsim-nothing", "the part that makes it");
    ADD_FAILURE();
  } catch (const UnavailableError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("ospsim-nothing"), std::string::npos);
    EXPECT_NE(what.find("the part that makes it"), std::string::npos);
  }
}

}  // namespace
}  // namespace ospsim
