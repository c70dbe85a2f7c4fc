#include "server/events.h"

#include <algorithm>

#include "net/http.h"

namespace muster::server {
namespace {

constexpr size_t kQueueMaxBytes = 16u << 20;
constexpr size_t kRunsRemembered = 8;

void PushTo(std::vector<std::weak_ptr<EventQueue>>& queues, const std::string& text) {
  std::erase_if(queues, [&](const std::weak_ptr<EventQueue>& weak) {
    const auto queue = weak.lock();
    if (queue) queue->Push(text);
    return !queue;
  });
}

}  // namespace

void EventQueue::Push(std::string text) {
  if (closed_ || overflown_) return;
  if (text_.size() + text.size() > kQueueMaxBytes) {
    overflown_ = closed_ = true;
    text_ = {};
  } else {
    text_ += text;
  }
  Wake();
}

void EventQueue::Close() {
  closed_ = true;
  Wake();
}

void EventQueue::Wake() {
  if (auto waiting = std::exchange(waiting_, std::nullopt)) waiting->Set(true);
}

net::Task<std::optional<std::string>> EventQueue::Next(std::shared_ptr<EventQueue> queue) {
  if (std::exchange(queue->given_, false) && queue->on_taken) {
    const auto taken = queue->on_taken;  // which may end the queue
    taken();
  }
  if (queue->text_.empty() && !queue->closed_) {
    const net::Promised<bool> more;
    queue->waiting_ = more;
    co_await more;
  }
  if (queue->text_.empty() || queue->overflown_) co_return std::nullopt;
  queue->given_ = true;
  co_return std::exchange(queue->text_, "");
}

Events::History* Events::Active(const std::string& cluster) {
  for (History& run : runs_) {
    if (run.cluster == cluster && !run.ended) return &run;
  }
  return nullptr;
}

void Events::BeginRun(const std::string& cluster, const std::string& run) {
  while (runs_.size() >= kRunsRemembered) {
    const auto oldest =
        std::find_if(runs_.begin(), runs_.end(), [](const History& one) { return one.ended; });
    if (oldest == runs_.end()) break;
    runs_.erase(oldest);
  }
  runs_.push_back({.cluster = cluster, .run = run, .texts = {}, .ended = false, .queues = {}});
}

void Events::Publish(const std::string& cluster, const std::string& name, const std::string& data) {
  const std::string text = net::FormatSse(name, data);
  if (History* run = Active(cluster)) {
    run->texts.push_back(text);
    PushTo(run->queues, text);
  }
  if (const auto found = queues_.find(cluster); found != queues_.end()) PushTo(found->second, text);
}

void Events::EndRun(const std::string& cluster, const std::string& run_id, const std::string& data) {
  Publish(cluster, "finished", data);
  for (History& run : runs_) {
    if (run.run != run_id) continue;
    run.ended = true;
    for (const auto& weak : run.queues) {
      if (const auto queue = weak.lock()) queue->Close();
    }
    run.queues.clear();
  }
}

void Events::ListenCluster(const std::string& cluster, std::shared_ptr<EventQueue> queue) {
  queues_[cluster].push_back(queue);
}

bool Events::ListenRun(const std::string& run_id, std::shared_ptr<EventQueue> queue) {
  for (History& run : runs_) {
    if (run.run != run_id) continue;
    for (const std::string& text : run.texts) queue->Push(text);
    if (run.ended) {
      queue->Close();
    } else {
      run.queues.push_back(queue);
    }
    return true;
  }
  return false;
}

}  // namespace muster::server
