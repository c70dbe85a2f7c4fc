#include "net/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace muster::net {
namespace {

TEST(Loop, RunsTimersInTheirOrderAndNoneThatWasCancelled) {
  Loop loop;
  std::string order;
  loop.After(20ms, [&] { order += "c"; });
  const auto cancelled = loop.After(5ms, [&] { order += "x"; });
  loop.After(10ms, [&] { order += "b"; });
  loop.Post([&] { order += "a"; });
  loop.After(30ms, [&] { loop.Stop(); });
  loop.Cancel(cancelled);
  loop.Cancel(12345);
  loop.Run();
  EXPECT_EQ(order, "abc");
}

Task<int> Twice(Loop& loop, int number) {
  co_await loop.Sleep(1ms);
  co_return number * 2;
}

Task<int> Sum(Loop& loop) {
  const int first = co_await Twice(loop, 4);
  const int second = co_await Twice(loop, 5);
  co_return first + second;
}

TEST(Loop, TasksReadTopToBottom) {
  Loop loop;
  EXPECT_EQ(loop.RunTask(Sum(loop)), 18);
  EXPECT_EQ(loop.RunTask(Sum(loop)), 18);
}

TEST(Loop, WatchesADescriptorUntilToldNotTo) {
  Loop loop;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  int seen = 0;
  Loop::WatchId watch = 0;
  watch = loop.WatchReadable(fds[0], [&] {
    char byte;
    ASSERT_EQ(read(fds[0], &byte, 1), 1);
    if (++seen == 2) {
      loop.Unwatch(watch);
      loop.Stop();
    }
  });
  ASSERT_EQ(write(fds[1], "ab", 2), 2);
  loop.Run();
  EXPECT_EQ(seen, 2);
  close(fds[0]);
  close(fds[1]);
}

TEST(Loop, BlockingWorkComesBackToTheLoopsThread) {
  Loop loop;
  const auto main_thread = std::this_thread::get_id();
  const auto task = [](Loop& on, std::thread::id* work, std::thread::id* after) -> Task<int> {
    std::function<int()> act = [work] {
      *work = std::this_thread::get_id();
      return 7;
    };
    const int value = co_await on.Blocking(std::move(act));
    *after = std::this_thread::get_id();
    co_return value;
  };
  std::thread::id work, after;
  EXPECT_EQ(loop.RunTask(task(loop, &work, &after)), 7);
  EXPECT_NE(work, main_thread);
  EXPECT_EQ(after, main_thread);
}

TEST(Loop, TellsWhenThereIsRoomToWrite) {
  Loop loop;
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK), 0);
  const std::string block(4096, 'x');
  while (write(ends[1], block.data(), block.size()) > 0) {
  }
  std::string order;
  const auto watch = loop.WatchWritable(ends[1], [&] {
    order += "room";
    loop.Stop();
  });
  loop.Post([&] {
    order += "full ";
    std::string buffer(1 << 20, '\0');
    EXPECT_GT(read(ends[0], buffer.data(), buffer.size()), 0);
  });
  loop.Run();
  EXPECT_EQ(order, "full room");
  loop.Unwatch(watch);
  close(ends[0]);
  close(ends[1]);
}

TEST(Loop, RunsCommands) {
  Loop loop;
  const auto output = loop.RunTask(loop.Run(Exec{.argv = {"echo", "hi"}}, 5s));
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->out, "hi\n");
}

TEST(Loop, HearsSignals) {
  Loop loop;
  int heard = 0;
  loop.OnSignal(SIGUSR1, [&] {
    if (++heard == 2) {
      loop.Stop();
    } else {
      raise(SIGUSR1);
    }
  });
  loop.Post([] { raise(SIGUSR1); });
  loop.Run();
  EXPECT_EQ(heard, 2);
}

TEST(Loop, CanEndWithWorkLeft) {
  Loop loop;
  loop.After(1h, [] {});
  loop.Post([&] { loop.Stop(); });
  loop.Run();
}

// Tells that its task has ended, wherever that was.
struct Guard {
  int* ended;
  ~Guard() { ++*ended; }
};

Task<void> WaitFor(Promised<bool> never, int* ended) {
  const Guard guard{ended};
  co_await never;
  *ended += 100;
}

Task<void> WaitInside(Promised<bool> never, int* ended) {
  const Guard guard{ended};
  co_await WaitFor(never, ended);
  *ended += 100;
}

TEST(Loop, EndsTheTasksThatStillWait) {
  int ended = 0;
  const Promised<bool> never;
  {
    Loop loop;
    Spawn(WaitInside(never, &ended));
    Spawn(WaitFor(never, &ended));
    {
      Loop other;  // not the last one of the thread
    }
    EXPECT_EQ(ended, 0);
    loop.EndTasks();
    EXPECT_EQ(ended, 3);
    Spawn(WaitInside(Promised<bool>(), &ended));
  }
  EXPECT_EQ(ended, 5);
  never.Set(true);  // nobody waits any more
  EXPECT_EQ(ended, 5);
}

}  // namespace
}  // namespace muster::net
