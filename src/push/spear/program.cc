#include "push/spear/program.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "push/spear/log.h"
#include "push/spear/node.h"

extern char** environ;

namespace muster::push {
namespace {

constexpr std::string_view kUsage = R"(muster-push: long connections for many clients

  muster-push spear --config FILE [--profile NAME] [--check]
      Serves Socket.IO. --check reads the configuration, says all that is wrong with it, and ends.
  muster-push settings
      All settings with their defaults, as a configuration file. Each can be overridden by the environment:
      heartbeat.interval by MUSTER_PUSH_HEARTBEAT_INTERVAL, and so on; the profile by MUSTER_PUSH_PROFILE.
  muster-push version

Signals: TERM or INT drains and ends, a second one ends at once; HUP reads certificate and key anew.
)";

struct Arguments {
  std::string config, profile;
  bool check = false;
};

int Misused(std::string_view why) {
  fmt::print(stderr, "muster-push: {}\n\n{}", why, kUsage);
  return 2;
}

Environment ReadEnvironment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos && text.substr(0, 12) == "MUSTER_PUSH_") {
      environment[std::string(text.substr(0, equals))] = text.substr(equals + 1);
    }
  }
  return environment;
}

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// What tells a file from the one that was there before; all 0 where there is none.
struct Stamp {
  int64_t changed = 0, size = 0;
  uint64_t device = 0, inode = 0;
  bool operator==(const Stamp&) const = default;
};

Stamp StampOf(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};
  return {.changed = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
          .size = status.st_size,
          .device = status.st_dev,
          .inode = status.st_ino};
}

// One beside the other: whatever joins them to one number is the same for some changes of both.
std::pair<Stamp, Stamp> StampsOf(const Settings& settings) {
  return {StampOf(settings.tls_certificate), StampOf(settings.tls_key)};
}

void Reload(Node& node) {
  const Status reloaded = node.ReloadTls();
  if (reloaded.ok()) {
    Log(LogLevel::kInfo, "certificate reloaded");
  } else {
    Log(LogLevel::kError, "certificate not reloaded, the old one stays", {{"why", reloaded.error().Text()}});
  }
}

// Until the node has ended: by itself after a drain, or told to.
// `seen` is what certificate and key were before the node read them.
void ObeySignals(Node& node, const sigset_t& signals, std::pair<Stamp, Stamp> seen) {
  const Settings& settings = node.settings();
  while (!node.Ended()) {
    const timespec wait{.tv_sec = 0, .tv_nsec = node.draining() ? 50'000'000 : 500'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    LogLeftOut();  // here, as a loop with nothing to do sleeps on
    if (signal == SIGTERM || signal == SIGINT) {
      if (node.draining()) {
        Log(LogLevel::kInfo, "drain cut short", {{"by", "signal"}});
        node.StopNow();
        return;
      }
      node.Drain("signal");
    }
    const auto now = StampsOf(settings);
    const bool touched = !settings.tls_certificate.empty() && now != seen;
    if (signal == SIGHUP || touched) {
      seen = now;
      Reload(node);
    }
  }
}

int RunSpear(const Arguments& arguments) {
  Environment environment = ReadEnvironment();
  std::string text;
  if (!arguments.config.empty()) {
    auto read = ReadFile(arguments.config);
    if (!read.ok()) {
      fmt::print(stderr, "error: {}\n", read.error().Text());
      return 2;
    }
    text = std::move(*read);
  }
  const std::string profile =
      !arguments.profile.empty() ? arguments.profile : environment["MUSTER_PUSH_PROFILE"];
  Loaded loaded =
      ReadSettings(arguments.config.empty() ? "defaults" : arguments.config, text, profile, environment);
  CompleteSettings(loaded);
  for (const Problem& problem : loaded.problems) {
    fmt::print(stderr, "{}: error: {}\n", problem.where, problem.error.Text());
  }
  if (!loaded.problems.empty()) return 2;
  const std::string left_out = Join(loaded.left_out, ", ");
  if (arguments.check) {
    if (!left_out.empty()) {
      fmt::print("left out, as Kubernetes or Docker set them for a service of this name: {}\n", left_out);
    }
    TlsContext tls;
    const Settings& settings = loaded.settings;
    if (!settings.tls_certificate.empty()) {
      if (const Status status = tls.Load(settings.tls_certificate, settings.tls_key); !status.ok()) {
        fmt::print(stderr, "tls: error: {}\n", status.error().Text());
        return 2;
      }
    }
    fmt::print("{} is good\n", arguments.config.empty() ? "the configuration" : arguments.config);
    return 0;
  }
  SetLog(loaded.settings.log_level, loaded.settings.log_format == "json");
  if (!left_out.empty()) Log(LogLevel::kInfo, "variables of a service left out", {{"names", left_out}});
  RaiseFileLimit();
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // before the threads, which inherit it
  const auto stamps = StampsOf(loaded.settings);
  Node node(std::move(loaded.settings));
  if (const Status started = node.Start(); !started.ok()) {
    fmt::print(stderr, "error: {}\n", started.error().Text());
    return 1;
  }
  ObeySignals(node, signals, stamps);
  node.Wait();
  LogLeftOut(true);
  Log(LogLevel::kInfo, "ended");
  return 0;
}

}  // namespace

int RunProgram(int argc, char** argv) {
  if (argc < 2) return Misused("which one?");
  const std::string_view command = argv[1];
  if (command == "--help" || command == "-h" || command == "help") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (command == "version" || command == "--version") {
    fmt::print("muster-push {}\n", MUSTER_VERSION);
    return 0;
  }
  if (command == "settings") {
    fmt::print("{}", DescribeSettings());
    return 0;
  }
  if (command != "spear") return Misused(fmt::format("there is no `{}`", command));
  Arguments arguments;
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--check") {
      arguments.check = true;
    } else if (word == "--help") {
      fmt::print("{}", kUsage);
      return 0;
    } else if ((word == "--config" || word == "--profile") && i + 1 < argc) {
      (word == "--config" ? arguments.config : arguments.profile) = argv[++i];
    } else {
      return Misused(fmt::format("what is `{}`?", word));
    }
  }
  return RunSpear(arguments);
}

}  // namespace muster::push
