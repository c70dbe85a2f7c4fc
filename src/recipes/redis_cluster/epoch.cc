#include "recipes/redis_cluster/epoch.h"

#include "base/fault.h"
#include "recipes/redis/info.h"
#include "recipes/redis/words.h"

namespace muster::redis_cluster {
namespace {

using net::resp::Command;
using net::resp::Value;

net::Task<Result<uint64_t>> OwnEpoch(Node& node) {
  const Command ask = {"CLUSTER", "INFO"};
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(ask));
  if (answer.is_error()) co_return node.Refused(answer, "CLUSTER INFO");
  MUSTER_CO_TRY(const redis::ClusterInfo info, redis::ParseClusterInfo(answer.text));
  co_return info.my_epoch;
}

net::Task<Status> RaiseEpoch(Node& node, uint64_t least) {
  MUSTER_CO_TRY(uint64_t epoch, co_await OwnEpoch(node));
  if (epoch >= least) co_return Done();
  const Command bump = {"CLUSTER", "BUMPEPOCH"};
  MUSTER_CO_DO(co_await node.Do(bump, "CLUSTER BUMPEPOCH"));
  MUSTER_CO_TRY(epoch, co_await OwnEpoch(node));
  if (epoch >= least) co_return Done();
  co_return Error::Conflict("epoch-low", "its epoch is {}, and others have heard of {}", epoch, least)
      .Hint("nothing: it is raised again once it has heard of that, too");
}

}  // namespace

net::Task<Result<Values>> SetEpoch(Node& node, Values args) {
  if (const auto least = redis::ParseNumber<uint64_t>(redis::TextAt(args, "least"))) {
    MUSTER_CO_DO(co_await RaiseEpoch(node, *least));
    co_return Values{};
  }
  const std::string number = redis::TextAt(args, "number");
  if (number.empty()) co_return Error::Invalid("bad-args", "epoch needs a number");
  MUSTER_CO_TRY(const uint64_t epoch, co_await OwnEpoch(node));
  if (std::to_string(epoch) == number) co_return Values{};
  const Command command = {"CLUSTER", "SET-CONFIG-EPOCH", number};
  MUSTER_CO_DO(co_await node.Do(command, "CLUSTER SET-CONFIG-EPOCH"));
  MUSTER_FAULT("redis-cluster.epoch-set");
  co_return Values{};
}

}  // namespace muster::redis_cluster
