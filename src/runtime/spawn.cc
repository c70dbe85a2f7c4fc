#include "runtime/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

#include "base/children.h"
#include "base/fault.h"
#include "base/file_error.h"
#include "base/moment.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "runtime/proc.h"

namespace muster::runtime {
namespace {

constexpr Duration kReportWithin = 5s;

enum class Stage : int { kStreams, kLock, kLocked, kRecord, kCgroup, kUser, kLog, kFolder, kExec };

struct Failure {
  Stage stage;
  int error_number;
};

// All that the child needs, as plain pointers and numbers.
struct Orders {
  const char* program;
  char* const* argv;
  char* const* envp;
  const char* working_folder;
  const char* log_path;
  const char* lock_path;
  const char* record_path;
  const char* record_temporary;
  const char* record_rest;  // " hash boot\n"
  const int* joins;
  size_t join_count;
  bool change_user;
  bool lead_groups;  // may call setgroups
  uid_t uid;
  gid_t gid;
  const gid_t* groups;
  size_t group_count;
  bool bind_low_ports;
  rlim_t open_files;
  int null_fd;
  int report_fd;
};

[[noreturn]] void Fail(const Orders& orders, Stage stage) {
  const Failure failure{stage, errno};
  const ssize_t written = write(orders.report_fd, &failure, sizeof failure);
  _exit(written == sizeof failure ? 126 : 125);
}

void Pause(int ms) {
  const timespec pause{0, ms * 1'000'000};
  nanosleep(&pause, nullptr);
}

size_t PutNumber(char* to, uint64_t number) {
  char digits[20];
  size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  for (size_t i = 0; i < count; ++i) to[i] = digits[count - 1 - i];
  return count;
}

// Field 22 of /proc/self/stat, copied digit by digit. 0 where /proc can't be read.
uint64_t OwnStart() {
  char text[1024];
  const int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return 0;
  ssize_t at = got - 1;
  while (at > 0 && text[at] != ')') --at;
  for (int field = 2; field < 22 && at < got; ++at) {
    if (text[at] == ' ') ++field;
  }
  uint64_t start = 0;
  for (; at < got && text[at] >= '0' && text[at] <= '9'; ++at) start = start * 10 + (text[at] - '0');
  return start;
}

void WriteRecord(const Orders& orders) {
  char text[512];
  size_t size = PutNumber(text, static_cast<uint64_t>(getpid()));
  text[size++] = ' ';
  size += PutNumber(text + size, OwnStart());
  for (const char* rest = orders.record_rest; *rest && size < sizeof text; ++rest) text[size++] = *rest;
  const int fd = open(orders.record_temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) Fail(orders, Stage::kRecord);
  if (write(fd, text, size) != static_cast<ssize_t>(size) ||
      rename(orders.record_temporary, orders.record_path) != 0) {
    const int error_number = errno;
    unlink(orders.record_temporary);
    errno = error_number;
    Fail(orders, Stage::kRecord);
  }
  close(fd);
}

// CAP_NET_BIND_SERVICE survives both the change of user and the exec.
bool KeepLowPorts() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  const uint32_t bit = 1u << CAP_NET_BIND_SERVICE;
  data[0].permitted = data[0].effective = data[0].inheritable = bit;
  return syscall(SYS_capset, &header, data) == 0 &&
         prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0;
}

void ChangeUser(const Orders& orders) {
  if (!orders.change_user) return;
  if (orders.lead_groups && setgroups(orders.group_count, orders.groups) != 0) Fail(orders, Stage::kUser);
  if (orders.gid != static_cast<gid_t>(-1) && setresgid(orders.gid, orders.gid, orders.gid) != 0) {
    Fail(orders, Stage::kUser);
  }
  if (orders.uid == static_cast<uid_t>(-1)) return;
  const bool keep = orders.bind_low_ports && orders.lead_groups && orders.uid != 0;
  if (keep && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) Fail(orders, Stage::kUser);
  if (setresuid(orders.uid, orders.uid, orders.uid) != 0) Fail(orders, Stage::kUser);
  if (keep && !KeepLowPorts()) Fail(orders, Stage::kUser);
}

void SetOpenFiles(rlim_t wanted) {
  if (wanted == 0) return;
  rlimit limit{wanted, wanted};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  // Without CAP_SYS_RESOURCE: as much as there is.
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

[[noreturn]] void BecomeInstance(const Orders& orders) {
  setsid();
  // The signals were blocked before the fork, so that none runs a handler of the agent in here.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // Descriptors that some library opened without O_CLOEXEC. Old kernels refuse; ours all have it anyway.
  syscall(SYS_close_range, 3u, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */);

  // Opened here, so that the agent never shares the lock, and without O_CLOEXEC: held for life.
  int lock = open(orders.lock_path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (lock >= 0 && lock < 3) {
    const int higher = fcntl(lock, F_DUPFD, 3);
    close(lock);
    lock = higher;
  }
  if (lock < 0) Fail(orders, Stage::kLock);
  // Whoever looks whether something runs holds the lock for a moment, too: hence more than one try.
  for (int attempt = 0; flock(lock, LOCK_EX | LOCK_NB) != 0; ++attempt) {
    if (errno != EWOULDBLOCK) Fail(orders, Stage::kLock);
    if (attempt == 5) Fail(orders, Stage::kLocked);
    Pause(1);
  }
  WriteRecord(orders);
  for (size_t i = 0; i < orders.join_count; ++i) {
    if (write(orders.joins[i], "0", 1) != 1) Fail(orders, Stage::kCgroup);
  }
  SetOpenFiles(orders.open_files);
  ChangeUser(orders);
  umask(022);
  // As the instance's user, since the folder is its own: root must not follow what it may have put there.
  // Without waiting for whoever reads a pipe that it has put there: the agent waits for us.
  const int log = open(orders.log_path,
                       O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640);
  struct stat file {};
  if (log >= 0 && fstat(log, &file) == 0 && !S_ISREG(file.st_mode)) {
    errno = ENXIO;
    Fail(orders, Stage::kLog);
  }
  if (log < 0 || fcntl(log, F_SETFL, O_APPEND) != 0) Fail(orders, Stage::kLog);
  if (dup2(orders.null_fd, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) Fail(orders, Stage::kStreams);
  if (chdir(orders.working_folder) != 0) Fail(orders, Stage::kFolder);
  MUSTER_FAULT("runtime.before-exec");
  for (int attempt = 0;; ++attempt) {
    execve(orders.program, orders.argv, orders.envp);
    // Another thread's child may hold a just installed program open for writing until it execs itself.
    if (errno != ETXTBSY || attempt == 50) break;
    Pause(4);
  }
  Fail(orders, Stage::kExec);
}

std::vector<gid_t> GroupsOf(const Launch& launch) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  getpwuid_r(launch.uid, &entry, buffer.data(), buffer.size(), &found);
  const gid_t gid = launch.gid != static_cast<gid_t>(-1) ? launch.gid : found ? found->pw_gid : launch.uid;
  if (!found) return {gid};
  std::vector<gid_t> groups(64);
  int count = static_cast<int>(groups.size());
  if (getgrouplist(found->pw_name, gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<size_t>(count));
    getgrouplist(found->pw_name, gid, groups.data(), &count);
  }
  groups.resize(static_cast<size_t>(count));
  return groups;
}

std::string InterpreterOf(const std::string& program) {
  std::ifstream file(program);
  std::string line;
  if (!std::getline(file, line) || line.rfind("#!", 0) != 0) return "";
  const std::vector<std::string> words = Split(std::string(Trim(line.substr(2))), ' ');
  return words.empty() ? "" : words[0];
}

Error Explain(const Failure& failure, const Launch& launch, const std::string& program) {
  const int number = failure.error_number;
  const std::string as = launch.uid == static_cast<uid_t>(-1) ? "" : " as uid " + std::to_string(launch.uid);
  switch (failure.stage) {
    case Stage::kLocked:
      return Error::Conflict("already-running", "{} is already running", launch.instance)
          .Hint("something of it still holds {}", launch.lock_path);
    case Stage::kExec:
      if (number == ENOENT) {
        const std::string interpreter = InterpreterOf(program);
        const std::string missing = interpreter.empty() ? "its loader" : interpreter;
        Error error =
            Error::NotFound("program-missing", "{} needs {}, which is not installed", program, missing);
        const std::string package = PackageOf(missing);
        if (package.empty()) return error;
        return std::move(error).Hint("apt-get install {}", package);
      }
      if (number == EACCES || number == ENOEXEC || number == EPERM) {
        return Error::Invalid("not-executable", "{} can't be executed{}: {}", program, as,
                              std::strerror(number))
            .Hint(
                "it needs a #! line or to be a program for this machine, and execute permission for its "
                "user");
      }
      return Error::Os("execute " + program, number);
    case Stage::kLock:
      return FileError(launch.lock_path, number, "lock");
    case Stage::kRecord:
      return FileError(launch.record_path, number, "write");
    case Stage::kCgroup:
      if (number == ENODEV) {
        return Error::Unavailable(kCgroupGone, "the cgroup of {} was taken away while it started",
                                  launch.instance);
      }
      return Error::Os("enter the cgroup of " + launch.instance, number);
    case Stage::kUser:
      return Error::Os("become uid " + std::to_string(launch.uid), number);
    case Stage::kLog:
      if (number == ENXIO) {
        return Error::Invalid("os-error", "{} is not a file that can be written to", launch.log_path)
            .Hint("{} or somebody has put something else there: remove that", launch.instance);
      }
      return FileError(launch.log_path + as, number, "open");
    case Stage::kFolder:
      return Error::Os(
          fmt::format("{} can't enter its working_folder {}{}", launch.instance, launch.working_folder, as),
          number);
    case Stage::kStreams:
      break;
  }
  return Error::Os("redirect the output of " + launch.instance, number);
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<Spawned> Spawn(const Launch& launch, const std::string& program, const InstanceCgroup& cgroup) {
  std::vector<std::string> argv = launch.argv;
  std::vector<std::string> environment;
  for (const auto& [name, value] : launch.env) environment.push_back(name + "=" + value);
  const std::vector<char*> argv_pointers = Pointers(argv);
  const std::vector<char*> environment_pointers = Pointers(environment);
  const std::string record_temporary = launch.record_path + ".new";
  const std::string record_rest = " " + (launch.hash.empty() ? "-" : launch.hash) + " " + BootId() + "\n";
  const std::string working_folder = launch.working_folder.empty() ? "/" : launch.working_folder;
  const std::vector<Fd> join_fds = cgroup.OpenForJoining();
  std::vector<int> joins;
  for (const Fd& fd : join_fds) joins.push_back(fd.get());
  const bool change_user = (launch.uid != static_cast<uid_t>(-1) && launch.uid != geteuid()) ||
                           (launch.gid != static_cast<gid_t>(-1) && launch.gid != getegid());
  std::vector<gid_t> groups;
  if (change_user && geteuid() == 0) groups = GroupsOf(launch);
  const Fd null_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  int pipe_fds[2];
  if (!null_fd.valid() || pipe2(pipe_fds, O_CLOEXEC) != 0)
    return Error::Os("start " + launch.instance, errno);
  const Fd report(pipe_fds[0]);
  Fd report_write(pipe_fds[1]);
  const gid_t gid = launch.gid == static_cast<gid_t>(-1) && !groups.empty() ? groups[0] : launch.gid;
  const Orders orders{program.c_str(),
                      argv_pointers.data(),
                      environment_pointers.data(),
                      working_folder.c_str(),
                      launch.log_path.c_str(),
                      launch.lock_path.c_str(),
                      launch.record_path.c_str(),
                      record_temporary.c_str(),
                      record_rest.c_str(),
                      joins.data(),
                      joins.size(),
                      change_user,
                      geteuid() == 0,
                      launch.uid,
                      gid,
                      groups.data(),
                      groups.size(),
                      launch.bind_low_ports,
                      static_cast<rlim_t>(launch.limits.open_files),
                      null_fd.get(),
                      report_write.get()};

  MUSTER_FAULT("runtime.before-fork");
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ForkAwaited();
  if (pid == 0) BecomeInstance(orders);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return Error::Os("fork", fork_error);
  MUSTER_FAULT("runtime.after-fork");

  report_write.Reset();
  Spawned spawned{pid, Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)))};
  const int pidfd_error = errno;
  Failure failure{};
  ssize_t got = -1;
  const Time end = Now() + kReportWithin;
  for (bool ready = false; !ready;) {
    const auto left = static_cast<int>(std::max<int64_t>(0, (end - Now()).count()));
    pollfd polled{report.get(), POLLIN, 0};
    ready = poll(&polled, 1, left) > 0;
    if (!ready && left == 0) {
      // A disk that doesn't answer, or a server of files that is away: all else that the agent has must go
      // on.
      kill(pid, SIGKILL);
      GiveUpChild(pid);
      return Error::Timeout("timeout", "{} could not be started within {}", launch.instance,
                            FormatDuration(kReportWithin))
          .Hint("does the disk with {} answer?", working_folder);
    }
  }
  do {
    got = read(report.get(), &failure, sizeof failure);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof failure) {
    AwaitChild(pid, nullptr);
    return Explain(failure, launch, program);
  }
  if (!spawned.pidfd.valid()) {
    kill(pid, SIGKILL);
    AwaitChild(pid, nullptr);
    return Error::Os("pidfd_open", pidfd_error);
  }
  return spawned;
}

}  // namespace muster::runtime
