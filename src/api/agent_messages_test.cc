#include "api/agent_messages.h"

#include <gtest/gtest.h>

namespace muster::api {
namespace {

std::vector<AgentMessage> OneOfEach() {
  const Error error = Error::Conflict("port-taken", "taken").Hint("h");
  return {
      Hello{.cluster = "c", .host = "h", .version = "1", .pid = 4, .epoch_seen = 7},
      Welcome{.epoch = 8},
      OrderMessage{.id = "r/a.stop",
                   .epoch = 8,
                   .step = {.id = "a.stop", .verb = "stop"},
                   .instance = Instance{.name = "a"}},
      Outcome{.id = "r/a.stop", .error = error, .values = {{"k", "v"}}},
      Observe{.id = "1", .drift = false, .fresh = true},
      ObservedMessage{.id = "1", .instances = {Observed{.name = "a", .state = InstanceState::kReady}}},
      Changed{.instance = {.name = "a"}},
      WantBlob{.sha256 = "aa"},
      Blob{.sha256 = "aa", .size = 5, .error = std::nullopt},
      Logs{.id = "2", .instances = {"a"}, .tail = 10, .since_ms = 3, .follow = true, .from = 7},
      ExecMessage{.id = "3", .epoch = 8, .instance = "a", .argv = {"ls"}},
      Chunk{.id = "3", .instance = "a", .stream = "out", .data = "x", .at_ms = 9, .position = 12},
      End{.id = "3", .status = 2, .error = error},
      VerifyMessage{.id = "4", .instance = "a", .args = {{"k", "v"}}},
      Verified{.id = "4",
               .checks = {{.name = "n", .passed = true, .evidence = {"e"}, .hint = "h", .skipped = true}}},
      CancelMessage{.id = "3"},
      Leave{.epoch = 8},
      More{.id = "3", .bytes = 1000},
      Input{.id = "3", .data = std::string("\xff\0x", 3), .end = true},
      Taken{.id = "3", .bytes = 7, .closed = true},
      Ping{.order = "mend/1/2/cache-1.take-over"},
      Pong{.wanted = false}};
}

TEST(AgentMessages, EachComesBackAsItWent) {
  const auto all = OneOfEach();
  ASSERT_EQ(all.size(), std::variant_size_v<AgentMessage>);
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i].index(), i);
    const std::string text = Encode(all[i]);
    const auto back = DecodeAgentMessage(text);
    ASSERT_TRUE(back.ok()) << back.error().Text();
    EXPECT_EQ(back->index(), i);
    EXPECT_EQ(Encode(*back), text);
  }
}

TEST(AgentMessages, SurviveBeingCutAndChanged) {
  for (const AgentMessage& message : OneOfEach()) {
    const std::string text = Encode(message);
    for (size_t i = 0; i < text.size(); ++i) {
      EXPECT_FALSE(DecodeAgentMessage(text.substr(0, i)).ok());
      for (const char c : {'0', '"', '{', '[', '\0', '\xff'}) {
        std::string changed = text;
        changed[i] = c;
        const auto decoded = DecodeAgentMessage(changed);
        if (decoded.ok()) (void)Encode(*decoded);
      }
    }
  }
}

TEST(AgentMessages, RefuseANewerProtocolAndAnUnknownType) {
  EXPECT_EQ(DecodeAgentMessage(R"({"v":2,"type":"hello"})").error().code(), "newer-protocol");
  EXPECT_EQ(DecodeAgentMessage(R"({"v":1,"type":"dance"})").error().code(), "bad-message");
  EXPECT_EQ(DecodeAgentMessage("[]").error().code(), "bad-message");
}

TEST(AgentMessages, CarryBytesThatAreNoText) {
  const auto back = DecodeAgentMessage(Encode(Chunk{.id = "1", .data = "a\xff"}));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::get<Chunk>(*back).data, "a\xef\xbf\xbd");
}

TEST(AgentMessages, CarryExactlyTheBytesThatWereMeantToBe) {
  const std::string bytes("a\xff\0z", 4);
  for (const std::string& data : {bytes, std::string("text"), std::string()}) {
    const auto chunk = DecodeAgentMessage(Encode(Chunk{.id = "1", .data = data, .exact = true}));
    ASSERT_TRUE(chunk.ok());
    EXPECT_EQ(std::get<Chunk>(*chunk).data, data);
    const auto input = DecodeAgentMessage(Encode(Input{.id = "1", .data = data}));
    ASSERT_TRUE(input.ok());
    EXPECT_EQ(std::get<Input>(*input).data, data);
  }
  EXPECT_FALSE(DecodeAgentMessage(R"({"v":1,"type":"input","id":"1","base64":"?"})").ok());
}

TEST(AgentMessages, OfAnOlderReleaseKnowNoWindows) {
  const auto exec =
      DecodeAgentMessage(R"({"v":1,"type":"exec","id":"3","epoch":8,"instance":"a","argv":["ls"]})");
  ASSERT_TRUE(exec.ok());
  EXPECT_EQ(std::get<ExecMessage>(*exec).window, 0);
  EXPECT_FALSE(std::get<ExecMessage>(*exec).input);
  const auto hello = DecodeAgentMessage(R"({"v":1,"type":"hello","cluster":"c","host":"h","pid":4})");
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(std::get<Hello>(*hello).streams, 0);
}

}  // namespace
}  // namespace muster::api
