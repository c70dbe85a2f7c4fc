#include "seeds.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace example {
namespace {

constexpr Milliseconds kAgainAfter{500};

}  // namespace

bool Seeds::Start(std::string& error) {
  if (options_.cluster_port != 0) {
    listener_ = ListenOn(options_.address, options_.cluster_port, error);
    if (listener_ < 0) return false;
    loop_.Watch(listener_, EPOLLIN, [this](uint32_t) { AnswerAll(); });
    Log("cluster port " + std::to_string(options_.cluster_port));
  }
  for (const std::string& seed : options_.seeds) {
    answers_[seed];
    Ask(seed);
  }
  return true;
}

void Seeds::AnswerAll() {
  const std::string line = options_.id + "\n";
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    // So short a line always fits into a new socket's buffer.
    if (send(fd, line.data(), line.size(), MSG_NOSIGNAL) < 0) Log("a neighbour left before its answer");
    close(fd);
  }
}

void Seeds::Ask(const std::string& seed) {
  const size_t colon = seed.rfind(':');
  if (colon == std::string::npos) return Again(seed, "it has no port");
  std::string error;
  const int fd = ConnectTo(seed.substr(0, colon), std::atoi(seed.c_str() + colon + 1), error);
  if (fd < 0) return Again(seed, error);
  loop_.Watch(fd, EPOLLIN, [this, fd, seed](uint32_t) {
    char buffer[256];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const std::string why = got < 0 ? std::strerror(errno) : "it closed without a word";
    loop_.Forget(fd);
    close(fd);
    if (got <= 0) return Again(seed, why);
    const std::string_view text(buffer, static_cast<size_t>(got));
    answers_[seed] = text.substr(0, text.find('\n'));
    Log("seed " + seed + " answers: " + answers_[seed]);
  });
}

void Seeds::Again(const std::string& seed, const std::string& why) {
  if (!std::exchange(complained_[seed], true)) {
    Log("seed " + seed + " doesn't answer (" + why + "); asking again every 500ms");
  }
  loop_.After(kAgainAfter, [this, seed] { Ask(seed); });
}

}  // namespace example
