// No memory is asked for while messages pass through a node that has done this for a while. Its shards run on
// threads of their own here, and every malloc of the program is counted but for those of the test's thread.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "base/files.h"
#include "push/spear/log.h"
#include "push/spear/node.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUSTER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MUSTER_SANITIZED 1
#endif
#endif

namespace {
std::atomic<int64_t> allocations{0};
thread_local bool not_counted = false;
}  // namespace

#ifndef MUSTER_SANITIZED  // their own allocators are in this place
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);

void* malloc(size_t bytes) noexcept {
  if (!not_counted) allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) noexcept {
  if (!not_counted) allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) noexcept {
  if (!not_counted) allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(memory, bytes);
}
}
#endif

namespace muster::push {
namespace {

constexpr int kClients = 6;
constexpr int kRounds = 200;

// A Socket.IO client over WebSocket, which waits for what it is to get. EXPECTs fail where that doesn't come.
class Caller {
 public:
  explicit Caller(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const int yes = 1;
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Write(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        "AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    while (got_.find("\r\n\r\n") == std::string::npos) More();
    got_.erase(0, got_.find("\r\n\r\n") + 4);
    Expect("0{");
    Send("40");
    Expect("40{");
    const size_t begin = last_.find(R"("sid":")") + 7;
    sid_ = last_.substr(begin, last_.find('"', begin) - begin);
  }
  const std::string& sid() const { return sid_; }

  void Send(const std::string& text) {
    std::string frame = "\x81";
    if (text.size() < 126) {
      frame += static_cast<char>(0x80 | text.size());
    } else {
      frame += "\xfe";
      frame += static_cast<char>(text.size() >> 8);
      frame += static_cast<char>(text.size() & 255);
    }
    frame += std::string(4, '\0') + text;  // the mask is 0
    Write(frame);
  }
  // Reads messages up to one that begins so.
  void Expect(std::string_view start) {
    while ((last_ = Receive()).substr(0, start.size()) != start) {
      if (broken_) FAIL() << "never came: " << start;
    }
  }

 private:
  void Write(const std::string& bytes) {
    EXPECT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void More() {
    char buffer[4096];
    const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (count <= 0) {
      broken_ = true;
      got_ += "\r\n\r\n";
      return;
    }
    got_.append(buffer, static_cast<size_t>(count));
  }
  std::string Receive() {
    const auto at = [this](size_t index) {
      return static_cast<size_t>(static_cast<unsigned char>(got_[index]));
    };
    while (got_.size() < 4 && !broken_) More();
    const size_t head = at(1) == 126 ? 4 : 2;
    const size_t size = head == 4 ? at(2) << 8 | at(3) : at(1);
    while (got_.size() < head + size && !broken_) More();
    if (broken_) return {};
    const std::string message = got_.substr(head, size);
    got_.erase(0, head + size);
    return message;
  }

  Fd socket_;
  std::string got_, last_, sid_;
  bool broken_ = false;
};

class Allocations : public testing::Test {
 protected:
  void SetUp() override {
#ifdef MUSTER_SANITIZED
    GTEST_SKIP() << "sanitizers bring their own malloc";
#endif
    not_counted = true;
    SetLog("error", false);
    Settings settings;
    settings.listen = {"127.0.0.1:0"};
    settings.admin_listen = {};
    settings.shards = 2;
    settings.recovery = recovery_;
    settings.recovery_bytes = 20'000;  // so that what is kept is soon as much as may be kept
    node_ = std::make_unique<Node>(settings);
    EXPECT_TRUE(node_->Start().ok());
    const std::string& place = node_->addresses_of_clients().at(0);
    const int port = std::stoi(place.substr(place.rfind(':') + 1));
    for (int i = 0; i < kClients; ++i) {
      auto& caller = callers_.emplace_back(std::make_unique<Caller>(port));
      const std::string user = "user-with-a-long-name-" + std::to_string(i);
      caller->Send(R"(421["auth",{"id":")" + user + R"("}])");
      caller->Expect("431[");
      caller->Send(R"(422["subscribe",{"subscribeGroups":[{"id":"a-group-with-a-long-name"}]}])");
      caller->Expect("432[");
      caller->Send(R"(423["join","a-room-with-a-long-name"])");
      caller->Expect("433[");
    }
  }
  void TearDown() override {
    callers_.clear();
    node_.reset();
    not_counted = false;
  }

  // What kRounds of `round` have the node allocate, once pools and lists have grown to what they need. How
  // much that is depends on how the threads take turns, so that the last of it may come late: the best of
  // some tries counts.
  template <class Round>
  int64_t AllocatedBy(const Round& round) {
    int64_t least = kRounds;
    for (int i = 0; i < 10 && least > 0 && !HasFailure(); ++i) {
      const int64_t before = allocations;
      for (int j = 0; j < kRounds; ++j) round();
      least = std::min<int64_t>(least, allocations - before);
    }
    return least;
  }
  Caller& caller(int number) { return *callers_[static_cast<size_t>(number)]; }
  template <class Act>
  void All(const Act& act) {
    for (const auto& each : callers_) act(*each);
  }

  bool recovery_ = false;
  std::unique_ptr<Node> node_;
  std::vector<std::unique_ptr<Caller>> callers_;
};

TEST_F(Allocations, AreCounted) {
  EXPECT_EQ(AllocatedBy([&] {
              caller(0).Send(R"(429["online","a-group-with-a-long-name"])");
              caller(0).Expect("439[");
            }),
            kRounds);
}

TEST_F(Allocations, AreNoneForAnEchoAndItsAck) {
  EXPECT_EQ(AllocatedBy([&] {
              caller(0).Send(R"(424["echo",{"some":"text of thirty-two bytes or more"}])");
              caller(0).Expect("434[");
            }),
            0);
}

TEST_F(Allocations, AreNoneForAMessageToAUser) {
  EXPECT_EQ(AllocatedBy([&] {
              for (int to = 1; to < kClients; ++to) {  // on either shard
                caller(0).Send(R"(425["msg",{"type":0,"target":{"id":"user-with-a-long-name-)" +
                               std::to_string(to) + R"("},"content":"text of thirty-two bytes or more"}])");
                caller(0).Expect("435[");
                caller(to).Expect(R"(42["msg",)");
              }
            }),
            0);
}

TEST_F(Allocations, AreNoneForAMessageToUsersInTheOldForm) {
  const std::string order =
      R"(425["msg","{\"type\":2,\"target\":{\"ids\":[\"user-with-a-long-name-0\",\"user-with-a-long-name-1\"]},)"
      R"(\"content\":\"text\"}"])";
  EXPECT_EQ(AllocatedBy([&] {
              caller(2).Send(order);
              caller(2).Expect("435[");
              caller(0).Expect(R"(42["msg",)");
              caller(1).Expect(R"(42["msg",)");
            }),
            0);
}

TEST_F(Allocations, AreNoneForAMessageToAGroup) {
  EXPECT_EQ(AllocatedBy([&] {
              caller(0).Send(R"(426["msg",{"type":1,"target":{"id":"a-group-with-a-long-name"},)"
                             R"("content":"text of thirty-two bytes or more"}])");
              All([](Caller& each) { each.Expect(R"(42["msg",)"); });
              caller(0).Expect("436[");
            }),
            0);
}

TEST_F(Allocations, AreNoneForABroadcastToARoom) {
  EXPECT_EQ(
      AllocatedBy([&] {
        caller(0).Send(R"(427["emit","a-room-with-a-long-name","an-event-with-a-long-name",{"a":[1,2,3]}])");
        for (int to = 1; to < kClients; ++to) caller(to).Expect(R"(42["an-event-with-a-long-name",)");
        caller(0).Expect("437[");
      }),
      0);
}

TEST_F(Allocations, AreNoneForABroadcastToEverybody) {
  const Publication publication{
      .target = {.kind = Target::Kind::kEverybody, .id = {}, .device = {}, .name_space = 0},
      .event = "an-event-with-a-long-name",
      .arguments = R"({"some":"text of thirty-two bytes or more"})",
      .attachments = {},
      .droppable = false};
  EXPECT_EQ(AllocatedBy([&] {
              node_->shard(0).Post([&publication](Shard& shard) { shard.Publish(publication); });
              All([](Caller& each) { each.Expect(R"(42["an-event-with-a-long-name",)"); });
            }),
            0);
}

TEST_F(Allocations, AreAsManyForAPushToASocketHoweverManyThereAre) {
  Publication publication{
      .target = {.kind = Target::Kind::kSocket, .id = caller(1).sid(), .device = {}, .name_space = 0},
      .event = "an-event-with-a-long-name",
      .arguments = R"({"some":"text of thirty-two bytes or more"})",
      .attachments = {},
      .droppable = false};
  EXPECT_EQ(AllocatedBy([&] {
              node_->shard(0).Post([&publication](Shard& shard) { shard.Publish(publication); });
              caller(1).Expect(R"(42["an-event-with-a-long-name",)");
            }),
            0);
}

class AllocationsOfRecovery : public Allocations {
 protected:
  AllocationsOfRecovery() { recovery_ = true; }
};

TEST_F(AllocationsOfRecovery, AreNoneOnceAsMuchIsKeptAsMayBe) {
  EXPECT_EQ(AllocatedBy([&] {
              caller(0).Send(R"(426["msg",{"type":1,"target":{"id":"a-group-with-a-long-name"},)"
                             R"("content":"text of thirty-two bytes or more"}])");
              All([](Caller& each) { each.Expect(R"(42["msg",)"); });
              caller(0).Expect("436[");
            }),
            0);
}

}  // namespace
}  // namespace muster::push
