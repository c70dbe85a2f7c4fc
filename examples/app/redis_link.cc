#include "redis_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace example {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerMost{500};
constexpr size_t kLineMost = 64 * 1024;

std::string Encode(const std::vector<std::string>& command) {
  std::string text = "*" + std::to_string(command.size()) + "\r\n";
  for (const std::string& word : command) text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return text;
}

}  // namespace

void RedisLink::Send(const std::vector<std::string>& command, Got got) {
  if (fd_ < 0) Connect();
  Queue(command, std::move(got));
  if (connected_) Flush();
}

void RedisLink::Connect() {
  const size_t colon = node_.rfind(':');
  std::string error = "it has no port";
  if (colon != std::string::npos) {
    fd_ = ConnectTo(node_.substr(0, colon), std::atoi(node_.c_str() + colon + 1), error);
  }
  if (fd_ < 0) {
    // Not at once: whoever sends isn't called back meanwhile.
    loop_.After(milliseconds(0), [this, error] {
      if (fd_ < 0) End("-LOST " + error);
    });
    return;
  }
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  loop_.Watch(fd_, EPOLLIN | EPOLLOUT, [this](uint32_t events) { OnEvents(events); });
  if (password_.empty()) return;
  Queue({"AUTH", password_}, [this](std::string_view line) {
    if (line.substr(0, 1) == "-" && fd_ >= 0) End(std::string(line));
  });
}

void RedisLink::Queue(const std::vector<std::string>& command, Got got) {
  output_ += Encode(command);
  const uint64_t serial = ++serial_;
  waiting_.push_back({serial, std::move(got)});
  loop_.After(kAnswerMost, [this, serial] {
    if (!waiting_.empty() && waiting_.front().serial <= serial)
      End("-LOST no answer from " + node_ + " in time");
  });
}

void RedisLink::OnEvents(uint32_t events) {
  if (!connected_) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return End("-LOST " + node_ + ": " + std::strerror(error));
    connected_ = true;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) return Read();
  Flush();
}

void RedisLink::Flush() {
  while (!output_.empty()) {
    const ssize_t sent = send(fd_, output_.data(), output_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) break;  // Room comes, or an end that reading tells of.
    output_.erase(0, static_cast<size_t>(sent));
  }
  loop_.Change(fd_, output_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void RedisLink::Read() {
  char buffer[4096];
  const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Flush();
  if (got <= 0)
    return End("-LOST " + node_ + (got == 0 ? " closed" : std::string(": ") + std::strerror(errno)));
  input_.append(buffer, static_cast<size_t>(got));
  const uint64_t ends = ends_;  // What it is told may end it, and begin it anew.
  size_t end = 0;
  while (ends_ == ends && (end = input_.find("\r\n")) != std::string::npos) {
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 2);
    if (waiting_.empty() || line.empty() || std::strchr("+-:", line[0]) == nullptr) {
      return End("-LOST " + node_ + " says what nobody asked");
    }
    const Got done = std::move(waiting_.front().got);
    waiting_.pop_front();
    done(line);
  }
  if (ends_ != ends) return;
  if (input_.size() > kLineMost) return End("-LOST " + node_ + " says what nobody asked");
  Flush();
}

void RedisLink::End(std::string line) {
  if (fd_ >= 0) {
    loop_.Forget(fd_);
    close(fd_);
  }
  fd_ = -1;
  ++ends_;
  connected_ = false;
  output_.clear();
  input_.clear();
  // Those may send again: what they send waits anew.
  for (const Sent& sent : std::exchange(waiting_, {})) sent.got(line);
}

}  // namespace example
