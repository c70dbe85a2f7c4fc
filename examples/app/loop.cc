#include "loop.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace example {
namespace {

int SocketFor(const std::string& address, int port, int flags, std::string& error,
              const std::function<bool(int fd, const addrinfo& at)>& use) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) {
    error = address + ": " + gai_strerror(failed);
    return -1;
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && use(fd, *found)) return fd;
  error = address + ":" + std::to_string(port) + ": " + std::strerror(errno);
  if (fd >= 0) close(fd);
  return -1;
}

}  // namespace

Loop::Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
Loop::~Loop() { close(epoll_); }

void Loop::Watch(int fd, uint32_t events, Ready ready) {
  ready_[fd] = std::make_shared<Ready>(std::move(ready));
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void Loop::Change(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Loop::Forget(int fd) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  ready_.erase(fd);
}

void Loop::After(std::chrono::milliseconds delay, std::function<void()> act) {
  timers_.emplace(Clock::now() + delay, std::move(act));
}

int Loop::Run() {
  while (!stopped_) {
    int wait_ms = -1;
    if (!timers_.empty()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
      wait_ms = static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
    }
    epoll_event events[16];
    const int count = epoll_wait(epoll_, events, 16, wait_ms);
    if (count < 0 && errno != EINTR) return 1;
    for (int i = 0; i < count && !stopped_; ++i) {
      const auto found = ready_.find(events[i].data.fd);
      if (found == ready_.end()) continue;
      const std::shared_ptr<Ready> ready = found->second;  // It may forget itself.
      (*ready)(events[i].events);
    }
    while (!stopped_ && !timers_.empty() && timers_.begin()->first <= Clock::now()) {
      const auto act = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      act();
    }
  }
  return status_;
}

void Loop::Stop(int status) {
  stopped_ = true;
  status_ = status;
}

int ListenOn(const std::string& address, int port, std::string& error) {
  return SocketFor(address, port, AI_PASSIVE, error, [](int fd, const addrinfo& at) {
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, at.ai_addr, at.ai_addrlen) == 0 && listen(fd, 512) == 0;
  });
}

int ConnectTo(const std::string& address, int port, std::string& error) {
  return SocketFor(address, port, 0, error, [](int fd, const addrinfo& at) {
    return connect(fd, at.ai_addr, at.ai_addrlen) == 0 || errno == EINPROGRESS;
  });
}

int PortOf(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return 0;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(name).sin6_port
                                          : reinterpret_cast<sockaddr_in&>(name).sin_port);
}

void Log(std::string_view line) {
  std::string text(line);
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.push_back('\n');
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t written = write(STDOUT_FILENO, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;  // Nobody reads; a web program goes on.
    left.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace example
