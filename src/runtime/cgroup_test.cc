// What is written into which cgroup file, on a made-up v2 machine; the real ones are in process_test.cc.
#include "runtime/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "runtime/proc.h"

namespace muster::runtime {
namespace {

class V2 : public ::testing::Test {
 protected:
  V2() : root(fs::temp_directory_path() / ("muster-cgroup-" + RandomHex(6))) {
    fs::create_directories(root);
    Put("cgroup.controllers", "cpuset cpu io memory pids\n");
    Put("cgroup.subtree_control", "");
    launch.cluster = "mall@rehearsal";
    launch.instance = "web-1";
    launch.lock_path = "/x/lock";
    launch.cgroup_root = root;
  }
  ~V2() override { fs::remove_all(root); }
  void Put(const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFile(root / path, text).ok());
  }
  std::string Get(const std::string& path) { return ReadFile(root / path).value(); }
  std::string Group() const {
    for (const auto& entry : fs::directory_iterator(root / "muster/mall@rehearsal")) {
      if (entry.is_directory()) return fs::relative(entry.path(), root);
    }
    return "";
  }

  const fs::path root;
  Launch launch;
};

TEST_F(V2, LimitsMemoryAndCpuInOneGroup) {
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  cgroup.Prepare({.memory_bytes = 64 << 20, .cpus = 0.5});
  const std::string group = Group();
  EXPECT_EQ(group.substr(0, group.size() - 8), "muster/mall@rehearsal/web-1.");
  EXPECT_EQ(Get(group + "/memory.max"), "67108864");
  EXPECT_EQ(Get(group + "/cpu.max"), "50000 100000");
}

TEST_F(V2, LeavesTheCpuControllerAloneWhereNothingNeedsIt) {
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  cgroup.Prepare({});
  EXPECT_EQ(Get("cgroup.subtree_control"), "+memory");
  EXPECT_EQ(Get("muster/mall@rehearsal/cgroup.subtree_control"), "+memory");
  EXPECT_EQ(Get(Group() + "/memory.max"), "max");
  EXPECT_FALSE(fs::exists(root / Group() / "cpu.max"));
}

TEST_F(V2, CountsWhatTheProcessesHold) {
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  cgroup.Prepare({});
  Put(Group() + "/memory.stat", "anon 1000\nfile 999999\nkernel_stack 16\nshmem 200\n");
  EXPECT_EQ(cgroup.memory_bytes(), 1216);
}

TEST_F(V2, CountsWhatWasKilledForMemory) {
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  EXPECT_EQ(cgroup.memory_counts(), MemoryCounts{});
  cgroup.Prepare({.memory_bytes = 40 << 20});
  Put(Group() + "/memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n");
  EXPECT_EQ(cgroup.memory_counts(), (MemoryCounts{.killed = 1, .limit = 40 << 20, .met_limit = true}));
  Put(Group() + "/memory.max", "max\n");
  EXPECT_EQ(cgroup.memory_counts().limit, 0);
}

TEST(KilledForMemory, TellsTheLimitFromTheMachine) {
  const MemoryCounts before{.killed = 1, .limit = 40 << 20, .met_limit = true};
  EXPECT_EQ(KilledForMemory(before, before), "");  // it was at its limit, and let go of something
  MemoryCounts after = before;
  after.killed = 2;
  EXPECT_EQ(KilledForMemory(before, after), "killed at its memory limit of 40m");
  after.limit = 1500 << 10;
  EXPECT_EQ(KilledForMemory(before, after), "killed at its memory limit of 1500k");
  after.limit = int64_t{2} << 30;
  EXPECT_EQ(KilledForMemory(before, after), "killed at its memory limit of 2g");
  after.met_limit = false;
  EXPECT_EQ(KilledForMemory(before, after), "killed for want of memory on the machine");
  EXPECT_EQ(KilledForMemory({}, {.killed = 1}), "killed for want of memory on the machine");
}

TEST_F(V2, GivesEqualNamesOfTwoInstallationsTwoGroups) {
  InstanceCgroup::Of(launch).Prepare({});
  launch.lock_path = "/y/lock";
  InstanceCgroup other = InstanceCgroup::Of(launch);
  other.Prepare({});
  EXPECT_EQ(std::distance(fs::directory_iterator(root / "muster/mall@rehearsal"), fs::directory_iterator()),
            3);
}

TEST_F(V2, NoNameClimbsOut) {
  launch.cluster = "../..";
  launch.instance = "a/b";
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  cgroup.Prepare({});
  EXPECT_TRUE(fs::exists(root / "muster/_.._.."));
}

TEST(Cgroups, SayWhyTheyCannotBeUsed) {
  const CgroupSupport none = ProbeCgroups("/nonexistent");
  EXPECT_FALSE(none.memory || none.cpu);
  EXPECT_EQ(none.means, "no cgroups are mounted at /nonexistent");
}

TEST(Stat, IsReadWhateverTheNameIs) {
  const ProcStat stat =
      ParseStat("42 (a) R 1) S 7 42 43 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200").value();
  EXPECT_EQ(stat.pid, 42);
  EXPECT_EQ(stat.state, 'S');
  EXPECT_EQ(stat.parent, 7);
  EXPECT_EQ(stat.session, 43);
  EXPECT_EQ(stat.start, 98765u);
  EXPECT_FALSE(ParseStat("").has_value());
  EXPECT_FALSE(ParseStat("42 (a").has_value());
}

}  // namespace
}  // namespace muster::runtime
