#include "cli/input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"

namespace muster::cli {

// Shared with the thread that reads: files and some terminals can't be watched, so one waits in poll(2).
struct InputReader::State {
  int fd = -1;
  Fd stopped;  // readable (its other end is closed) once nobody wants more
  Fd stop;

  std::string Read(size_t most) const {
    pollfd ready[] = {{fd, POLLIN, 0}, {stopped.get(), POLLIN, 0}};
    while (poll(ready, 2, -1) < 0) {
      if (errno != EINTR) return "";
    }
    if (ready[1].revents != 0) return "";
    std::string bytes(most, '\0');
    ssize_t got = 0;
    do {
      got = read(fd, bytes.data(), bytes.size());
    } while (got < 0 && errno == EINTR);
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
  }
};

InputReader::InputReader(net::Loop& loop, int fd) : loop_(loop), state_(std::make_shared<State>()) {
  state_->fd = fd;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;  // then it can't be stopped, only read
  state_->stopped = Fd(ends[0]);
  state_->stop = Fd(ends[1]);
}

InputReader::~InputReader() { Stop(); }

void InputReader::Stop() { state_->stop.Reset(); }

net::Task<std::string> InputReader::Next(size_t most) {
  std::function<std::string()> work = [state = state_, most] { return state->Read(most); };
  co_return co_await loop_.Blocking(std::move(work));
}

}  // namespace muster::cli
