// The event loop: one per thread. What runs on it needs no lock. Wraps Boost.Asio, which stays in loop.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"
#include "base/subprocess.h"
#include "base/time.h"
#include "net/task.h"

namespace muster::net {

class Loop {
 public:
  Loop();
  ~Loop();  // The last one of its thread calls EndTasks.
  Loop(const Loop&) = delete;

  // Runs until `Stop`. The calling thread becomes the loop's thread.
  void Run();
  // Runs until `task` has finished and returns its value. For programs that do one thing, and for tests.
  template <class T>
  T RunTask(Task<T> task) {
    std::optional<T> result;
    SpawnThen(std::move(task), [this, &result](T value) {
      result.emplace(std::move(value));
      Stop();
    });
    if (!result) Run();
    return std::move(*result);
  }
  void Stop();  // From any thread.
  // Ends all tasks of this thread that were spawned and still wait: their variables are destroyed, as if they
  // returned from where they are. For when the loop has stopped for good, and before what they refer to goes.
  // Waits for blocking work that is under way.
  void EndTasks();

  // Calls `act` on the loop's thread, soon and in order. From any thread.
  void Post(std::function<void()> act);

  using TimerId = uint64_t;
  TimerId After(Duration delay, std::function<void()> act);
  void Cancel(TimerId timer);  // Unknown ids are fine.
  Task<void> Sleep(Duration delay);

  // Calls `act` each time `fd` can be read (a pidfd: when the process has ended), until cancelled. Doesn't
  // own `fd`.
  using WatchId = uint64_t;
  WatchId WatchReadable(int fd, std::function<void()> act);
  // The same for when `fd` can be written to: unwatch it as soon as there is nothing to write.
  WatchId WatchWritable(int fd, std::function<void()> act);
  void Unwatch(WatchId watch);  // Before closing the fd.

  // Calls `act` on the loop's thread for each SIGINT, SIGTERM … that arrives.
  void OnSignal(int signal_number, std::function<void()> act);

  // Runs blocking work on a small pool (2 threads) and comes back to this loop with its value.
  template <class T>
  Task<T> Blocking(std::function<T()> work) {
    Promised<T> outcome;
    OnPool([this, work = std::move(work), outcome] {
      auto value = std::make_shared<T>(work());
      Post([outcome, value] { outcome.Set(std::move(*value)); });
    });
    co_return co_await outcome;
  }

  // Runs a command without blocking the loop. same errors as muster::RunCommand.
  Task<Result<Output>> Run(Exec exec, Duration timeout);

  void* native();  // The asio::io_context, for the other .cc files of net/.

 private:
  void OnPool(std::function<void()> work);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::net
