#include "push/socketio/recovery.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "push/engineio/packet.h"
#include "push/socketio/keys.h"

namespace muster::push::socketio {
namespace {

const std::string kId = "fifteen bytes !";

// One shard's Recovery, and what a Hub does with it.
struct Shard {
  explicit Shard(uint8_t number, size_t shards, RecoveryOptions options = {})
      : recovery([&] {
          options.shard = number;
          options.shards = shards;
          return options;
        }()) {}

  // The offset under which it was kept.
  std::string Publish(const Origin& origin, std::string_view text, std::string_view key = "*:0",
                      uint16_t name_space = 0) {
    std::string packet = "42[\"" + std::string(text) + "\",\"", offset;
    recovery.AppendNext(offset);
    recovery.Keep(origin, name_space, key, MakeFrame(FrameKind::kText, packet + offset + "\"]"), now);
    recovery.Reach(origin);
    return offset;
  }

  Recovery recovery;
  Time now;
};

Saved Gone(std::vector<std::string> rooms = {"*:0"}) {
  return {.id = kId,
          .user_id = "ann",
          .user_name = {},
          .device = {},
          .rooms = std::move(rooms),
          .name_space = 0,
          .until = Time(120s)};
}

Wanted Wants(std::string_view offset, uint16_t name_space = 0) {
  return {.id = kId, .name_space = name_space, .offset = *ParseOffset(offset, 64)};
}

// The texts and offsets of packets, as a client reads them.
struct Read {
  std::string text, offset;
};
Read ReadPacket(const std::string& packet) {
  const size_t end = packet.find("\",\"");
  return {packet.substr(4, end - 4), packet.substr(end + 3, packet.size() - end - 5)};
}
std::vector<std::string> TextsOf(const std::vector<std::string>& packets) {
  std::vector<std::string> texts;
  for (const std::string& packet : packets) texts.push_back(ReadPacket(packet).text);
  return texts;
}

// What a client gets that comes back to the only shard; nothing where it can't.
std::optional<std::vector<std::string>> Missed(Shard& shard, const Wanted& wanted) {
  const Found found = shard.recovery.Find(wanted, shard.now);
  if (!shard.recovery.MayReturn(wanted, found)) return std::nullopt;
  return TextsOf(shard.recovery.Missed(wanted, found));
}

using Texts = std::vector<std::string>;

TEST(Offsets, AreReadAsTheyWereWritten) {
  for (const std::string text : {"0@1", "63@18446744073709551615", "2@7+0@12+1@9"}) {
    const auto offset = ParseOffset(text, 64);
    ASSERT_TRUE(offset) << text;
    EXPECT_EQ(OffsetText(*offset), text);
  }
  EXPECT_EQ(ParseOffset("1@42+0@7", 2), (Offset{{1, 42}, {0, 7}}));
}

TEST(Offsets, ThatThisNodeCannotHaveMadeAreNone) {
  for (const std::string_view text : {"",
                                      "42",
                                      "1@",
                                      "@1",
                                      "1@0",
                                      "1.5",
                                      "01@5",
                                      "1@05",
                                      "2@1",
                                      "64@1",
                                      "256@1",
                                      "-1@1",
                                      "1@-1",
                                      " 1@1",
                                      "1@1 ",
                                      "1@1+",
                                      "+1@1",
                                      "1@1+1@2",
                                      "1@18446744073709551616",
                                      "1@1@1",
                                      "0x1@1",
                                      "1@1,0@1",
                                      "999999999999999@1"}) {
    EXPECT_FALSE(ParseOffset(text, 2)) << text;
  }
}

TEST(Recovery, GivesWhatWasMeantForItInOrder) {
  Shard shard(0, 1);
  const std::string offset = shard.Publish({.number = 1}, "read");
  shard.recovery.Save(Gone({"g:cooks", "*:0"}));
  shard.Publish({.number = 2}, "to me", SocketKey(engineio::EncodeUrlSafe(kId)));
  shard.Publish({.number = 3}, "to another", SocketKey("another"));
  shard.Publish({.number = 4}, "to Ann", "u:ann");
  shard.Publish({.number = 5}, "to Bob", "u:bob");
  shard.Publish({.number = 6}, "to cooks", "g:cooks");
  shard.Publish({.number = 7}, "to guests", "g:guests");
  shard.Publish({.number = 8}, "elsewhere", "*:0", 1);
  shard.Publish({.number = 9}, "to all");
  EXPECT_EQ(Missed(shard, Wants(offset)), (Texts{"to me", "to Ann", "to cooks", "to all"}));
  EXPECT_EQ(Missed(shard, Wants(offset)), std::nullopt) << "only once";
}

TEST(Recovery, GivesNothingToWhoSentIt) {
  Shard shard(0, 1);
  const std::string offset = shard.Publish({.number = 1}, "read");
  shard.recovery.Save(Gone());
  Origin own{.number = 2};
  std::copy(kId.begin(), kId.end(), own.except.begin());
  shard.Publish(own, "from me to all others");
  shard.Publish({.number = 3}, "to all");
  EXPECT_EQ(Missed(shard, Wants(offset)), Texts{"to all"});
}

TEST(Recovery, OfOnePublicationForTwoNamespacesGivesEachItsOwn) {
  for (const uint16_t name_space : {0, 1}) {
    Shard shard(0, 1);
    shard.Publish({.number = 1}, "read", "u:ann", 0);
    const std::string second = shard.Publish({.number = 1}, "read", "u:ann", 1);
    const std::string offset = name_space == 0 ? "0@1" : second;
    Saved saved = Gone();
    saved.name_space = name_space;
    shard.recovery.Save(saved);
    shard.Publish({.number = 2}, "main", "u:ann", 0);
    shard.Publish({.number = 2}, "other", "u:ann", 1);
    EXPECT_EQ(Missed(shard, Wants(offset, name_space)), Texts{name_space == 0 ? "main" : "other"});
  }
}

TEST(Recovery, KeepsWhoAsksForAnotherNamespace) {
  Shard shard(0, 1);
  const std::string offset = shard.Publish({.number = 1}, "read");
  shard.recovery.Save(Gone());
  EXPECT_EQ(Missed(shard, Wants(offset, 1)), std::nullopt);
  EXPECT_EQ(Missed(shard, Wants(offset)), Texts{});
}

TEST(Recovery, IsForATime) {
  Shard shard(0, 1);
  const std::string offset = shard.Publish({.number = 1}, "read");
  shard.recovery.Save(Gone());
  shard.now = Time(120s);
  EXPECT_EQ(Missed(shard, Wants(offset)), std::nullopt);
  shard.recovery.Trim(shard.now);
  EXPECT_EQ(shard.recovery.saved(), 0u);
}

TEST(Recovery, IsForWhoMissedNothingHoweverOldTheLastIs) {
  Shard shard(0, 1);
  const std::string offset = shard.Publish({.number = 1}, "read");
  shard.now = Time(200s);
  shard.recovery.Trim(shard.now);
  Saved saved = Gone();
  saved.until = Time(300s);
  shard.recovery.Save(saved);
  shard.Publish({.number = 2}, "missed");
  EXPECT_EQ(Missed(shard, Wants(offset)), Texts{"missed"});
}

TEST(Recovery, IsNotForWhoMissedWhatIsKeptNoLonger) {
  Shard shard(0, 1, {.bytes = 1000});
  const std::string offset = shard.Publish({.number = 1}, "read");
  shard.recovery.Save(Gone());
  for (uint64_t number = 2; number < 50; ++number) shard.Publish({.number = number}, "missed");
  EXPECT_EQ(Missed(shard, Wants(offset)), std::nullopt);
}

TEST(Recovery, IsNotWhereTheOtherShardKeepsNoLongerWhatWasMissed) {
  Shard here(0, 2, {.bytes = 1000}), there(1, 2);
  const std::string offset = there.Publish({.number = 1}, "read");
  here.Publish({.number = 1}, "read");
  for (uint64_t number = 2; number < 50; ++number) {
    here.Publish({.number = number}, "missed");
    there.Publish({.number = number}, "missed");
  }
  there.recovery.Save(Gone());
  const Wanted wanted = Wants(offset);
  const Found found = Together({here.recovery.Find(wanted, {}), there.recovery.Find(wanted, {})});
  EXPECT_FALSE(here.recovery.MayReturn(wanted, found));
  EXPECT_TRUE(there.recovery.MayReturn(wanted, found));
}

TEST(Recovery, KnowsNoPlaceThatIsYetToCome) {
  Shard shard(0, 1);
  shard.Publish({.number = 1}, "read");
  shard.recovery.Save(Gone());
  for (const std::string_view offset : {"0@2", "0@18446744073709551615"}) {
    const Wanted wanted = Wants(offset);
    EXPECT_FALSE(shard.recovery.KnowsAll(wanted));
    Found found = shard.recovery.Find(wanted, {});
    EXPECT_FALSE(shard.recovery.MayReturn(wanted, found));
    ASSERT_TRUE(found.saved);
    shard.recovery.Save(*found.saved);
  }
}

// Two shards, of which the first keeps a socket that comes back to the second.
class KickOnTheWay : public testing::Test {
 protected:
  KickOnTheWay() : wanted_(Wants(there_.Publish({.number = 1}, "read"))) {
    here_.Publish({.number = 1}, "read");
    there_.recovery.Save(Gone());
  }
  static bool IsAnn(Saved& saved) { return saved.user_id == "ann"; }
  Found Ask() { return Together({there_.recovery.Find(wanted_, {}), here_.recovery.Find(wanted_, {})}); }

  Shard there_{0, 2}, here_{1, 2};
  const Wanted wanted_;
  const Origin kick_{.number = 2, .publisher = 0};
};

TEST_F(KickOnTheWay, MeetsWhoWasFoundBeforeItCameThereAndComesAfterItWasHere) {
  const uint64_t asking = here_.recovery.BeginAsking();
  Found found = Ask();
  here_.recovery.Kick(kick_, IsAnn);
  there_.recovery.Kick(kick_, IsAnn);
  here_.recovery.EndAsking(asking, found);
  EXPECT_FALSE(here_.recovery.MayReturn(wanted_, found));
}

TEST_F(KickOnTheWay, MeetsAlsoWhoIsAskedForAfterItWasHere) {
  here_.recovery.Kick(kick_, IsAnn);
  const uint64_t asking = here_.recovery.BeginAsking();
  Found found = Ask();
  there_.recovery.Kick(kick_, IsAnn);
  here_.recovery.KickedByAll(kick_);
  EXPECT_EQ(here_.recovery.kicks(), 1u) << "as long as somebody is asked for";
  here_.recovery.EndAsking(asking, found);
  EXPECT_FALSE(here_.recovery.MayReturn(wanted_, found));
  EXPECT_EQ(here_.recovery.kicks(), 0u);
}

TEST_F(KickOnTheWay, MayOnlyTakeAGroup) {
  here_.recovery.Kick(kick_, [](Saved& saved) {
    saved.rooms.clear();
    return false;
  });
  const uint64_t asking = here_.recovery.BeginAsking();
  Found found = Ask();
  here_.recovery.EndAsking(asking, found);
  EXPECT_TRUE(here_.recovery.MayReturn(wanted_, found));
  EXPECT_TRUE(found.saved->rooms.empty());
}

TEST_F(KickOnTheWay, MeetsNobodyElse) {
  here_.recovery.Kick(kick_, [](Saved& saved) { return saved.user_id == "bob"; });
  const uint64_t asking = here_.recovery.BeginAsking();
  Found found = Ask();
  here_.recovery.EndAsking(asking, found);
  EXPECT_TRUE(here_.recovery.MayReturn(wanted_, found));
}

TEST_F(KickOnTheWay, MeetsNobodyWhoCameWhereItHadBeen) {
  there_.recovery.Kick(kick_, IsAnn);
  there_.recovery.Save(Gone());  // who was new there, and lost the connection again
  here_.recovery.Kick(kick_, IsAnn);
  const uint64_t asking = here_.recovery.BeginAsking();
  Found found = Ask();
  here_.recovery.EndAsking(asking, found);
  EXPECT_TRUE(here_.recovery.MayReturn(wanted_, found));
}

TEST(Recovery, RemembersNoKickWhereThereIsOneShard) {
  Shard shard(0, 1);
  shard.recovery.Save(Gone());
  shard.recovery.Kick({.number = 1}, [](Saved&) { return true; });
  EXPECT_EQ(shard.recovery.saved(), 0u);
  EXPECT_EQ(shard.recovery.kicks(), 0u);
}

// All orders in which three shards may get what publishers give: `by` are the publishers of all messages.
class Orders {
 public:
  explicit Orders(std::vector<uint8_t> by) : by_(std::move(by)) { std::sort(by_.begin(), by_.end()); }

  template <class Visit>  // void(std::vector<Shard>&)
  void ForEach(const Visit& visit) const {
    std::vector<std::vector<uint8_t>> orders;
    std::vector<uint8_t> order = by_;
    do {
      orders.push_back(order);
    } while (std::next_permutation(order.begin(), order.end()));
    for (const auto& first : orders) {
      for (const auto& second : orders) {
        for (const auto& third : orders) {
          std::vector<Shard> shards;
          for (uint8_t i = 0; i < 3; ++i) shards.emplace_back(i, 3).Publish({.number = 1}, "0.1");
          Fill(shards[0], first);
          Fill(shards[1], second);
          Fill(shards[2], third);
          visit(shards);
        }
      }
    }
  }

 private:
  static void Fill(Shard& shard, const std::vector<uint8_t>& order) {
    uint64_t last[3] = {1, 0, 0};
    for (const uint8_t publisher : order) {
      const uint64_t number = ++last[publisher];
      shard.Publish({.number = number, .publisher = publisher},
                    std::to_string(publisher) + "." + std::to_string(number));
    }
  }
  std::vector<uint8_t> by_;
};

// A client that has read the first of what each shard keeps comes to these shards, one after the other, and
// reads some packets at each but at the last, where it reads all. What it has read, in its order.
Texts Visit(std::vector<Shard>& shards, const std::vector<uint8_t>& visits,
            const std::vector<size_t>& reads) {
  std::string offset = std::to_string(visits[0]) + "@1";
  Texts texts;
  shards[visits[0]].recovery.Save(Gone());
  for (size_t i = 0; i < visits.size(); ++i) {
    Recovery& here = shards[visits[i]].recovery;
    const Wanted wanted = Wants(offset);
    std::vector<Found> found;
    for (Shard& shard : shards) found.push_back(shard.recovery.Find(wanted, {}));
    const Found all = Together(std::move(found));
    EXPECT_TRUE(here.MayReturn(wanted, all)) << offset;
    if (!all.saved) return texts;
    const Texts packets = here.Missed(wanted, all);
    const size_t count = i + 1 < visits.size() ? std::min(reads[i], packets.size()) : packets.size();
    for (size_t j = 0; j < count; ++j) {
      const Read read = ReadPacket(packets[j]);
      texts.push_back(read.text);
      offset = read.offset;
    }
    here.Save(*all.saved);
  }
  for (Shard& shard : shards) shard.recovery.Kick({}, [](Saved&) { return true; });
  return texts;
}

TEST(Recovery, GivesEachOnceInEachOrderThatShardsMayKeepThemIn) {
  const std::vector<std::vector<uint8_t>> ways = {
      {0, 1, 2, 0}, {0, 1, 2, 1}, {0, 1, 0, 1}, {0, 1, 1, 2}, {1, 1, 2, 0}};
  int64_t checked = 0;
  for (const std::vector<uint8_t>& by : {std::vector<uint8_t>{0, 1, 2}, {1, 1, 2, 2}}) {
    Orders(by).ForEach([&](std::vector<Shard>& shards) {
      for (const auto& way : ways) {
        for (size_t reads = 0; reads < 18; ++reads) {
          const Texts texts = Visit(shards, way, {reads % 3, reads / 3 % 3, reads / 9});
          uint64_t last[3] = {1, 0, 0};
          for (const std::string& text : texts) {
            const auto publisher = static_cast<size_t>(text[0] - '0');
            ASSERT_EQ(text, std::to_string(publisher) + "." + std::to_string(last[publisher] + 1));
            ++last[publisher];
          }
          ASSERT_EQ(texts.size(), by.size());
          ++checked;
        }
      }
    });
  }
  EXPECT_EQ(checked, 2 * 216 * 5 * 18);
}

TEST(Keys, OfSeveralUsersMeanEachOfThemAndNobodyElse) {
  std::string key;
  AppendUsersKey(key, std::string_view("ann\0m:\0bob", 10));
  for (const char* user : {"ann", "bob", "m:"}) EXPECT_TRUE(IsOneOfUsers(key, user)) << user;
  for (const char* user : {"", "an", "nn", "bo", "ob", "m", "annm:"})
    EXPECT_FALSE(IsOneOfUsers(key, user)) << user;
  EXPECT_FALSE(IsOneOfUsers(GroupKey("ann"), "ann"));
}

}  // namespace
}  // namespace muster::push::socketio
