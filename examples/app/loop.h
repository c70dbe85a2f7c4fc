// One epoll set and timers; all of the program runs on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace example {

class Loop {
 public:
  using Clock = std::chrono::steady_clock;
  using Ready = std::function<void(uint32_t events)>;

  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void Watch(int fd, uint32_t events, Ready ready);
  void Change(int fd, uint32_t events);
  void Forget(int fd);  // before it is closed
  void After(std::chrono::milliseconds delay, std::function<void()> act);
  // Runs until Stop; gives its status.
  int Run();
  void Stop(int status);

 private:
  int epoll_;
  std::unordered_map<int, std::shared_ptr<Ready>> ready_;
  std::multimap<Clock::time_point, std::function<void()>> timers_;
  bool stopped_ = false;
  int status_ = 0;
};

// A line on standard output, at once.
void Log(std::string_view line);

// Non-blocking TCP sockets. -1 with `error` set where it can't be done.
int ListenOn(const std::string& address, int port, std::string& error);
int ConnectTo(const std::string& address, int port, std::string& error);  // writable when it is decided
int PortOf(int fd);

}  // namespace example
