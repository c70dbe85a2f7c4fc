// What listeners are sent of a cluster's events.
#include "server/events.h"

#include <gtest/gtest.h>

#include "net/http.h"
#include "net/loop.h"

namespace muster::server {
namespace {

net::Task<std::string> All(std::shared_ptr<EventQueue> queue) {
  std::string all;
  for (;;) {
    const auto text = co_await EventQueue::Next(queue);
    if (!text) break;
    all += *text + "|";
  }
  co_return all;
}

TEST(EventQueue, HandsOnWhatIsThereAndEndsAfterIt) {
  net::Loop loop;
  auto queue = std::make_shared<EventQueue>();
  queue->Push("a");
  queue->Push("b");
  loop.Post([queue] { queue->Push("c"); });
  loop.Post([queue] {
    queue->Push("d");
    queue->Close();
    queue->Push("never");
  });
  EXPECT_EQ(loop.RunTask(All(queue)), "ab|c|d|");
}

TEST(EventQueue, DropsWhoDoesNotListen) {
  net::Loop loop;
  auto queue = std::make_shared<EventQueue>();
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 16; ++i) queue->Push(megabyte);
  EXPECT_FALSE(queue->overflown());
  queue->Push("x");
  EXPECT_TRUE(queue->overflown());
  EXPECT_EQ(loop.RunTask(All(queue)), "");
}

TEST(Events, WhoComesLateMissesNothingOfARun) {
  net::Loop loop;
  Events events;
  auto watching = std::make_shared<EventQueue>();
  events.ListenCluster("mall", watching);
  events.Publish("mall", "before", "{}");
  events.BeginRun("mall", "r1");
  events.Publish("mall", "step", "{\"n\":1}");
  auto late = std::make_shared<EventQueue>();
  ASSERT_TRUE(events.ListenRun("r1", late));
  events.Publish("other", "step", "{\"n\":99}");
  events.Publish("mall", "step", "{\"n\":2}");
  events.EndRun("mall", "r1", "{\"state\":\"done\"}");
  events.Publish("mall", "after", "{}");
  watching->Close();
  const std::string run = loop.RunTask(All(late));
  EXPECT_EQ(run, net::FormatSse("step", "{\"n\":1}") + net::FormatSse("step", "{\"n\":2}") +
                     net::FormatSse("finished", "{\"state\":\"done\"}") + "|");
  const std::string all = loop.RunTask(All(watching));
  EXPECT_EQ(all, net::FormatSse("before", "{}") + run.substr(0, run.size() - 1) +
                     net::FormatSse("after", "{}") + "|");

  // Once more after its end: all of it, and an end.
  auto again = std::make_shared<EventQueue>();
  ASSERT_TRUE(events.ListenRun("r1", again));
  EXPECT_EQ(loop.RunTask(All(again)), run);
}

TEST(Events, ForgetsOldRunsButNoneThatIsUnderWay) {
  Events events;
  events.BeginRun("slow", "slow");
  for (int i = 0; i < 20; ++i) {
    events.BeginRun("mall", std::to_string(i));
    events.EndRun("mall", std::to_string(i), "{}");
  }
  const auto known = [&](const std::string& run) {
    return events.ListenRun(run, std::make_shared<EventQueue>());
  };
  EXPECT_TRUE(known("slow"));
  EXPECT_TRUE(known("19"));
  EXPECT_FALSE(known("0"));
  EXPECT_FALSE(known("none"));
}

TEST(Events, AListenerThatLeftIsNoBother) {
  Events events;
  events.BeginRun("mall", "r1");
  events.ListenCluster("mall", std::make_shared<EventQueue>());
  EXPECT_TRUE(events.ListenRun("r1", std::make_shared<EventQueue>()));
  events.Publish("mall", "step", "{}");
  events.EndRun("mall", "r1", "{}");
}

}  // namespace
}  // namespace muster::server
