#include "recipes/redis_cluster/mender.h"

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster {
namespace {

class RedisClusterMender : public Mender {
 public:
  Mending On(const Input& input) override {
    // Who has an order of ours and is busy: it is under way. Else it has ended.
    const std::set<std::string> busy(input.busy.begin(), input.busy.end());
    std::erase_if(memory_.under_way, [&](const auto& order) { return !busy.contains(order.first); });
    std::set<std::string> ordered;
    for (const auto& [name, order] : memory_.under_way) ordered.insert(name);

    const mending::Situation situation = mending::Survey(input, ordered, memory_.views, memory_.moments);
    mending::Orders orders(situation, memory_);
    Mending waits;
    mending::FailOver(situation, memory_, orders);
    mending::MarkAnew(situation, orders);
    mending::StepDowns(situation, memory_, orders, waits);
    mending::Relieve(situation, memory_, orders);
    mending::Requests(situation, memory_, orders, waits);
    if (!mending::Form(situation, memory_, orders)) {
      mending::Membership(situation, memory_, orders);
      const mending::Roles roles = mending::RolesOf(situation);
      mending::Leaves(situation, roles, memory_, orders, waits);
      mending::Replicas(situation, roles, orders);
      mending::Slots(situation, roles, memory_, orders);
    }
    mending::Settles(situation, memory_, orders, waits);
    Mending mending = orders.Take();
    mending.waits = std::move(waits.waits);
    mending.refused = std::move(waits.refused);
    return mending;
  }

 private:
  mending::Memory memory_;
};

}  // namespace

std::unique_ptr<Mender> MakeRedisClusterMender() { return std::make_unique<RedisClusterMender>(); }

}  // namespace muster::redis_cluster
