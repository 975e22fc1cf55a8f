#include <gtest/gtest.h>

#include "sim/process.hpp"

/// What happens to a job of four processes when one of them goes wrong. `timeout` ends a job that
/// hangs, with status 124.
namespace ospsim {
namespace {

ProcessOutcome run_job(const std::string& fault) {
  return run_process({"timeout", "10", "mpirun", "-np", "4", OSPSIM_FAULTS_PROGRAM, fault}, {},
                     mpi_environment());
}

TEST(MpiJob, WithoutFaultEndsWell) {
  const auto outcome = run_job("none");
  EXPECT_TRUE(outcome.succeeded()) << outcome.errors;
}

TEST(MpiJob, RankThatDisagreesOnShapesEndsItAndIsNamed) {
  const auto outcome = run_job("grid");
  EXPECT_NE(outcome.exit_status, 0);
  EXPECT_NE(outcome.exit_status, 124) << "it hung";
  EXPECT_NE(outcome.errors.find("faults: rank "), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find(" bytes where rank "), std::string::npos) << outcome.errors;
}

TEST(MpiJob, RankThatThrowsEndsItWithItsMessage) {
  const auto outcome = run_job("throw");
  EXPECT_NE(outcome.exit_status, 0);
  EXPECT_NE(outcome.exit_status, 124) << "it hung";
  EXPECT_NE(outcome.errors.find("faults: rank 1: out of luck"), std::string::npos)
      << outcome.errors;
}

TEST(MpiJob, RankThatDiesEndsIt) {
  const auto outcome = run_job("die");
  EXPECT_NE(outcome.exit_status, 0);
  EXPECT_NE(outcome.exit_status, 124) << "it hung";
  EXPECT_NE(outcome.errors.find("signal 9"), std::string::npos) << outcome.errors;
}

}  // namespace
}  // namespace ospsim
