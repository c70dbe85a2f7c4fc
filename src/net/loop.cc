#include "net/loop.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <csignal>
#include <map>

namespace muster::net {

namespace asio = boost::asio;

struct Loop::State {
  struct Watch {
    explicit Watch(asio::io_context& io) : descriptor(io) {}
    ~Watch() {
      if (descriptor.is_open()) descriptor.release();  // The fd is the caller's.
    }
    asio::posix::stream_descriptor descriptor;
    asio::posix::stream_descriptor::wait_type kind = asio::posix::stream_descriptor::wait_read;
    std::function<void()> act;
  };

  // The loop is being destroyed, and with it handlers whose variables let go of timers and watches.
  bool ending = false;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::map<TimerId, std::unique_ptr<asio::steady_timer>> timers;
  std::map<WatchId, std::shared_ptr<Watch>> watches;
  std::vector<std::unique_ptr<asio::signal_set>> signals;
  std::unique_ptr<asio::thread_pool> pool;  // Made at the first blocking call: threads cost memory.
  uint64_t next_id = 1;

  ~State() {
    if (pool) pool->join();
  }

  void Await(const std::shared_ptr<Watch>& watch) {
    watch->descriptor.async_wait(watch->kind,
                                 [this, weak = std::weak_ptr(watch)](boost::system::error_code error) {
                                   const auto alive = weak.lock();
                                   if (error || !alive) return;
                                   alive->act();
                                   if (alive->descriptor.is_open() && !weak.expired()) Await(alive);
                                 });
  }

  WatchId Add(int fd, asio::posix::stream_descriptor::wait_type kind, std::function<void()> act) {
    if (ending) return 0;
    const WatchId id = next_id++;
    auto watch = std::make_shared<Watch>(io);
    watch->descriptor.assign(fd);
    watch->kind = kind;
    watch->act = std::move(act);
    watches.emplace(id, watch);
    Await(watch);
    return id;
  }

  void Await(asio::signal_set& set, const std::shared_ptr<std::function<void()>>& act) {
    set.async_wait([this, &set, act](boost::system::error_code error, int) {
      if (error) return;
      (*act)();
      Await(set, act);
    });
  }
};

namespace {
thread_local int loops = 0;  // of this thread
}

Loop::Loop() : state_(std::make_unique<State>()) {
  ++loops;
  std::signal(SIGPIPE, SIG_IGN);
}

Loop::~Loop() {
  if (--loops == 0) EndTasks();
  state_->ending = true;
}

void Loop::EndTasks() {
  if (state_->pool) state_->pool->join();  // its work may use what belongs to a task
  while (internal::Roots::first()) internal::Roots::first()->Destroy();
}

void Loop::Run() {
  state_->io.restart();
  state_->io.run();
}

void Loop::Stop() { state_->io.stop(); }

void Loop::Post(std::function<void()> act) {
  if (!state_->ending) asio::post(state_->io, std::move(act));
}

Loop::TimerId Loop::After(Duration delay, std::function<void()> act) {
  if (state_->ending) return 0;
  const TimerId id = state_->next_id++;
  auto timer = std::make_unique<asio::steady_timer>(state_->io, delay);
  timer->async_wait([state = state_.get(), id, act = std::move(act)](boost::system::error_code error) {
    if (error) return;
    // Cancelled after it had expired, but before it was called.
    if (state->timers.erase(id) == 0) return;
    act();
  });
  state_->timers.emplace(id, std::move(timer));
  return id;
}

void Loop::Cancel(TimerId timer) {
  if (!state_->ending) state_->timers.erase(timer);
}

Task<void> Loop::Sleep(Duration delay) {
  const Promised<bool> over;
  After(delay, [over] { over.Set(true); });
  co_await over;
}

Loop::WatchId Loop::WatchReadable(int fd, std::function<void()> act) {
  return state_->Add(fd, asio::posix::stream_descriptor::wait_read, std::move(act));
}

Loop::WatchId Loop::WatchWritable(int fd, std::function<void()> act) {
  return state_->Add(fd, asio::posix::stream_descriptor::wait_write, std::move(act));
}

void Loop::Unwatch(WatchId watch) {
  if (state_->ending) return;
  const auto found = state_->watches.find(watch);
  if (found == state_->watches.end()) return;
  found->second->descriptor.release();
  state_->watches.erase(found);
}

void Loop::OnSignal(int signal_number, std::function<void()> act) {
  state_->signals.push_back(std::make_unique<asio::signal_set>(state_->io, signal_number));
  state_->Await(*state_->signals.back(), std::make_shared<std::function<void()>>(std::move(act)));
}

void Loop::OnPool(std::function<void()> work) {
  if (!state_->pool) state_->pool = std::make_unique<asio::thread_pool>(2);
  asio::post(*state_->pool, std::move(work));
}

Task<Result<Output>> Loop::Run(Exec exec, Duration timeout) {
  std::function<Result<Output>()> work = [exec = std::move(exec), timeout] {
    return RunCommand(exec, timeout);
  };
  co_return co_await Blocking(std::move(work));
}

void* Loop::native() { return &state_->io; }

}  // namespace muster::net
