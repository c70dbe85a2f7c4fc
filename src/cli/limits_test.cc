// Made-up machines; a real one with version 2 is what tests/vm/run boots.
#include "cli/limits.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster::cli {
namespace {

class Limits : public ::testing::Test {
 protected:
  Limits() : root(fs::temp_directory_path() / ("muster-limits-" + RandomHex(6))) {
    fs::create_directories(root);
  }
  ~Limits() override { fs::remove_all(root); }
  void Put(const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    ASSERT_TRUE(WriteFile(root / path, text).ok());
  }
  void SecondWith(const std::string& controllers, const std::string& switched_on = "") {
    Put("cgroup.controllers", controllers + "\n");
    Put("cgroup.subtree_control", switched_on + "\n");
    Put("cgroup.procs", "1\n2\n");
  }

  const fs::path root;
};

TEST_F(Limits, CanBeSetWhereVersionTwoHasBothControllers) {
  SecondWith("cpuset cpu io memory pids");
  const LimitSupport support = LookAtLimits(root);
  EXPECT_TRUE(support.memory && support.cpus);
  EXPECT_EQ(support.version, 2);
  EXPECT_EQ(support.why, "");
}

TEST_F(Limits, OfMemoryAreToldWhereTheKernelDoesNotCountIt) {
  SecondWith("cpuset cpu io pids");
  const LimitSupport support = LookAtLimits(root);
  EXPECT_FALSE(support.memory);
  EXPECT_TRUE(support.cpus);
  EXPECT_EQ(support.why, "the kernel was started without the controller for it");
}

TEST_F(Limits, CannotBeSetBesideProcessesInTheRootOfAContainer) {
  SecondWith("cpuset cpu io memory pids");
  Put("cgroup.type", "domain\n");
  LimitSupport support = LookAtLimits(root);
  EXPECT_FALSE(support.memory || support.cpus);
  EXPECT_EQ(support.why, "processes of this container are in the root of its cgroups");
  SecondWith("cpuset cpu io memory pids", "memory cpu");
  EXPECT_TRUE(LookAtLimits(root).memory);
  SecondWith("cpuset cpu io memory pids");
  Put("cgroup.procs", "");
  EXPECT_TRUE(LookAtLimits(root).memory);
}

TEST_F(Limits, AreToldApartUnderVersionOne) {
  EXPECT_EQ(LookAtLimits(root).version, 0);
  EXPECT_EQ(LookAtLimits(root).why, "no cgroups are mounted here");
  Put("memory/memory.limit_in_bytes", "1\n");
  LimitSupport support = LookAtLimits(root);
  EXPECT_EQ(support.version, 1);
  EXPECT_TRUE(support.memory);
  EXPECT_FALSE(support.cpus);
  Put("cpu/cpu.cfs_quota_us", "-1\n");
  support = LookAtLimits(root);
  EXPECT_TRUE(support.memory && support.cpus);
}

}  // namespace
}  // namespace muster::cli
