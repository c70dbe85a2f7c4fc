// The program of the examples: a web server that can be slow, sick, late or stubborn on request.
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>

#include "digests.h"
#include "loop.h"
#include "options.h"
#include "pages.h"
#include "seeds.h"
#include "server.h"
#include "visits.h"

namespace example {
namespace {

// Statuses as a shell's: 2 for what can't be right, 3 for --fail-start, 1 for the rest.
int Fail(int status, const std::string& why) {
  const std::string line = "example-app: " + why + "\n";
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return status;
  return status;
}

bool ReadConfig(const std::string& path, std::string& digest) {
  if (path.empty()) return true;
  FILE* file = std::fopen(path.c_str(), "rbe");
  if (!file) return false;
  std::string bytes;
  char buffer[4096];
  size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof buffer, file)) > 0) bytes.append(buffer, got);
  const bool whole = !std::ferror(file);
  std::fclose(file);
  if (whole) digest = Sha256Hex(bytes);
  return whole;
}

int Main(int argc, char** argv) {
  std::string error;
  const auto options = ReadOptions(argc, argv, error);
  if (!options) return error.empty() ? 0 : Fail(2, error);

  Loop loop;
  Seeds seeds(loop, *options);
  Visits visits(loop, *options);
  Pages pages(*options, seeds, visits);
  if (!ReadConfig(options->config, pages.config_digest)) {
    return Fail(2, "the config file " + options->config + " can't be read");
  }
  if (options->fail_start) {
    Log("told to fail at the start");
    return Fail(3, "told to fail at the start");
  }

  // Blocked first, so that a signal in the middle of the start isn't the end of it.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);

  Server server(loop, *options, pages, visits);
  if (!server.Listen(error) || !seeds.Start(error)) return Fail(1, error);
  const std::string where = options->address + ":" + std::to_string(pages.port) + " as " + options->id;
  Log("listening on " + where + ", version " + options->version);

  loop.Watch(signal_fd, EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info{};
    while (read(signal_fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGHUP) {
        const bool read_again = ReadConfig(options->config, pages.config_digest);
        Log(read_again ? "config read again" : "the config file can't be read; the old one stays");
      } else if (pages.stopping) {
        _exit(128 + static_cast<int>(info.ssi_signo));  // Asked twice: at once.
      } else {
        Log("stopping");
        server.BeginStop();
      }
    }
  });
  const auto ready = [&] {
    pages.starting = false;
    Log("ready on " + where);
  };
  if (options->never_ready) {
    Log("never ready, as told");
  } else if (options->start_delay.count() > 0) {
    loop.After(options->start_delay, ready);
  } else {
    ready();
  }
  return loop.Run();
}

}  // namespace
}  // namespace example

int main(int argc, char** argv) { return example::Main(argc, argv); }
