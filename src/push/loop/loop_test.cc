#include "push/loop/loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

namespace muster::push {
namespace {

Time NoTime() { return Time(1s); }

// A loop with one WebSocket, whose other end reads nothing: the socket is full after a few KiB.
class OneClient : public ConnectionHandler {
 public:
  explicit OneClient(SlowPolicy slow)
      : loop_({.out_max = 10'000, .slow = slow}, &addresses_, nullptr, NoTime) {
    loop_.SetHandler(0, this);
    int ends[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    peer_ = Fd(ends[1]);
    const int bytes = 4608;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    MovedConnection moved;
    moved.fd = ends[0];
    moved.bytes =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    loop_.Adopt(std::move(moved));
  }
  void OnRequest(Connection& connection, const http::Request& request) override {
    loop_.Upgrade(connection, websocket::AcceptKey(request.websocket_key), "");
    connection_ = &connection;
  }
  void OnClosed(Connection&) override { connection_ = nullptr; }

  // Within a turn of the loop, as all that is sent.
  template <class Act>
  void Do(const Act& act) {
    loop_.SetTurn([&] {
      act();
      loop_.Stop();
      loop_.SetTurn(nullptr);
    });
    loop_.Wake();
    loop_.Run();
  }
  bool Send(std::string_view text, std::initializer_list<std::string> attachments, bool droppable = false) {
    std::vector<FrameRef> frames;
    for (const std::string& bytes : attachments) {
      frames.push_back(MakeFrame(FrameKind::kBinary, bytes, droppable));
    }
    return loop_.Send(*connection_, MakeFrame(FrameKind::kText, text, droppable), frames);
  }
  // Until nothing more is taken; 4,004 bytes are more than there is room for then.
  void Fill() {
    while (Send(std::string(4000, 'x'), {})) {
    }
  }
  size_t waiting() const { return connection_->out.bytes(); }
  const Connection& connection() const { return *connection_; }
  Loop& loop() { return loop_; }

 private:
  AddressTable addresses_;
  Loop loop_;
  Fd peer_;
  Connection* connection_ = nullptr;
};

TEST(Loop, DropsAPacketWithAllItsAttachmentsWhereOneDoesNotFit) {
  OneClient client(SlowPolicy::kDrop);
  client.Do([&] {
    client.Fill();
    const size_t before = client.waiting();
    const int64_t dropped = client.loop().counters().dropped_slow.get();
    EXPECT_FALSE(client.Send("text that fits", {"bytes that fit", std::string(4000, 'y')}));
    EXPECT_EQ(client.waiting(), before);
    EXPECT_EQ(client.loop().counters().dropped_slow.get(), dropped + 1) << "one packet";
    EXPECT_TRUE(client.Send("text", {"more", "bytes"}));
    EXPECT_EQ(client.waiting(), before + 2 + 4 + 2 + 4 + 2 + 5);
    EXPECT_FALSE(client.connection().doomed);
  });
}

TEST(Loop, DropsWhatIsVolatileWithAllItsAttachments) {
  OneClient client(SlowPolicy::kClose);
  client.Do([&] {
    // With room in the socket all of it goes, however much it is together.
    EXPECT_TRUE(client.Send("text", {"bytes"}, true));
    while (!client.connection().blocked) client.Send(std::string(4000, 'x'), {}, true);
    const size_t before = client.waiting();
    EXPECT_FALSE(client.Send("text", {"bytes"}, true));
    EXPECT_EQ(client.waiting(), before);
    EXPECT_FALSE(client.connection().doomed);
  });
}

TEST(Loop, ClosesWhoHasNoRoomForAnAttachmentBeforeItsPacketGoesOut) {
  OneClient client(SlowPolicy::kClose);
  client.Do([&] {
    while (!client.connection().blocked) client.Send(std::string(1000, 'x'), {});
    const size_t before = client.waiting();
    EXPECT_FALSE(client.Send("text that fits", {std::string(20'000, 'y')}));
    EXPECT_EQ(client.waiting(), before);
    EXPECT_TRUE(client.connection().doomed);
  });
}

TEST(Loop, SendsALargePacketWithItsAttachmentsToWhoWaitsForNothing) {
  OneClient client(SlowPolicy::kDrop);
  client.Do([] {});  // so that the answer to its request is out
  client.Do([&] {
    EXPECT_EQ(client.waiting(), 0u);
    EXPECT_TRUE(client.Send("text", {std::string(9000, 'y'), std::string(9000, 'z')}));
    EXPECT_EQ(client.waiting(), 2u + 4 + 4 + 9000 + 4 + 9000);
  });
}

}  // namespace
}  // namespace muster::push
