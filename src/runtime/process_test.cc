// Real processes: started, refused twice, adopted, killed with all their children, limited, and left without
// a trace.
#include "runtime/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/digest.h"
#include "base/text.h"
#include "runtime/proc.h"

namespace muster::runtime {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ProcessPointer = std::unique_ptr<Process>;

constexpr uid_t kNobody = 65534;

class Processes : public ::testing::Test {
 protected:
  Processes() : folder(fs::temp_directory_path() / ("muster-runtime-" + RandomHex(6))) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // So that orphans are reaped here and not seconds later by init.
    fs::create_directories(folder);
    chmod(folder.c_str(), 0755);
    fs::create_directories(folder / "work");
    chmod((folder / "work").c_str(), 0777);
  }
  ~Processes() override {
    for (const ProcStat& holder : HoldersOf(folder / "lock")) kill(holder.pid, SIGKILL);
    Until([&] { return HoldersOf(folder / "lock").empty(); });
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    RemoveCgroups(cluster, "");
    fs::remove_all(folder);
  }

  Launch Of(std::vector<std::string> argv) const {
    Launch launch;
    launch.cluster = cluster;
    launch.instance = "web-1";
    launch.argv = std::move(argv);
    launch.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"GREETING", "hello there"}};
    launch.working_folder = folder / "work";
    launch.log_path = folder / "work/current.log";
    launch.lock_path = folder / "lock";
    launch.record_path = folder / "run";
    launch.hash = "abc123";
    return launch;
  }
  Launch Shell(const std::string& script) const { return Of({"/bin/sh", "-c", script}); }

  template <class Condition>
  static bool Until(Condition condition, Duration most = 10s) {
    const Time end = Now() + most;
    while (!condition()) {
      if (Now() > end) return false;
      poll(nullptr, 0, 2);
    }
    return true;
  }
  static bool Ended(const Process& process) {
    pollfd polled{process.pidfd(), POLLIN, 0};
    return poll(&polled, 1, 10'000) == 1;
  }
  std::string Log() const {
    const Result<std::string> text = ReadFile(folder / "work/current.log");
    return text.ok() ? *text : "";
  }
  bool AnythingHoldsTheLock() const { return IsLocked(folder / "lock"); }
  // Whether a folder below /sys/fs/cgroup is named after this test's cluster.
  bool CgroupLeft() const {
    for (const char* hierarchy : {"", "/memory", "/cpu", "/unified"}) {
      if (fs::exists(std::string("/sys/fs/cgroup") + hierarchy + "/muster/" + cluster)) return true;
    }
    return false;
  }

  const fs::path folder;
  const std::string cluster = "test-" + RandomHex(6);
};

TEST_F(Processes, RunsWithItsEnvironmentFolderLogAndRecord) {
  const ProcessPointer process =
      Process::Start(Shell("echo $GREETING; pwd; echo bad >&2; cat; exit 3")).value();
  const std::string record = ReadFile(folder / "run").value();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "exit 3");
  EXPECT_EQ(process->Reap(), "exit 3") << "asked again, it says the same";
  EXPECT_EQ(Log(), "hello there\n" + (folder / "work").string() + "\nbad\n");
  EXPECT_THAT(record, HasSubstr(std::to_string(process->pid()) + " "));
  EXPECT_THAT(record, HasSubstr(" abc123 "));
  EXPECT_FALSE(AnythingHoldsTheLock());
  EXPECT_FALSE(CgroupLeft());
}

TEST_F(Processes, GivesTheProgramACleanStart) {
  signal(SIGUSR1, SIG_IGN);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  const int leaked = open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  const ProcessPointer process = Process::Start(Shell("grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' "
                                                      "-f1,6 /proc/$$/stat; ls -l /proc/self/fd"))
                                     .value();
  ASSERT_TRUE(Ended(*process));
  close(leaked);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  signal(SIGUSR1, SIG_DFL);
  EXPECT_EQ(process->Reap(), "exit 0");
  EXPECT_THAT(Log(), HasSubstr("SigBlk:\t0000000000000000"));
  EXPECT_THAT(Log(), HasSubstr("SigIgn:\t0000000000000000"));
  EXPECT_THAT(
      Log(), ::testing::ContainsRegex(std::to_string(process->pid()) + " +" + std::to_string(process->pid())))
      << "a session of its own";
  EXPECT_THAT(Log(), HasSubstr("0 -> /dev/null"));
  EXPECT_THAT(Log(), HasSubstr("-> " + (folder / "lock").string()));
  size_t null_count = 0;
  for (size_t at = 0; (at = Log().find("/dev/null", at)) != std::string::npos; ++at) ++null_count;
  EXPECT_EQ(null_count, 1u) << Log();
}

TEST_F(Processes, TellsTheSignalThatEndedIt) {
  const ProcessPointer process = Process::Start(Of({"sleep", "1000"})).value();
  process->Signal(SIGTERM);
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "signal 15");
}

TEST_F(Processes, RefusesToStartWhatCannotRun) {
  const Error missing = Process::Start(Of({"nginx-of-another-world"})).error();
  EXPECT_EQ(missing.code(), "program-missing");
  Launch java = Of({"/opt/none/bin/java"});
  EXPECT_THAT(Process::Start(java).error().hint(), HasSubstr("default-jre-headless"));

  const std::string text = folder / "work/notes";
  ASSERT_TRUE(WriteFile(text, "just words", {.mode = 0644}).ok());
  EXPECT_EQ(Process::Start(Of({text})).error().code(), "not-executable");
  ASSERT_TRUE(WriteFile(text, "just words", {.mode = 0755}).ok());
  EXPECT_EQ(Process::Start(Of({text})).error().code(), "not-executable");
  EXPECT_EQ(Process::Start(Of({folder / "work"})).error().code(), "not-executable");
  ASSERT_TRUE(WriteFile(text, "#!/opt/none/ruby\n", {.mode = 0755}).ok());
  const Error interpreter = Process::Start(Of({text})).error();
  EXPECT_EQ(interpreter.code(), "program-missing");
  EXPECT_THAT(interpreter.message(), HasSubstr("/opt/none/ruby"));
  EXPECT_THAT(interpreter.hint(), HasSubstr("apt-get install ruby"));

  Launch nowhere = Of({"sleep", "1"});
  nowhere.working_folder = folder / "none";
  EXPECT_EQ(Process::Start(nowhere).error().code(), "os-error");
  EXPECT_THAT(Process::Start(nowhere).error().message(), HasSubstr("can't enter its working_folder"));
  EXPECT_THAT(Process::Start(nowhere).error().message(), HasSubstr("none"));

  const Error beside = Process::Start(Of({"./site/run.sh"})).error();
  EXPECT_EQ(beside.code(), "program-missing");
  EXPECT_THAT(beside.message(), HasSubstr("./site/run.sh of its command is not there"));
  EXPECT_FALSE(AnythingHoldsTheLock());
  EXPECT_FALSE(CgroupLeft());
}

TEST_F(Processes, FindsTheProgramInItsOwnPath) {
  ASSERT_TRUE(WriteFile(folder / "work/greet", "#!/bin/sh\necho from here\n", {.mode = 0755}).ok());
  Launch launch = Of({"greet"});
  launch.env["PATH"] = folder / "work";
  const ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "exit 0");
  EXPECT_EQ(Log(), "from here\n");
}

TEST_F(Processes, IsNeverStartedTwice) {
  const ProcessPointer process = Process::Start(Of({"sleep", "1000"})).value();
  EXPECT_EQ(Process::Start(Of({"sleep", "1000"})).error().code(), "already-running");
  fs::remove(folder / "run");
  EXPECT_EQ(Process::Start(Of({"sleep", "1000"})).error().code(), "already-running") << "its lock tells, too";
  process->KillAll();
  process->Reap();
  EXPECT_TRUE(Process::Start(Of({"true"})).ok());
}

TEST_F(Processes, IsNotStartedTwiceWhereItClosedItsLock) {
  const char* closes = "import os,time; os.closerange(3, 100); print('closed', flush=True); time.sleep(1000)";
  const ProcessPointer process = Process::Start(Of({"/usr/bin/python3", "-c", closes})).value();
  ASSERT_TRUE(Until([&] { return Log() == "closed\n"; }));
  EXPECT_FALSE(AnythingHoldsTheLock());
  EXPECT_EQ(Process::Start(Of({"sleep", "1000"})).error().code(), "already-running");
  EXPECT_EQ(Process::Adopt(Of({})).value()->pid(), process->pid());
  process->KillAll();
  EXPECT_EQ(process->Reap(), "signal 9");
}

TEST_F(Processes, IsAdoptedByItsRecord) {
  const ProcessPointer started = Process::Start(Of({"sleep", "1000"})).value();
  Launch later = Of({"sleep", "1000"});
  later.hash = "newer";
  const ProcessPointer adopted = Process::Adopt(later).value();
  ASSERT_TRUE(adopted);
  EXPECT_EQ(adopted->pid(), started->pid());
  EXPECT_EQ(adopted->hash(), "abc123") << "what it was started from";
  adopted->KillAll();
  ASSERT_TRUE(Ended(*adopted));
  EXPECT_EQ(started->Reap(), "signal 9");
  EXPECT_EQ(adopted->Reap(), "unknown");
  EXPECT_EQ(Process::Adopt(later).value(), nullptr);
}

TEST_F(Processes, IsAdoptedByItsLockWhereTheRecordIsGoneOrStale) {
  const ProcessPointer started = Process::Start(Of({"sleep", "1000"})).value();
  fs::remove(folder / "run");
  ProcessPointer adopted = Process::Adopt(Of({})).value();
  ASSERT_TRUE(adopted);
  EXPECT_EQ(adopted->pid(), started->pid());
  EXPECT_EQ(adopted->hash(), "") << "nobody knows what it was started from";

  ASSERT_TRUE(WriteFile(folder / "run", "1 1 stale\n").ok());
  adopted = Process::Adopt(Of({})).value();
  ASSERT_TRUE(adopted);
  EXPECT_EQ(adopted->pid(), started->pid());
  EXPECT_EQ(adopted->hash(), "");
  adopted->KillAll();
  EXPECT_EQ(started->Reap(), "signal 9");
}

TEST_F(Processes, IsNotMistakenForAnotherWithItsPid) {
  const ProcStat self = ReadStat(getpid()).value();
  ASSERT_TRUE(WriteFile(folder / "run", fmt::format("{} {} old\n", self.pid, self.start + 1)).ok());
  EXPECT_EQ(Process::Adopt(Of({})).value(), nullptr);
  ASSERT_TRUE(WriteFile(folder / "run", fmt::format("{} {} old other-boot\n", self.pid, self.start)).ok());
  EXPECT_EQ(Process::Adopt(Of({})).value(), nullptr);
  ASSERT_TRUE(WriteFile(folder / "run", "rubbish").ok());
  EXPECT_EQ(Process::Adopt(Of({})).value(), nullptr);
}

TEST_F(Processes, LeavesAChildThatIsFoundAsALeftover) {
  const ProcessPointer started = Process::Start(Shell("sleep 1000 & echo ready; wait")).value();
  EXPECT_FALSE(started->leftover());
  EXPECT_FALSE(Process::Adopt(Of({})).value()->leftover());
  ASSERT_TRUE(Until([&] { return Log() == "ready\n"; }));
  started->Signal(SIGKILL);
  ASSERT_TRUE(Ended(*started));
  // The main process is a zombie now, which counts as dead.
  const ProcessPointer child = Process::Adopt(Of({})).value();
  ASSERT_TRUE(child);
  EXPECT_TRUE(child->leftover()) << "it can't stand for the instance";
  EXPECT_NE(child->pid(), started->pid());
  EXPECT_EQ(child->hash(), "abc123");
  EXPECT_EQ(started->Reap(), "signal 9");
  EXPECT_EQ(Process::Start(Of({"true"})).error().code(), "already-running");
  child->KillAll();
  ASSERT_TRUE(Ended(*child));
  child->Reap();
  EXPECT_EQ(Process::Adopt(Of({})).value(), nullptr);
}

// Such as Python's subprocess starts them: without any descriptor but three.
TEST_F(Processes, LeavesAChildThatIsFoundWithoutTheLock) {
  Launch launch = Shell(
      "for fd in /proc/self/fd/*; do fd=${fd##*/}; test $fd -lt 3 || eval \"exec $fd>&-\"; done; "
      "sleep 1000 & echo ready; wait");
  launch.env["MUSTER_CLUSTER"] = cluster;
  launch.env["MUSTER_INSTANCE"] = "web-1";
  launch.cgroup_root = "";
  const ProcessPointer started = Process::Start(launch).value();
  ASSERT_TRUE(Until([&] { return Log() == "ready\n"; }));
  ASSERT_FALSE(AnythingHoldsTheLock());
  started->Signal(SIGKILL);
  ASSERT_TRUE(Ended(*started));
  EXPECT_EQ(started->Reap(), "signal 9");
  Launch other = launch;
  other.env["MUSTER_INSTANCE"] = "web-2";
  EXPECT_EQ(Process::Adopt(other).value(), nullptr) << "a session's id alone may be somebody else's by now";
  const ProcessPointer child = Process::Adopt(launch).value();
  ASSERT_TRUE(child);
  EXPECT_TRUE(child->leftover());
  child->KillAll();
  ASSERT_TRUE(Ended(*child));
  child->Reap();
  EXPECT_EQ(Process::Adopt(launch).value(), nullptr);
}

class Killing : public Processes, public ::testing::WithParamInterface<const char*> {};

TEST_P(Killing, TakesAllDescendantsAlong) {
  Launch launch = Shell("sleep 1001 & setsid sleep 1002 & (sleep 1003 & sleep 1004) & echo ready; wait");
  launch.cgroup_root = GetParam();
  const ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Until([&] { return Log() == "ready\n" && HoldersOf(folder / "lock").size() >= 5; }));
  process->KillAll();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "signal 9");
  EXPECT_TRUE(Until([&] { return HoldersOf(folder / "lock").empty(); }));
  RemoveCgroups(cluster, "web-1");
  EXPECT_FALSE(CgroupLeft());
}
// With cgroups as they are, without any, and with a real v2 hierarchy (present beside v1 on hybrid machines).
INSTANTIATE_TEST_SUITE_P(By, Killing, ::testing::Values("/sys/fs/cgroup", "", "/sys/fs/cgroup/unified"));

// The agent is killed at some moment around the fork. Whatever the moment: what was started is found, nothing
// is started twice, and what was not started leaves nothing behind.
TEST_F(Processes, AreFoundWhenTheAgentIsKilledWhileStartingThem) {
  int found_count = 0;
  // A busy machine starts late: there the moments go on until one is late enough.
  for (int round = 0; round < 40 || (found_count == 0 && round < 2000); ++round) {
    const Launch launch = Of({"sleep", "1000"});
    int start[2];
    ASSERT_EQ(pipe(start), 0);
    const pid_t agent = fork();
    ASSERT_GE(agent, 0);
    if (agent == 0) {
      char go;
      if (read(start[0], &go, 1) != 1) _exit(1);
      const Result<ProcessPointer> process = Process::Start(launch);
      pause();
    }
    ASSERT_EQ(write(start[1], "x", 1), 1);
    const Time until = Now() + Duration(round / 4);
    timespec pause{0, round % 4 * 250'000};
    nanosleep(&pause, nullptr);
    while (Now() < until) {
    }
    kill(agent, SIGKILL);
    ASSERT_EQ(waitpid(agent, nullptr, 0), agent);
    close(start[0]);
    close(start[1]);

    Result<ProcessPointer> adopted = Process::Adopt(launch);
    ASSERT_TRUE(adopted.ok()) << adopted.error().Text();
    ProcessPointer process = std::move(*adopted);
    if (process) {
      ++found_count;
      EXPECT_EQ(process->hash(), "abc123");
      EXPECT_EQ(Process::Start(launch).error().code(), "already-running");
    } else {
      // It may have been forked and not yet have its lock; then one of the two is refused.
      Result<ProcessPointer> again = Process::Start(launch);
      if (!again.ok()) {
        EXPECT_EQ(again.error().code(), "already-running");
        process = Process::Adopt(launch).value();
        ASSERT_TRUE(process);
      } else {
        process = std::move(*again);
      }
    }
    EXPECT_TRUE(Until([&] { return HoldersOf(folder / "lock").size() == 1; }));
    process->KillAll();
    ASSERT_TRUE(Ended(*process));
    process->Reap();
    EXPECT_TRUE(Until([&] {
      while (waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      return HoldersOf(folder / "lock").empty();
    }));
  }
  EXPECT_GT(found_count, 0);
  RemoveCgroups(cluster, "");
  EXPECT_FALSE(CgroupLeft());
}

#ifdef MUSTER_FAULT_POINTS
TEST_F(Processes, AreFoundAtEachFaultPoint) {
  for (const std::string point : {"runtime.before-fork", "runtime.after-fork", "runtime.before-exec"}) {
    const Launch launch = Of({"sleep", "1000"});
    const pid_t agent = fork();
    ASSERT_GE(agent, 0);
    if (agent == 0) {
      setenv("MUSTER_FAULT", point.c_str(), 1);
      const Result<ProcessPointer> process = Process::Start(launch);
      _exit(process.ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(agent, &status, 0), agent);
    EXPECT_EQ(WIFSIGNALED(status), point != "runtime.before-exec") << point;
    // In the case after-fork the child may not have its lock yet.
    ProcessPointer process;
    Until([&] { return (process = Process::Adopt(launch).value()) != nullptr; }, 500ms);
    EXPECT_EQ(process != nullptr, point == "runtime.after-fork") << point;
    if (!process) continue;
    EXPECT_EQ(process->hash(), "abc123");
    process->KillAll();
    process->Reap();
  }
}
#endif

TEST_F(Processes, ChangesUserAndOpensItsLogAsThatUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Launch launch =
      Shell("id -u; id -g; id -G; cat /proc/self/status | grep CapEff; cat " + (folder / "run").string());
  launch.uid = kNobody;
  launch.gid = kNobody;
  const ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  process->Reap();
  EXPECT_THAT(Log(), HasSubstr("65534\n65534\n65534\n"));
  EXPECT_THAT(Log(), HasSubstr("CapEff:\t0000000000000000"));
  EXPECT_THAT(Log(), HasSubstr("Permission denied")) << "the record is the agent's own";
  struct stat log {};
  ASSERT_EQ(stat((folder / "work/current.log").c_str(), &log), 0);
  EXPECT_EQ(log.st_uid, kNobody);

  fs::remove(folder / "work/current.log");
  fs::create_symlink("/etc/muster-must-not-exist", folder / "work/current.log");
  EXPECT_EQ(Process::Start(launch).error().code(), "os-error");
  EXPECT_FALSE(fs::exists("/etc/muster-must-not-exist"));
}

TEST_F(Processes, MayBindLowPortsAsAnotherUserWhereAllowed) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  // Binding 127.0.0.1:N with a low N that is very likely free; only whether it is permitted matters.
  const std::string script =
      "import socket\ns = socket.socket()\ntry:\n  s.bind(('127.88.0.9', 77)); print('bound')\n"
      "except PermissionError: print('denied')\n";
  Launch launch = Of({"/usr/bin/python3", "-c", script});
  launch.uid = kNobody;
  launch.gid = kNobody;
  launch.bind_low_ports = true;
  ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "exit 0");
  EXPECT_EQ(Log(), "bound\n");
  launch.bind_low_ports = false;
  process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  process->Reap();
  const std::string start =
      Trim(ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start").value()) == "1024" ? "denied" : "bound";
  EXPECT_EQ(Log(), "bound\n" + start + "\n");
}

TEST_F(Processes, HasTheOpenFilesItWasGiven) {
  Launch launch = Shell("ulimit -n");
  launch.limits.open_files = 321;
  const ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  process->Reap();
  EXPECT_EQ(Log(), "321\n");
}

TEST_F(Processes, AHogIsKilledAtItsMemoryLimit) {
  if (!ProbeCgroups().memory) GTEST_SKIP() << "memory can't be limited here: " << ProbeCgroups().means;
  Launch launch =
      Of({"/usr/bin/python3", "-c", "print('start', flush=True); x = bytearray(200 << 20); print('whole')"});
  launch.limits.memory_bytes = 60 << 20;
  ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "killed at its memory limit of 60m");
  EXPECT_EQ(Log(), "start\n");
  launch.limits.memory_bytes = 0;
  process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "exit 0");
  EXPECT_FALSE(CgroupLeft());
}

// That somebody else in the group was killed for memory once says nothing of what the agent itself has
// killed.
TEST_F(Processes, IsNotSaidToHaveHadTooLittleMemoryWhereItWasKilled) {
  if (!ProbeCgroups().memory) GTEST_SKIP() << "memory can't be limited here: " << ProbeCgroups().means;
  Launch launch =
      Shell("/usr/bin/python3 -c 'x = bytearray(200 << 20)'; echo child $?; while true; do sleep 100; done");
  launch.limits.memory_bytes = 60 << 20;
  ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Until([&] { return Log().find("child 137") != std::string::npos; }));
  process->KillAll();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "signal 9");
  EXPECT_FALSE(CgroupLeft());
}

TEST_F(Processes, ABusyLoopGetsItsShareOfTheCpu) {
  if (!ProbeCgroups().cpu) GTEST_SKIP() << "cpu can't be limited here: " << ProbeCgroups().means;
  // Half a second of wall time at a fifth of a CPU.
  Launch launch = Of({"/usr/bin/python3", "-c",
                      "import time\nw = time.monotonic(); c = time.process_time()\n"
                      "while time.monotonic() - w < 1: pass\nprint(time.process_time() - c)"});
  launch.limits.cpus = 0.2;
  const ProcessPointer process = Process::Start(launch).value();
  ASSERT_TRUE(Ended(*process));
  EXPECT_EQ(process->Reap(), "exit 0");
  EXPECT_LT(std::atof(Log().c_str()), 0.45);
  EXPECT_FALSE(CgroupLeft());
}

TEST_F(Processes, FindsAllThatBelongsToIt) {
  for (const char* cgroups : {"/sys/fs/cgroup", ""}) {
    fs::remove(folder / "work/pids");
    Launch launch =
        Shell("sleep 100 & echo $! > pids; setsid sleep 100 & echo $! >> pids; echo >> pids; wait");
    launch.cgroup_root = cgroups;
    // Who is killed with a group may hold the instance's lock for a moment longer.
    ProcessPointer process;
    ASSERT_TRUE(Until([&] {
      auto started = Process::Start(launch);
      if (started.ok()) process = std::move(*started);
      return process != nullptr;
    }));
    std::vector<std::string> lines;
    ASSERT_TRUE(Until([&] {
      const auto text = ReadFile(folder / "work/pids");
      lines = text.ok() ? Split(*text, '\n') : std::vector<std::string>{};
      return lines.size() > 2;
    }));
    const std::vector<int> pids = process->PidFinder()();
    EXPECT_THAT(pids, Contains(process->pid()));
    EXPECT_THAT(pids, Contains(std::atoi(lines[0].c_str())));
    EXPECT_THAT(pids, Contains(std::atoi(lines[1].c_str())));
    EXPECT_THAT(pids, Not(Contains(getpid())));
    process->KillAll();
    process->Reap();
  }
}

TEST_F(Processes, TellsItsMemory) {
  for (const char* root : {"/sys/fs/cgroup", ""}) {
    fs::remove(folder / "work/current.log");
    Launch launch = Of({"/usr/bin/python3", "-c",
                        "x = bytearray(50 << 20); print('ready', flush=True); input() if 0 else "
                        "__import__('time').sleep(1000)"});
    launch.cgroup_root = root;
    const ProcessPointer process = Process::Start(launch).value();
    ASSERT_TRUE(Until([&] { return Log() == "ready\n"; }));
    EXPECT_GT(process->memory_bytes(), 50 << 20);
    EXPECT_LT(process->memory_bytes(), 120 << 20);
    process->KillAll();
    process->Reap();
  }
  EXPECT_THAT(Log(), Not(HasSubstr("Error")));
}

}  // namespace
}  // namespace muster::runtime
