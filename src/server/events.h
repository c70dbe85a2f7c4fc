// What happens, handed to whoever listens: the server's end of server-sent events. Loop thread only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/task.h"

namespace muster::server {

// Texts on their way to one listener. One that doesn't take them is dropped at 16 MiB.
class EventQueue {
 public:
  void Push(std::string text);
  void Close();  // after what is queued
  // Back-pressure, for whoever can wait: not to push while it is `full`, and to go on when `on_taken` is
  // called, which is each time the listener has taken what Next gave it.
  bool full() const { return text_.size() >= kFullBytes; }
  std::function<void()> on_taken;
  bool overflown() const { return overflown_; }
  // All that is there, waiting for something; nullopt at the end.
  static net::Task<std::optional<std::string>> Next(std::shared_ptr<EventQueue> queue);

 private:
  static constexpr size_t kFullBytes = 256u << 10;
  std::string text_;
  bool given_ = false;  // Next gave something that the listener hasn't come back from yet
  bool closed_ = false;
  bool overflown_ = false;
  std::optional<net::Promised<bool>> waiting_;
  void Wake();
};

// All listeners, and the events of runs from their start, so that one who comes late misses nothing.
class Events {
 public:
  void BeginRun(const std::string& cluster, const std::string& run);
  void Publish(const std::string& cluster, const std::string& name, const std::string& data);
  // The last event of a run; its listeners' queues are closed.
  void EndRun(const std::string& cluster, const std::string& run, const std::string& data);

  // Events of the cluster from now on.
  void ListenCluster(const std::string& cluster, std::shared_ptr<EventQueue> queue);
  // Events of the run from its start; false where it isn't remembered (any more).
  bool ListenRun(const std::string& run, std::shared_ptr<EventQueue> queue);

 private:
  struct History {
    std::string cluster;
    std::string run;
    std::vector<std::string> texts;
    bool ended = false;
    std::vector<std::weak_ptr<EventQueue>> queues;
  };
  std::deque<History> runs_;                                              // oldest first
  std::map<std::string, std::vector<std::weak_ptr<EventQueue>>> queues_;  // by cluster
  History* Active(const std::string& cluster);
};

}  // namespace muster::server
