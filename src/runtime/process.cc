#include "runtime/process.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/children.h"
#include "base/moment.h"
#include "base/search_path.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/proc.h"
#include "runtime/spawn.h"

namespace muster::runtime {
namespace {

struct Record {
  int pid = 0;
  uint64_t start = 0;
  std::string hash;
};

std::optional<Record> ReadRecord(const std::string& path) {
  const Result<std::string> text = ReadFile(path, 4096);
  if (!text.ok()) return std::nullopt;
  const std::vector<std::string> words = Split(std::string(Trim(*text)), ' ');
  if (words.size() < 3) return std::nullopt;
  // After a reboot the same pid and ticks may name another process.
  if (words.size() > 3 && words[3] != BootId()) return std::nullopt;
  const std::string hash = words[2] == "-" ? "" : words[2];
  return Record{std::atoi(words[0].c_str()), std::strtoull(words[1].c_str(), nullptr, 10), hash};
}

// The recorded process, where it is the same one and lives.
std::optional<ProcStat> Living(const std::optional<Record>& record) {
  if (!record) return std::nullopt;
  const std::optional<ProcStat> stat = ReadStat(record->pid);
  if (!stat || stat->start != record->start || !stat->alive()) return std::nullopt;
  return stat;
}

// Whether it was started with all of these words, "NAME=VALUE", in its environment.
bool IsMarked(int pid, const std::vector<std::string>& words) {
  const Result<std::string> read = ReadFile("/proc/" + std::to_string(pid) + "/environ", 1 << 20);
  if (!read.ok()) return false;
  const std::string environment = std::string(1, '\0') + *read;
  return std::all_of(words.begin(), words.end(), [&](const std::string& word) {
    return environment.find(std::string(1, '\0') + word + std::string(1, '\0')) != std::string::npos;
  });
}

class LocalProcess : public Process {
 public:
  // `main` is what was started: `stat` itself, or what that is left of.
  LocalProcess(const ProcStat& stat, const ProcStat& main, Fd pidfd, std::string hash, std::string lock_path,
               InstanceCgroup cgroup, MemoryCounts memory_before)
      : pid_(stat.pid),
        leftover_(stat.pid != main.pid),
        session_(main.session),
        start_(main.start),
        pidfd_(std::move(pidfd)),
        hash_(std::move(hash)),
        lock_path_(std::move(lock_path)),
        cgroup_(std::move(cgroup)),
        memory_before_(memory_before) {}

  int pid() const override { return pid_; }
  int pidfd() const override { return pidfd_.get(); }
  std::string hash() const override { return hash_; }
  bool leftover() const override { return leftover_; }

  bool frozen() const override {
    const std::optional<ProcStat> stat = ReadStat(pid_);
    return stat && stat->start == start_ && stat->state == 'T';
  }

  void Signal(int signal_number) override {
    // Through the pidfd, so that it can't reach another process that was given the pid since.
    syscall(SYS_pidfd_send_signal, pidfd_.get(), signal_number, nullptr, 0);
  }

  void AskToStop(int signal_number) override {
    const std::vector<int> all = PidFinder()();
    // The main process first: it may want to be the one who ends the others.
    Signal(signal_number);
    for (const int pid : all) {
      if (pid == pid_ || pid == getpid()) continue;
      kill(pid, signal_number);
      kill(pid, SIGCONT);
    }
    Signal(SIGCONT);  // who is frozen hears it only then, which systemd does as well
  }

  bool AnyLeft() const override {
    const auto lives = [this](int pid) {
      if (pid == pid_) return false;
      const std::optional<ProcStat> stat = ReadStat(pid);
      return stat && stat->alive();
    };
    const std::vector<int> pids = cgroup_.Pids();
    if (std::any_of(pids.begin(), pids.end(), lives) || IsLocked(lock_path_)) return true;
    if (!owns_session()) return false;
    const std::vector<ProcStat> all = AllProcesses();
    return std::any_of(all.begin(), all.end(), [this](const ProcStat& process) {
      return process.pid != pid_ && process.session == session_ && process.start >= start_ && process.alive();
    });
  }

  void KillAll() override {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    if (poll(&ended, 1, 0) == 0) killed_here_ = true;
    Signal(SIGKILL);
    cgroup_.Kill();
    // What isn't in the cgroup (there may be none) is in its session or holds its lock. Again until none is
    // left: a process may fork while the list is read.
    for (int round = 0; round < 20; ++round) {
      if (KillSession() == 0) break;
      poll(nullptr, 0, 1);
    }
    for (int round = 0; round < 20 && IsLocked(lock_path_); ++round) {
      for (const ProcStat& holder : HoldersOf(lock_path_)) kill(holder.pid, SIGKILL);
      poll(nullptr, 0, 1);
    }
  }

  std::string Reap() override {
    if (!ending_.empty()) return ending_;
    pollfd ended{pidfd_.get(), POLLIN, 0};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    int status = 0;
    if (AwaitChild(pid_, &status) != pid_) {
      ending_ = "unknown";  // Not our child: whoever is its parent learns it.
    } else if (WIFSIGNALED(status)) {
      ending_ = "signal " + std::to_string(WTERMSIG(status));
    } else {
      ending_ = "exit " + std::to_string(WEXITSTATUS(status));
    }
    // A shell tells of what it ran by 128 + 9, and of an adopted one nothing is known but this.
    if (!killed_here_ && (ending_ == "signal 9" || ending_ == "exit 137" || ending_ == "unknown")) {
      const std::string killed = KilledForMemory(memory_before_, cgroup_.memory_counts());
      if (!killed.empty()) ending_ = killed;
    }
    cgroup_.Remove();
    return ending_;
  }

  int64_t memory_bytes() const override {
    if (const int64_t bytes = cgroup_.memory_bytes(); bytes > 0) return bytes;
    const Result<std::string> text = ReadFile("/proc/" + std::to_string(pid_) + "/statm", 4096);
    if (!text.ok()) return 0;
    const std::vector<std::string> words = Split(*text, ' ');
    return words.size() > 1 ? std::atoll(words[1].c_str()) * sysconf(_SC_PAGESIZE) : 0;
  }

  bool in_group() const override { return !cgroup_.OpenForJoining().empty(); }
  std::vector<std::string> JoinFiles() const override { return cgroup_.JoinFiles(); }

  std::function<std::vector<int>()> PidFinder() const override {
    const auto find = [pid = pid_, session = owns_session() ? session_ : 0, start = start_,
                       cgroup = cgroup_] {
      std::vector<int> pids = cgroup.Pids();
      if (std::find(pids.begin(), pids.end(), pid) == pids.end()) pids.push_back(pid);
      const std::vector<ProcStat> all = AllProcesses();
      // What isn't in the cgroup (there may be none) is in its session, or descends from what is.
      for (const ProcStat& process : all) {
        const bool in_session = session > 1 && process.session == session && process.start >= start;
        const bool known = std::find(pids.begin(), pids.end(), process.pid) != pids.end();
        if (in_session && !known) pids.push_back(process.pid);
      }
      for (size_t known = 0; known != pids.size();) {
        known = pids.size();
        for (const ProcStat& process : all) {
          const auto has = [&](int wanted) {
            return std::find(pids.begin(), pids.end(), wanted) != pids.end();
          };
          if (!has(process.pid) && has(process.parent)) pids.push_back(process.pid);
        }
      }
      return pids;
    };
    return find;
  }

 private:
  // Never the agent's own session: something adopted by its lock alone may have been started by hand.
  bool owns_session() const { return session_ > 1 && session_ != getsid(0); }

  int KillSession() const {
    if (!owns_session()) return 0;
    int killed = 0;
    for (const ProcStat& process : AllProcesses()) {
      if (process.session != session_ || process.start < start_ || !process.alive()) continue;
      kill(process.pid, SIGKILL);
      ++killed;
    }
    return killed;
  }

  const int pid_;
  const bool leftover_;
  const int session_;
  const uint64_t start_;
  Fd pidfd_;
  const std::string hash_;
  const std::string lock_path_;
  const InstanceCgroup cgroup_;
  const MemoryCounts memory_before_;
  bool killed_here_ = false;
  std::string ending_;
};

// The program that argv[0] means, found in the PATH that the instance will have.
Result<std::string> ProgramOf(const Launch& launch) {
  if (launch.argv.empty() || launch.argv[0].empty()) {
    return Error::Invalid("program-missing", "{} has no command", launch.instance);
  }
  const std::string& word = launch.argv[0];
  std::string found;
  if (word.find('/') != std::string::npos) {
    found = word[0] == '/' ? word : launch.working_folder + "/" + word;
  } else {
    const auto path = launch.env.find("PATH");
    if (path != launch.env.end()) found = FindInPath(path->second, word);
    if (found.empty()) found = FindProgram(word);
  }
  struct stat file {};
  if (found.empty() || (stat(found.c_str(), &file) != 0 && (errno == ENOENT || errno == ENOTDIR))) {
    if (word[0] != '/' && word.find('/') != std::string::npos) {
      return Error::NotFound("program-missing", "{}: {} of its command is not there in {}", launch.instance,
                             word, launch.working_folder)
          .Hint(
              "artifact: and files: bring files to an instance; what stands beside the cluster file doesn't");
    }
    Error missing = Error::NotFound("program-missing", "{} is not installed", word);
    const std::string package = PackageOf(word);
    if (package.empty()) return std::move(missing).Hint("install it, or correct the command");
    return std::move(missing).Hint("apt-get install {}", package);
  }
  const bool no_program = S_ISDIR(file.st_mode) || (S_ISREG(file.st_mode) && (file.st_mode & 0111) == 0);
  if (no_program) {
    return Error::Invalid("not-executable", "{} is {}", found,
                          S_ISDIR(file.st_mode) ? "a folder, not a program" : "not marked as executable")
        .Hint("chmod +x {}, or start it through its interpreter", found);
  }
  return found;
}

// Who was taken over may have been started from somebody's shell, whose session has others in it.
ProcStat OfOwnSession(ProcStat main) {
  if (main.session != main.pid) main.session = 0;
  return main;
}

Result<std::unique_ptr<Process>> AdoptPid(const ProcStat& stat, const ProcStat& main, const std::string& hash,
                                          const Launch& launch) {
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, stat.pid, 0)));
  if (!pidfd.valid()) {
    if (errno == ESRCH) return std::unique_ptr<Process>();
    return Error::Os("pidfd_open", errno);
  }
  // It may have ended, and its pid been given away, before the pidfd was open.
  const std::optional<ProcStat> again = ReadStat(stat.pid);
  if (!again || again->start != stat.start || !again->alive()) return std::unique_ptr<Process>();
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  const MemoryCounts memory = cgroup.memory_counts();
  return std::unique_ptr<Process>(std::make_unique<LocalProcess>(
      stat, main, std::move(pidfd), hash, launch.lock_path, std::move(cgroup), memory));
}

// What lives of a recorded process that is dead: of its session, and started for this instance. Children that
// close all descriptors they don't know have let go of the lock. The session's id alone says too little: once
// all of it is gone, the pid may be given to somebody else.
std::optional<ProcStat> LeftoverOf(const Record& record, const Launch& launch) {
  std::vector<std::string> words;
  for (const char* name : {"MUSTER_CLUSTER", "MUSTER_INSTANCE"}) {
    const auto found = launch.env.find(name);
    if (found == launch.env.end()) return std::nullopt;
    words.push_back(std::string(name) + "=" + found->second);
  }
  for (const ProcStat& process : AllProcesses()) {
    const bool in_session = process.session == record.pid && process.start >= record.start;
    if (in_session && process.alive() && IsMarked(process.pid, words)) return process;
  }
  return std::nullopt;
}

// A child of an agent that hasn't come to its program yet is a copy of this one.
bool BeforeExec(const ProcStat& process) {
  std::error_code unseen, gone;
  const fs::path own = fs::read_symlink("/proc/self/exe", unseen);
  const fs::path its = fs::read_symlink("/proc/" + std::to_string(process.pid) + "/exe", gone);
  return !unseen && !gone && own == its;
}

}  // namespace

void KillMarked(const std::vector<std::string>& words) {
  for (int round = 0; round < 20; ++round) {
    bool any = false;
    for (const ProcStat& process : AllProcesses()) {
      if (!process.alive() || process.pid == getpid()) continue;
      if (!IsMarked(process.pid, words)) continue;
      kill(process.pid, SIGKILL);
      any = true;
    }
    if (!any) return;
    poll(nullptr, 0, 1);
  }
}

Result<std::unique_ptr<Process>> Process::Start(const Launch& launch) {
  MUSTER_TRY(const std::string program, ProgramOf(launch));
  // A program that closes all descriptors it doesn't know has let go of the lock: its record still tells.
  if (const std::optional<ProcStat> living = Living(ReadRecord(launch.record_path))) {
    return Error::Conflict("already-running", "{} is already running as pid {}", launch.instance,
                           living->pid);
  }
  InstanceCgroup cgroup = InstanceCgroup::Of(launch);
  cgroup.Prepare(launch.limits);
  MemoryCounts memory = cgroup.memory_counts();  // the group may be left of an earlier life
  Result<Spawned> spawned = Spawn(launch, program, cgroup);
  if (!spawned.ok() && spawned.error().code() == kCgroupGone) {
    // Whoever cleaned up is done by now.
    cgroup = InstanceCgroup::Of(launch);
    cgroup.Prepare(launch.limits);
    memory = cgroup.memory_counts();
    spawned = Spawn(launch, program, cgroup);
  }
  if (!spawned.ok()) {
    // Where it already runs, the group is that one's; it may be just about to enter it.
    if (spawned.error().code() != "already-running") cgroup.Remove();
    return std::move(spawned).error();
  }
  ProcStat stat{.pid = spawned->pid, .session = spawned->pid};
  // A child that is not yet reaped keeps its entry, so this finds it even where it has ended already.
  if (const std::optional<ProcStat> read = ReadStat(spawned->pid)) stat.start = read->start;
  return std::unique_ptr<Process>(std::make_unique<LocalProcess>(
      stat, stat, std::move(spawned->pidfd), launch.hash, launch.lock_path, std::move(cgroup), memory));
}

Result<std::unique_ptr<Process>> Process::TakeOver(const Launch& launch, int pid) {
  const Error gone =
      Error::Conflict("not-running", "pid {}, which {} was to take over, has ended", pid, launch.instance);
  const std::optional<ProcStat> stat = ReadStat(pid);
  if (!stat || !stat->alive()) return gone;
  MUSTER_TRY(std::unique_ptr<Process> process, AdoptPid(*stat, OfOwnSession(*stat), launch.hash, launch));
  if (!process) return gone;
  const std::string record =
      fmt::format("{} {} {} {}\n", pid, stat->start, launch.hash.empty() ? "-" : launch.hash, BootId());
  MUSTER_DO(WriteFile(launch.record_path, record, {.mode = 0600}));
  return process;
}

Result<std::unique_ptr<Process>> Process::Adopt(const Launch& launch) {
  // A child whose agent was killed right after the fork writes its record after it has taken the lock and
  // before it comes to its program: so long it is worth waiting to learn what it was started from. That takes
  // milliseconds, and on a machine that is busy enough a second.
  constexpr int kMost = 20, kMostBeforeExec = 400;  // times 5 ms
  for (int attempt = 0;; ++attempt) {
    const std::optional<Record> record = ReadRecord(launch.record_path);
    if (const std::optional<ProcStat> living = Living(record))
      return AdoptPid(*living, OfOwnSession(*living), record->hash, launch);
    const ProcStat dead =
        record ? ProcStat{.pid = record->pid, .session = record->pid, .start = record->start} : ProcStat{};
    if (!IsLocked(launch.lock_path)) {
      const auto leftover = record ? LeftoverOf(*record, launch) : std::nullopt;
      return leftover ? AdoptPid(*leftover, dead, record->hash, launch) : std::unique_ptr<Process>();
    }
    const std::vector<ProcStat> holders = HoldersOf(launch.lock_path);
    if (holders.empty()) {
      if (attempt < kMost) {  // On its way out, or just forked.
        poll(nullptr, 0, 5);
        continue;
      }
      return Error::Conflict("already-running", "something holds {}, but muster may not see what",
                             launch.lock_path)
          .Hint("run muster as the user who started {}", launch.instance);
    }
    // A leftover of the recorded process is in its session; its hash is what it was started from.
    for (const ProcStat& holder : holders) {
      if (record && holder.session == record->pid && holder.start >= record->start) {
        return AdoptPid(holder, dead, record->hash, launch);
      }
    }
    const bool will_tell = std::any_of(holders.begin(), holders.end(), BeforeExec);
    if (attempt < (will_tell ? kMostBeforeExec : kMost)) {
      poll(nullptr, 0, 5);
      continue;
    }
    // No record of it was ever written. It leads a session of its own; what doesn't is some child.
    for (const ProcStat& holder : holders) {
      if (holder.pid == holder.session) return AdoptPid(holder, holder, "", launch);
    }
    return AdoptPid(holders[0], {.session = holders[0].session, .start = holders[0].start}, "", launch);
  }
}

}  // namespace muster::runtime
