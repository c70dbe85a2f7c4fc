#include "net/channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

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
  FrameParser largest;  // the limit itself is fine, one byte more isn't; neither
                        // waits for the payload
  EXPECT_TRUE(largest.Feed(std::string("\4\0\0\0B", 5)).ok());
  FrameParser larger;
  EXPECT_FALSE(larger.Feed(std::string("\4\0\0\1B", 5)).ok());
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

// A listener that keeps its channels, and one channel to it.
struct Pair {
  explicit Pair(Loop& loop) : path(SocketPath()) {
    const auto keep = [this](std::shared_ptr<Channel> channel) { served.Set(channel); };
    auto listening = ChannelListener::Listen(loop, path, keep);
    EXPECT_TRUE(listening.ok());
    listener = std::move(*listening);
    client = *loop.RunTask(ConnectChannel(loop, path, 2s));
    const auto wait = [](Promised<std::shared_ptr<Channel>> promised) -> Task<std::shared_ptr<Channel>> {
      co_return co_await promised;
    };
    server = loop.RunTask(wait(served));
  }
  std::string path;
  Promised<std::shared_ptr<Channel>> served;
  std::unique_ptr<ChannelListener> listener;
  std::shared_ptr<Channel> client, server;
};

Task<bool> Wait(Promised<bool> promised) { co_return co_await promised; }

TEST(Channel, MayBeClosedFromItsOwnHandler) {
  Loop loop;
  Pair pair(loop);
  const Promised<bool> heard;
  int frames = 0, ends = 0;
  std::string own(100, 'x');  // lives in the handler
  pair.server->on_frame = [&frames, heard, own, weak = std::weak_ptr(pair.server)](Frame) {
    ++frames;
    weak.lock()->Close();
    EXPECT_EQ(own, std::string(100, 'x'));
    heard.Set(true);
  };
  pair.server->on_closed = [&](const Error&) { ++ends; };
  pair.server->Open();
  pair.client->Open();
  pair.client->Send({'J', "1"});
  pair.client->Send({'J', "2"});  // comes too late, together with the first or after it
  EXPECT_TRUE(loop.RunTask(Wait(heard)));
  pair.server->Close();
  EXPECT_EQ(frames, 1);
  EXPECT_EQ(ends, 1);
}

TEST(Channel, SendsItsFarewellButNothingAfterClose) {
  Loop loop;
  Pair pair(loop);
  const Promised<bool> ended;
  std::vector<size_t> sizes;
  pair.client->on_frame = [&](Frame frame) { sizes.push_back(frame.payload.size()); };
  pair.client->on_closed = [ended](const Error&) { ended.Set(true); };
  pair.server->Open();
  pair.server->Send({'B', std::string(4 << 20, 'x')});
  pair.server->Send({'J', "farewell"});
  pair.server->Close();
  pair.server->Send({'J', "late"});
  EXPECT_EQ(pair.server->queued_bytes(), (4u << 20) + 8 + 2 * 5);
  pair.client->Open();
  EXPECT_TRUE(loop.RunTask(Wait(ended)));
  EXPECT_EQ(sizes, (std::vector<size_t>{4 << 20, 8}));
}

TEST(Channel, EndsWhenThePeerSendsWhatIsNoFrame) {
  Loop loop;
  Pair pair(loop);
  const Promised<bool> ended;
  std::string code;
  pair.server->on_closed = [&, ended](const Error& error) {
    code = error.code();
    ended.Set(true);
  };
  pair.server->Open();
  pair.client->Send({'Z', "what"});
  EXPECT_TRUE(loop.RunTask(Wait(ended)));
  EXPECT_EQ(code, "bad-frame");
}

TEST(Channel, MayBeForgottenWithItsListenerWhileInUse) {
  Loop loop;
  const Promised<bool> ended;
  std::string path;
  {
    Pair pair(loop);
    path = pair.path;
    pair.server->Open();
    pair.server->Send({'B', std::string(4 << 20, 'x')});
    pair.client->on_closed = [ended](const Error&) { ended.Set(true); };
    pair.client->Open();
    pair.server->Close();
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  EXPECT_TRUE(loop.RunTask(Wait(ended)));
}

TEST(ChannelListener, ReplacesAStaleSocketAndLetsOnlyItsUserIn) {
  Loop loop;
  const std::string path = SocketPath();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int dead = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(dead);
  const mode_t before = ::umask(0);
  auto listener = ChannelListener::Listen(loop, path, [](auto) {});
  ::umask(before);
  ASSERT_TRUE(listener.ok()) << listener.error().Text();
  struct stat what {};
  ASSERT_EQ(::stat(path.c_str(), &what), 0);
  EXPECT_EQ(what.st_mode & 0777, 0600u);
}

TEST(ChannelListener, LeavesWhatIsNoSocketAlone) {
  Loop loop;
  const std::string path = SocketPath();
  std::ofstream(path) << "precious";
  auto listener = ChannelListener::Listen(loop, path, [](auto) {});
  ASSERT_FALSE(listener.ok());
  EXPECT_EQ(listener.error().code(), "address-in-use");
  std::string kept;
  std::ifstream(path) >> kept;
  EXPECT_EQ(kept, "precious");
  ::unlink(path.c_str());
}

// Sends much to somebody who reads only later, and looks at when there is room again.
Task<std::string> SendToOneWhoWaits(Loop& loop) {
  const std::string path = SocketPath();
  const Promised<std::shared_ptr<Channel>> accepted;
  auto listener = ChannelListener::Listen(
      loop, path, [accepted](std::shared_ptr<Channel> channel) { accepted.Set(std::move(channel)); });
  if (!listener.ok()) co_return listener.error().Text();
  auto client = co_await ConnectChannel(loop, path, 2s);
  if (!client.ok()) co_return client.error().Text();
  const std::shared_ptr<Channel> served = co_await accepted;
  for (int i = 0; i < 16; ++i) (*client)->Send({'B', std::string(1 << 20, 'x')});
  std::string order;
  const Promised<bool> low, empty, closed;
  (*client)->WhenQueuedAtMost(0, [&, empty] {
    order += "empty ";
    empty.Set(true);
  });
  (*client)->WhenQueuedAtMost(8 << 20, [&, low] {
    order += (*client)->queued_bytes() <= 8u << 20 ? "low " : "early ";
    low.Set(true);
  });
  const Promised<bool> turned;
  loop.Post([turned] { turned.Set(true); });
  co_await turned;
  if ((*client)->queued_bytes() < 15u << 20) co_return "it was sent though nobody reads";
  if (!order.empty()) co_return "woken though nobody reads";
  served->Open();
  co_await low;
  co_await empty;
  // Whoever waits isn't left waiting by the end.
  for (int i = 0; i < 16; ++i) (*client)->Send({'B', std::string(1 << 20, 'x')});
  (*client)->WhenQueuedAtMost(0, [closed] { closed.Set(true); });
  served->Close();
  (*client)->Open();
  co_await closed;
  co_return order;
}

TEST(Channel, TellsWhenThereIsRoomAgain) {
  Loop loop;
  EXPECT_EQ(loop.RunTask(SendToOneWhoWaits(loop)), "low empty ");
}

TEST(Channel, SaysThatNobodyAnswers) {
  Loop loop;
  auto channel = loop.RunTask(ConnectChannel(loop, "/tmp/muster-nobody-here.sock", 1s));
  ASSERT_FALSE(channel.ok());
  EXPECT_EQ(channel.error().code(), "connect-failed");
}

}  // namespace
}  // namespace muster::net
