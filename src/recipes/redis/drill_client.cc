#include "recipes/redis/drill_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/resp_client.h"
#include "recipes/redis/cluster_view.h"
#include "recipes/redis/drill_writers.h"
#include "recipes/redis/node.h"

namespace muster::redis {
namespace {

using net::RespClient;
using net::resp::Command;
using net::resp::Value;

constexpr int kRedirectsMost = 5;
constexpr size_t kTagsMost = 16;  // slots of each range that are written to

// Follows redirects.
class ClusterClient final : public DrillWriters {
 public:
  using DrillWriters::DrillWriters;

 protected:
  net::Task<Status> FindRanges() override {
    Result<ClusterView> view = DrillFailure("no node of the service answers");
    for (const Endpoint& node : setup_.nodes) {
      view = co_await LookAt(node);
      if (view.ok()) break;
    }
    if (!view.ok()) co_return DrillFailure("no member answers: " + view.error().message());
    Divide(*view);
    if (ledger_.ranges().empty()) co_return DrillFailure("no node of the service has slots");
    co_return Done();
  }

  net::Task<Answers> Send(Connections& connections, int slot, Commands commands) override {
    Endpoint node = routes_.For(slot, Now());
    bool asking = false;
    for (int hop = 0; hop < kRedirectsMost; ++hop) {
      Commands sent = commands;
      if (asking) sent.insert(sent.begin(), Command{"ASKING"});
      auto answers = co_await SendTo(connections, node, std::move(sent));
      if (!answers.ok()) co_return answers.error();
      if (asking) answers->erase(answers->begin());
      const Value& first = answers->front();
      const auto redirect = first.is_error() ? ParseRedirect(first.text) : std::nullopt;
      if (!redirect) {
        if (!first.is_error()) routes_.Owns(slot, node);
        co_return std::move(*answers);
      }
      const Endpoint to{redirect->host.empty() ? node.host : redirect->host, redirect->port};
      asking = redirect->ask;
      ++connections.redirects;
      if (!asking) routes_.Owns(slot, to);
      if (routes_.Avoids(to, Now()))
        co_return DrillFailure(
            fmt::format("{} says that {} has the slot, which doesn't answer", node.Text(), to.Text()));
      node = to;
    }
    co_return DrillFailure("one node redirects to another, and that one back");
  }

  std::string TagOf(int slot) const override { return "{" + SlotTags()[static_cast<size_t>(slot)] + "}:"; }

 private:
  net::Task<Result<ClusterView>> LookAt(Endpoint node) {
    net::RespOptions options;
    options.password = setup_.password;
    auto client =
        co_await RespClient::Connect(*setup_.loop, node.host, node.port, options, kDrillAnswerWithin);
    if (!client.ok()) co_return client.error();
    Command ask{"CLUSTER", "NODES"};
    auto answer = co_await (*client)->Command(std::move(ask), kDrillAnswerWithin);
    if (!answer.ok()) co_return answer.error();
    if (answer->is_error()) co_return net::resp::RefusedError(*answer, "CLUSTER NODES");
    co_return ParseClusterNodes(answer->text);
  }

  void Divide(const ClusterView& view) {
    std::vector<const ClusterNode*> masters;
    for (const ClusterNode& node : view.nodes) {
      if (node.master && !node.slots.empty()) masters.push_back(&node);
    }
    std::sort(masters.begin(), masters.end(), [](const ClusterNode* one, const ClusterNode* other) {
      return one->slots.Ranges().front().first < other->slots.Ranges().front().first;
    });
    for (const ClusterNode* master : masters) {
      ledger_.AddRange(master->slots.Text());
      const std::vector<int> slots = master->slots.List();
      const size_t number = std::min(kTagsMost, slots.size());
      std::vector<int> chosen;
      for (size_t i = 0; i < number; ++i) chosen.push_back(slots[i * slots.size() / number]);
      for (const int slot : chosen) {
        if (!master->address.empty()) routes_.Owns(slot, {master->address, master->port});
      }
      slots_.push_back(std::move(chosen));
    }
  }
};

// Asks each time who takes writes, by the same words on the wire as what is sent: nothing is read from a
// replica, which may lack something, and nothing is taken for written that one has refused.
class PrimaryClient final : public DrillWriters {
 public:
  using DrillWriters::DrillWriters;

 protected:
  net::Task<Status> FindRanges() override {
    ledger_.AddRange("all keys");
    slots_.push_back({kOnly});
    Connections connections;
    Error last = DrillFailure("the service has no members");
    for (size_t tries = 0; tries < 2 * setup_.nodes.size(); ++tries) {
      Commands ping{{"PING"}};
      const auto answers = co_await Send(connections, kOnly, std::move(ping));
      if (answers.ok() && !answers->front().is_error()) co_return Done();
      last = answers.ok() ? net::resp::RefusedError(answers->front(), "PING") : answers.error();
    }
    co_return DrillFailure("no primary answers: " + last.message());
  }

  net::Task<Answers> Send(Connections& connections, int slot, Commands commands) override {
    const Endpoint node = routes_.For(slot, Now());
    commands.insert(commands.begin(), Command{"ROLE"});
    auto answers = co_await SendTo(connections, node, std::move(commands));
    if (!answers.ok()) co_return answers.error();
    const Value role = std::move(answers->front());
    answers->erase(answers->begin());
    if (role.is_error()) co_return net::resp::RefusedError(role, "ROLE");
    if (!role.items.empty() && role.items[0].text == "master") {
      routes_.Owns(slot, node);
      co_return std::move(*answers);
    }
    // Somebody else, the next time: whom it follows, where that is a member and answers.
    routes_.Refused(node, Now());
    const Endpoint followed{
        role.items.size() > 2 ? role.items[1].text : "",
        role.items.size() > 2 ? static_cast<int>(role.items[2].AsInteger().value_or(0)) : 0};
    const bool member = std::find(setup_.nodes.begin(), setup_.nodes.end(), followed) != setup_.nodes.end();
    if (member && !routes_.Avoids(followed, Now())) routes_.Owns(slot, followed);
    co_return DrillFailure(fmt::format("{} is no primary", node.Text()));
  }

  std::string TagOf(int /*slot*/) const override { return ""; }

 private:
  static constexpr int kOnly = 0;  // there are no slots: all keys are one
};

}  // namespace

DrillSetup DrillSetupOf(DrillClient::Setup setup) {
  DrillSetup redis{.loop = setup.loop,
                   .nodes = {},
                   .password = "",
                   .name = std::move(setup.name),
                   .forget_after = setup.forget_after};
  for (const Instance& member : setup.members) {
    Access access = AccessOf(member);
    redis.nodes.push_back({std::move(access.host), access.port});
    redis.password = std::move(access.password);
  }
  return redis;
}

std::shared_ptr<DrillClient> MakeClusterDrillClient(DrillSetup setup) {
  return std::make_shared<ClusterClient>(std::move(setup));
}
std::shared_ptr<DrillClient> MakePrimaryDrillClient(DrillSetup setup) {
  return std::make_shared<PrimaryClient>(std::move(setup));
}

}  // namespace muster::redis
