#include "net/channel.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace muster::net {
namespace {

std::string SocketPath() { return fmt::format("/tmp/muster-channel-{}-{}.sock", getpid(), rand()); }

TEST(FrameParser, ReadsFramesCutAnywhere) {
  const std::string stream =
      EncodeFrame({'J', "{\"a\":1}"}) + EncodeFrame({'B', ""}) + EncodeFrame({'B', "xyz"});
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameParser parser;
    std::vector<Frame> frames;
    for (const std::string& part : {stream.substr(0, cut), stream.substr(cut)}) {
      auto more = parser.Feed(part);
      ASSERT_TRUE(more.ok());
      for (Frame& frame : *more) frames.push_back(std::move(frame));
    }
    ASSERT_EQ(frames.size(), 3u) << cut;
    EXPECT_EQ(frames[0].payload, "{\"a\":1}");
    EXPECT_EQ(frames[1].kind, 'B');
    EXPECT_EQ(frames[2].payload, "xyz");
  }
}

TEST(FrameParser, RefusesWhatIsTooLongOrUnknownAndStaysBroken) {
  FrameParser parser;
  auto bad = parser.Feed(std::string("\xff\xff\xff\xffJ", 5));
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code(), "bad-frame");
  EXPECT_FALSE(parser.Feed(EncodeFrame({'J', "{}"})).ok());
  FrameParser other;
  EXPECT_FALSE(other.Feed(std::string("\0\0\0\1Zx", 6)).ok());
}

Task<std::string> Converse(Loop& loop) {
  const std::string path = SocketPath();
  std::shared_ptr<Channel> served;
  const Promised<std::string> answered;
  const Promised<bool> closed;
  auto listener = ChannelListener::Listen(loop, path, [&](std::shared_ptr<Channel> channel) {
    served = channel;
    channel->on_frame = [weak = std::weak_ptr(channel)](Frame frame) {
      if (auto self = weak.lock()) self->Send({'B', frame.payload + frame.payload});
    };
    channel->on_closed = [closed](const Error&) { closed.Set(true); };
    channel->Open();
  });
  if (!listener.ok()) co_return listener.error().Text();
  auto second = ChannelListener::Listen(loop, path, [](auto) {});
  if (second.ok() || second.error().code() != "address-in-use") co_return "a second listener was let in";
  auto client = co_await ConnectChannel(loop, path, 2s);
  if (!client.ok()) co_return client.error().Text();
  (*client)->on_frame = [answered](Frame frame) { answered.Set(frame.payload); };
  (*client)->Open();
  const std::string big(3 << 20, 'x');
  (*client)->Send({'J', big});
  const std::string answer = co_await answered;
  (*client)->Close();
  co_await closed;
  co_return answer.size() == big.size() * 2 ? "ok" : "wrong size";
}

TEST(Channel, CarriesLargeFramesBothWaysAndTellsOfTheEnd) {
  Loop loop;
  EXPECT_EQ(loop.RunTask(Converse(loop)), "ok");
}

TEST(Channel, SaysThatNobodyAnswers) {
  Loop loop;
  auto channel = loop.RunTask(ConnectChannel(loop, "/tmp/muster-nobody-here.sock", 1s));
  ASSERT_FALSE(channel.ok());
  EXPECT_EQ(channel.error().code(), "connect-failed");
}

}  // namespace
}  // namespace muster::net
