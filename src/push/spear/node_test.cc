#include "push/spear/node.h"

#include <gtest/gtest.h>

#include <future>

#include "push/spear/log.h"

namespace muster::push {
namespace {

template <class Value>
Value Soon(std::future<Value> value) {
  EXPECT_EQ(value.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  return value.get();
}

TEST(Node, HasRoomForMessagesUntilTooManyBytesWaitForOneOfItsShards) {
  SetLog("error", false);
  Settings settings;
  settings.listen = {"127.0.0.1:0"};
  settings.admin_listen = {};
  settings.shards = 2;
  settings.mailbox_bytes = 100'000;
  Node node(settings);
  ASSERT_TRUE(node.Start().ok());
  std::promise<void> go_on;
  node.shard(1).Post([waits = go_on.get_future().share()](Shard&) { waits.wait(); });

  const Publication publication{.target = {}, .event = "a", .arguments = std::string(10'000, '1')};
  std::promise<int> given;
  node.shard(0).Post([&](Shard& shard) {
    int count = 0;
    while (node.HasRoom() && count < 1000) {
      shard.Publish(publication);
      ++count;
    }
    given.set_value(count);
  });
  EXPECT_EQ(Soon(given.get_future()), 10);
  EXPECT_FALSE(node.HasRoom());
  EXPECT_EQ(node.shard(0).mailbox_bytes, 0);

  go_on.set_value();
  std::promise<void> read;
  node.shard(1).Post([&](Shard&) { read.set_value(); });
  Soon(read.get_future());
  EXPECT_TRUE(node.HasRoom());
  EXPECT_EQ(node.shard(1).mailbox_bytes, 0);
}

}  // namespace
}  // namespace muster::push
