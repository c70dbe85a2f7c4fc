// The hub of agents, as far as others' tests don't reach it: how it sends blobs.
#include "control/agents.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster::control {
namespace {

class AgentsTest : public ::testing::Test {
 protected:
  AgentsTest() : folder("/tmp/mh-" + RandomHex(4)) {
    fs::create_directories(folder);
    Agents::Callbacks callbacks;
    callbacks.start = [](const Agents::Wanted&) { return Done(); };
    callbacks.changed = [](const std::string&, const Observed&) {};
    callbacks.connected = [this](const std::string&, const std::string&, bool connected) {
      here = connected;
      if (enough()) loop.Stop();
    };
    callbacks.hung = [this](const Agents::Wanted& wanted, int pid) {
      hung += fmt::format("{}/{} {} ", wanted.cluster, wanted.host, pid);
    };
    callbacks.blob_path = [this](const std::string& sha256) { return folder + "/" + sha256; };
    callbacks.released = [](const std::string&, const std::string&, int64_t) { return false; };
    agents = Agents::Listen(loop, folder + "/agents.sock", std::move(callbacks), 10ms).value();
    agents->Want({.cluster = "c", .host = "h", .address = "127.0.0.1"});
  }
  ~AgentsTest() override { fs::remove_all(folder); }

  void Send(const api::AgentMessage& message) { channel->Send({'J', api::Encode(message)}); }
  // An agent that has said hello. It doesn't read before it is opened.
  void Connect(bool knows_pings = false) {
    channel = loop.RunTask(net::ConnectChannel(loop, folder + "/agents.sock", 5s)).value();
    channel->on_frame = [this](net::Frame frame) {
      const auto message = frame.kind == 'J' ? api::DecodeAgentMessage(frame.payload) : api::AgentMessage();
      if (frame.kind == 'J' && std::holds_alternative<api::Ping>(*message)) {
        ++pings;
        if (answers) Send(api::Pong{});
      } else if (const auto* pong = frame.kind == 'J' ? std::get_if<api::Pong>(&*message) : nullptr) {
        wanted.push_back(pong->wanted);
      } else if (frame.kind == 'J' && std::holds_alternative<api::OrderMessage>(*message)) {
        ++orders;
      } else if (frame.kind == 'B') {
        EXPECT_LE(frame.payload.size(), 1u << 20);
        ++pieces;
        bytes += frame.payload;
      } else if (const auto* blob = std::get_if<api::Blob>(&*message)) {
        said += blob->error ? blob->error->code() + " " : std::to_string(blob->size) + " ";
        ends.push_back(bytes.size());
      }
      if (enough()) loop.Stop();
    };
    Send(api::Hello{.cluster = "c",
                    .host = "h",
                    .version = "test",
                    .pid = 77,
                    .streams = api::kStreams,
                    .pings = knows_pings});
  }
  void Wait() {
    const auto deadline = loop.After(20s, [this] {
      ADD_FAILURE() << "nothing came within 20 s";
      loop.Stop();
    });
    loop.Run();
    loop.Cancel(deadline);
  }
  std::string Keep(const std::string& content) const {
    const std::string sha256 = Sha256Hex(content);
    EXPECT_TRUE(WriteFile(folder + "/" + sha256, content).ok());
    return sha256;
  }

  const std::string folder;
  net::Loop loop;
  std::unique_ptr<Agents> agents;
  std::shared_ptr<net::Channel> channel;
  std::string said, bytes, hung;
  bool here = false, answers = true;
  int pings = 0, orders = 0;
  std::vector<bool> wanted;  // what was answered to its own pings
  std::vector<size_t> ends;  // how many bytes had come before each blob
  int pieces = 0;
  std::function<bool()> enough = [] { return false; };
};

TEST_F(AgentsTest, SendBlobsInPiecesOneAfterAnother) {
  const std::string one = std::string(5 << 20, 'a') + "end", other(100, 'b');
  Connect();
  Send(api::WantBlob{.sha256 = Keep(one)});
  Send(api::WantBlob{.sha256 = Sha256Hex("missing")});
  Send(api::WantBlob{.sha256 = Keep(other)});
  enough = [&] { return bytes.size() == one.size() + other.size(); };
  channel->Open();
  Wait();
  EXPECT_EQ(said, std::to_string(one.size()) + " blob-missing 100 ");
  EXPECT_EQ(ends, (std::vector<size_t>{0, one.size(), one.size()}));
  EXPECT_EQ(bytes, one + other);
  EXPECT_EQ(pieces, 7);
}

TEST_F(AgentsTest, HoldTheAgentOfAHostOffThatIsCut) {
  Connect();
  bool closed = false;
  channel->on_closed = [&](const Error&) {
    closed = true;
    if (enough()) loop.Stop();
  };
  channel->Open();
  enough = [this] { return here; };
  Wait();
  agents->Cut("c", "h", true);
  enough = [&] { return closed; };
  if (!closed) Wait();
  EXPECT_FALSE(here);

  closed = false;
  Connect();
  channel->on_closed = [&](const Error&) {
    closed = true;
    if (enough()) loop.Stop();
  };
  channel->Open();
  Wait();
  EXPECT_FALSE(agents->connected("c", "h"));

  agents->Cut("c", "h", false);
  Connect();
  channel->Open();
  enough = [this] { return here; };
  Wait();
  EXPECT_TRUE(agents->connected("c", "h"));
}

TEST_F(AgentsTest, TakeOneThatAnswersNoPingsForAway) {
  Connect(true);
  channel->Open();
  enough = [this] { return pings >= 20; };
  Wait();
  EXPECT_TRUE(agents->connected("c", "h"));
  answers = false;
  enough = [this] { return !here; };
  Wait();
  EXPECT_FALSE(agents->connected("c", "h"));
  loop.Post([this] { loop.Stop(); });
  loop.Run();
  EXPECT_EQ(hung, "c/h 77 ");
}

TEST_F(AgentsTest, TellWhetherAnOrderIsStillWaitedFor) {
  Connect();
  channel->Open();
  enough = [this] { return here; };
  Wait();
  int refused = 0;
  const auto perform = [&](std::string id, Duration deadline) -> net::Task<void> {
    api::OrderMessage order{.id = std::move(id)};
    order.step.id = "cache-1.take-over";
    order.step.instance = "cache-1";
    order.step.host = "h";
    order.step.verb = "take-over";
    order.step.deadline = deadline;
    const auto outcome = co_await agents->Perform("c", std::move(order));
    refused += outcome.ok() ? 0 : 1;
    if (enough()) loop.Stop();
  };
  net::Spawn(perform("late", 0ms));  // the agent may take longer to answer, but not to begin
  net::Spawn(perform("in-time", 60s));
  net::Spawn(perform("done", 60s));
  enough = [this] { return orders == 3; };
  Wait();
  const auto refuse = [&](const char* id) {
    Send(api::Outcome{.id = id, .error = Error::Conflict("no", "no"), .values = {}});
  };
  refuse("done");
  for (const char* id : {"late", "in-time", "done", "another", ""}) Send(api::Ping{.order = id});
  enough = [this] { return wanted.size() == 5; };
  Wait();
  EXPECT_EQ(wanted, (std::vector<bool>{false, true, false, false, true}));
  refuse("late");
  refuse("in-time");
  enough = [&] { return refused == 3; };
  Wait();
}

TEST_F(AgentsTest, DoNotPingOneOfAnEarlierRelease) {
  Connect(false);
  channel->Open();
  const auto later = loop.After(200ms, [this] { loop.Stop(); });
  loop.Run();
  loop.Cancel(later);
  EXPECT_EQ(pings, 0);
  EXPECT_TRUE(agents->connected("c", "h"));
}

TEST_F(AgentsTest, StartABlobOverWithAnAgentThatCameBack) {
  const std::string content(8 << 20, 'a');
  Connect();
  Send(api::WantBlob{.sha256 = Keep(content)});
  enough = [this] { return pieces == 1; };
  channel->Open();
  Wait();
  channel->Close();
  bytes.clear();
  said.clear();
  Connect();
  Send(api::WantBlob{.sha256 = Sha256Hex(content)});
  enough = [&] { return bytes.size() == content.size(); };
  channel->Open();
  Wait();
  EXPECT_EQ(said, std::to_string(content.size()) + " ");
}

}  // namespace
}  // namespace muster::control
