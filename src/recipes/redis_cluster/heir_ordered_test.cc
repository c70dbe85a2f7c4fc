// A role is handed over in the end, though its heir is given other orders again and again.
#include <gtest/gtest.h>

#include "recipes/redis_cluster/parts.h"
#include "recipes/redis_cluster/testing_cluster.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kRound = 100ms;

class RedisClusterOrderedHeirTest : public ::testing::Test {
 protected:
  // How long until the heir is told to take over, where every other round finds it with an order; nothing:
  // not within a minute.
  std::optional<Duration> TakesOverAfter() {
    for (Duration gone = 0ms; gone < 60s; gone += kRound) {
      const auto observed = world_.Observe();
      const bool ordered = (gone / kRound) % 2 == 1;
      Mender::Input input{
          .service = &service_, .cluster = nullptr, .desired = &instances_, .observed = &observed};
      if (ordered) input.busy = {"cache-4"};
      input.now = Time(1000s) + gone;
      const std::set<std::string> names(input.busy.begin(), input.busy.end());
      const Situation situation = Survey(input, names, memory_.views, memory_.moments);
      Orders orders(situation, memory_);
      const Member &master = *situation.Find("cache-1"), &heir = *situation.Find("cache-4");
      EXPECT_TRUE(master.ready && heir.ready && heir.ordered == ordered);
      HandOverTo(situation, master, heir, "it steps down", memory_, orders);
      for (const Order& order : orders.Take().orders) {
        if (order.verb == "take-over") return gone;
      }
    }
    return std::nullopt;
  }
  // The view of `member`, in which a line of `node` ends with `more`.
  void Sees(const std::string& member, const std::string& node, const std::string& more) {
    std::string view = world_.View();
    const size_t line = view.find(testing::NodeId(node) + " ");
    ASSERT_NE(line, std::string::npos);
    view.insert(view.find('\n', line), " " + more);
    world_.nodes.at(member).more["view"] = view;
  }

  const Service service_ = testing::Cache();
  const std::vector<Instance> instances_ = testing::LayOut(service_, testing::Hosts(3));
  testing::World world_{instances_, 3};
  Memory memory_;
};

TEST_F(RedisClusterOrderedHeirTest, SlotsOnTheirWayAreWaitedForNoLonger) {
  Sees("cache-1", "cache-1", fmt::format("[5->-{}]", testing::NodeId("cache-2")));
  const auto after = TakesOverAfter();
  ASSERT_TRUE(after);
  EXPECT_GE(*after, 15s);
  EXPECT_LT(*after, 16s);
}

TEST_F(RedisClusterOrderedHeirTest, NorIsWhatItHasNotHeard) {
  // Of slots that are with another already it takes some for its master's.
  redis::SlotSet& slots = world_.nodes.at("cache-1").slots;
  const redis::SlotSet gone = slots.First(9);
  slots -= gone;
  Sees("cache-4", "cache-1", gone.Text());
  world_.nodes.at("cache-2").slots |= gone;
  const auto after = TakesOverAfter();
  ASSERT_TRUE(after);
  EXPECT_GE(*after, 2s);
  EXPECT_LT(*after, 3s);
}

TEST_F(RedisClusterOrderedHeirTest, WithNothingToWaitForItTakesOverAtOnce) {
  EXPECT_EQ(TakesOverAfter(), Duration(0));
}

}  // namespace
}  // namespace muster::redis_cluster::mending
