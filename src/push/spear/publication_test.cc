#include "push/spear/publication.h"

#include <gtest/gtest.h>

#include "push/engineio/packet.h"

namespace muster::push {
namespace {

Publication Saying(const std::string& text) {
  Publication publication;
  publication.event = "msg";
  publication.arguments = text;
  return publication;
}

socketio::Saved Away() {
  return {.id = "fifteen bytes !",
          .user_id = "ann",
          .user_name = {},
          .device = "phone",
          .rooms = {"g:cooks", "r:0:hall", "*:0"},
          .name_space = 0,
          .until = {}};
}

TEST(KickAway, PutsOutWhoIsMeant) {
  using Kind = Target::Kind;
  const auto meant = [](const Target& target) {
    socketio::Saved saved = Away();
    return KickAway(target, "", saved);
  };
  EXPECT_TRUE(meant({.kind = Kind::kUser, .id = "ann", .device = ""}));
  EXPECT_TRUE(meant({.kind = Kind::kUser, .id = "ann", .device = "phone"}));
  EXPECT_FALSE(meant({.kind = Kind::kUser, .id = "ann", .device = "desk"}));
  EXPECT_FALSE(meant({.kind = Kind::kUser, .id = "bob", .device = ""}));
  EXPECT_TRUE(meant({.kind = Kind::kGroup, .id = "cooks", .device = ""}));
  EXPECT_FALSE(meant({.kind = Kind::kGroup, .id = "hall", .device = ""}));
  EXPECT_TRUE(meant({.kind = Kind::kRoom, .id = "hall", .device = ""}));
  EXPECT_FALSE(meant({.kind = Kind::kRoom, .id = "hall", .device = "", .name_space = 1}));
  EXPECT_TRUE(meant({.kind = Kind::kEverybody, .id = "", .device = ""}));
  EXPECT_FALSE(meant({.kind = Kind::kEverybody, .id = "", .device = "", .name_space = 1}));
  EXPECT_TRUE(meant({.kind = Kind::kSocket, .id = engineio::EncodeUrlSafe(Away().id), .device = ""}));
  EXPECT_FALSE(
      meant({.kind = Kind::kSocket, .id = engineio::EncodeUrlSafe("another of 15 !"), .device = ""}));
}

TEST(KickAway, OutOfAGroupTakesNothingElse) {
  socketio::Saved saved = Away();
  EXPECT_FALSE(KickAway({.kind = Target::Kind::kUser, .id = "bob", .device = ""}, "cooks", saved));
  EXPECT_EQ(saved.rooms, Away().rooms);
  EXPECT_FALSE(KickAway({.kind = Target::Kind::kUser, .id = "ann", .device = ""}, "cooks", saved));
  EXPECT_EQ(saved.rooms, (std::vector<std::string>{"r:0:hall", "*:0"}));
}

TEST(Parcels, AreUsedAgainOnceAllHaveReadThem) {
  Parcels parcels;
  const auto first = parcels.Fill(Saying("1"), 2);
  first->unread -= 1;
  const auto second = parcels.Fill(Saying("2"), 2);  // one hasn't read the first
  EXPECT_NE(first, second);
  EXPECT_EQ(first->publication.arguments, "1");
  first->unread -= 1;
  EXPECT_EQ(parcels.Fill(Saying("3"), 2), first);
  EXPECT_EQ(first->publication.arguments, "3");
  EXPECT_EQ(second->publication.arguments, "2");
  EXPECT_EQ(parcels.size(), 2u);
}

TEST(Attachments, ComeAsBase64WhereTheirPlacesAre) {
  const std::vector<std::string> two{std::string("\0\1\2", 3), "hi"};
  EXPECT_EQ(
      WithAttachments(R"([1,{"a":[{"_placeholder":true,"num":1}, {"num":0,"_placeholder":true}]}])", two),
      R"([1,{"a":[{"base64":"aGk="}, {"base64":"AAEC"}]}])");
  for (const char* as_it_is :
       {R"([{"_placeholder":true,"num":2}])", R"([{"_placeholder":true,"num":-1}])",
        R"([{"_placeholder":false,"num":0}])", R"(["{\"_placeholder\":true,\"num\":0}","\\"])", "[]", ""}) {
    EXPECT_EQ(WithAttachments(as_it_is, two), as_it_is);
  }
}

TEST(Parcels, KeepNeitherLargeOnesNorAnyNumber) {
  Parcels parcels;
  EXPECT_EQ(parcels.Fill(Saying(std::string(Parcels::kBytesMost + 1, 'x')), 1)->publication.arguments.size(),
            Parcels::kBytesMost + 1);
  EXPECT_EQ(parcels.size(), 0u);
  for (size_t i = 0; i < Parcels::kMost + 10; ++i) {
    EXPECT_EQ(parcels.Fill(Saying(std::to_string(i)), 1)->publication.arguments, std::to_string(i));
  }
  EXPECT_EQ(parcels.size(), Parcels::kMost);
}

TEST(TakeAttachments, MakesBytesOfEachLoneBase64AndOfNothingElse) {
  std::vector<std::string> bytes;
  const std::string json = R"(1,{ "base64" : "AAH/" },{"a":{"base64":"aGk="}},"{\"base64\":\"aGk=\"}",)"
                           R"({"base64":"aGk=","b":1},{"base64":7},[{}])";
  const auto text = TakeAttachments(json, bytes, 10);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, R"(1,{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},)"
                   R"("{\"base64\":\"aGk=\"}",{"base64":"aGk=","b":1},{"base64":7},[{}])");
  EXPECT_EQ(bytes, (std::vector<std::string>{std::string("\0\1\xff", 3), "hi"}));
  bytes.clear();
  EXPECT_EQ(TakeAttachments(R"({"base64":"?"})", bytes, 10), std::nullopt);
  EXPECT_EQ(TakeAttachments(R"([{"base64":""},{"base64":""}])", bytes, 1), std::nullopt);
}

}  // namespace
}  // namespace muster::push
