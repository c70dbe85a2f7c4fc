#include "recipes/redis_primary/health.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/common/member_change.h"
#include "recipes/redis/member_layout.h"
#include "recipes/redis_primary/change.h"
#include "recipes/redis_primary/drill.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/mender.h"
#include "recipes/redis_primary/operator.h"
#include "recipes/redis_primary/picture.h"
#include "recipes/redis_primary/redis_primary.h"

namespace muster::redis_primary {
namespace {

std::string Bytes(int64_t bytes) {
  if (bytes < 10 << 10) return fmt::format("{} B", bytes);
  if (bytes < 10 << 20) return fmt::format("{} KiB", bytes >> 10);
  return fmt::format("{} MiB", bytes >> 20);
}

class Doctor {
 public:
  Doctor(const std::vector<Instance>& desired, const std::map<std::string, Observed>& observed)
      : health_(common::MemberHealth(desired, observed)),
        picture_(PictureOf(desired.empty() ? "" : desired.front().service, desired, observed)) {}

  ServiceHealth Look() {
    const bool told = std::any_of(picture_.members.begin(), picture_.members.end(),
                                  [](const Member& member) { return member.told; });
    if (!told) return health_;
    const Member* primary = picture_.Primary();
    if (!primary || !primary->ready()) {
      LookForPrimary(primary);
    } else {
      LookAtPrimary(*primary);
      for (const Member& member : picture_.members) {
        if (&member != primary && member.ready() && member.desired) LookAtReplica(member, *primary);
      }
    }
    return health_;
  }

 private:
  void Say(Health health, std::string reason) {
    health_.reasons.push_back(std::move(reason));
    health_.health = std::max(health_.health, health);
  }

  void LookForPrimary(const Member* primary) {
    if (primary) return Say(Health::kRed, fmt::format("{}, the primary, does not answer", primary->name));
    const auto any_follower = [&](const Member& member, bool linked) {
      return std::any_of(picture_.members.begin(), picture_.members.end(), [&](const Member& other) {
        return other.ready() && !other.not_asked && other.follows(member) &&
               other.linked_to(member) == linked;
      });
    };
    for (const Member& member : picture_.members) {
      if (!MayBePrimary(member)) continue;
      const bool missed = any_follower(member, false) && !any_follower(member, true);
      return Say(missed ? Health::kRed : Health::kYellow,
                 fmt::format("{}'s agent has just come back: whether {}, the primary, takes writes is not "
                             "known yet{}",
                             member.name, member.name, missed ? ", and no replica is linked to it" : ""));
    }
    for (const Member& member : picture_.members) {
      if (!member.silent || member.role != Role::kPrimary) continue;
      const bool heard = any_follower(member, true);
      return Say(heard ? Health::kYellow : Health::kRed,
                 fmt::format("{}, the primary, stands on {}, which is silent", member.name, member.host));
    }
    if (const std::vector<std::string> bereft = picture_.Bereft(); !bereft.empty()) {
      return Say(Health::kRed, fmt::format("there is no primary, and all data is gone: {} had it, and nobody "
                                           "has a copy",
                                           Join(bereft, ", ")));
    }
    Say(Health::kRed,
        picture_.copy == 0 ? "nobody is primary yet" : "there is no primary: nobody takes writes");
  }

  // It was the primary when an agent last knew, and no other has been made one since.
  bool MayBePrimary(const Member& member) const {
    const bool was = member.role == Role::kPrimary || (member.role == Role::kUnknown && member.told);
    return member.not_asked && member.running() && was && member.term >= picture_.term;
  }

  void LookAtPrimary(const Member& primary) {
    if (primary.refuses_writes())
      Say(Health::kRed, fmt::format("{}, the primary, refuses writes: {}", primary.name, primary.write));
    else if (!primary.disk_ok())
      Say(Health::kRed, fmt::format("{}, the primary, may refuse writes: {}", primary.name, primary.write));
    if (primary.term < picture_.term)
      health_.unsettled.push_back(fmt::format("a term after that of {} is known", primary.name));
  }

  void LookAtReplica(const Member& member, const Member& primary) {
    if (member.not_asked && (member.role == Role::kFenced || member.role == Role::kUnknown)) {
      Say(Health::kYellow,
          fmt::format("{}'s agent has just come back: whether it is linked to {} is not known yet",
                      member.name, primary.name));
    } else if (member.role == Role::kPrimary) {
      Say(Health::kYellow,
          fmt::format("{}, a stale primary, takes writes beside {}, the primary", member.name, primary.name));
    } else if (!member.follows(primary) || member.term != primary.term) {
      Say(Health::kYellow, fmt::format("{} does not follow {} yet", member.name, primary.name));
      health_.unsettled.push_back(fmt::format("{} does not follow {} yet", member.name, primary.name));
    } else if (!member.linked_to(primary)) {
      Say(Health::kYellow, fmt::format("{} is not linked to {}{}", member.name, primary.name,
                                       member.loading ? ": it takes over its data" : ""));
    } else if (!primary.linked.contains(member.address)) {
      // Until then nobody would put it in the place of a primary that ends.
      Say(Health::kYellow, fmt::format("{}, the primary, has not told yet that {} is linked to it",
                                       primary.name, member.name));
    } else if (!member.disk_ok()) {
      Say(Health::kYellow, fmt::format("{}: {}", member.name, member.write));
    }
  }

  ServiceHealth health_;
  const Picture picture_;
};

}  // namespace

ServiceHealth HealthOf(const std::vector<Instance>& desired,
                       const std::map<std::string, Observed>& observed) {
  return Doctor(desired, observed).Look();
}

std::map<std::string, std::string> RolesOf(const std::vector<Instance>& desired,
                                           const std::map<std::string, Observed>& observed) {
  const Picture picture = PictureOf(desired.empty() ? "" : desired.front().service, desired, observed);
  std::map<std::string, std::string> roles;
  const Member* serving = picture.Primary();
  for (const Member& member : picture.members) {
    if (!member.running()) continue;
    // One of an earlier term that hasn't heard of its successor yet: it takes writes until its lease ends.
    const bool stale = serving && serving != &member && member.term < serving->term;
    if (member.role == Role::kPrimary)
      roles[member.name] = stale ? "stale primary, beside " + serving->name : "primary";
    if (member.role == Role::kFenced && !member.not_asked)
      roles[member.name] = "fenced: takes no writes, follows nobody";
    if (member.role != Role::kReplica) continue;
    const auto primary = std::find_if(picture.members.begin(), picture.members.end(),
                                      [&](const Member& other) { return other.address == member.primary; });
    const bool known = primary != picture.members.end();
    std::string role = "replica of " + (known ? primary->name : member.primary);
    const auto behind = known ? primary->behind.find(member.address) : decltype(primary->behind.end()){};
    if (member.link == "up" && known && behind != primary->behind.end()) {
      role += fmt::format(", {} behind", Bytes(behind->second));
    } else if (member.link != "up") {
      role += member.loading ? ", takes over its data" : ", not linked";
    }
    roles[member.name] = role;
  }
  return roles;
}

}  // namespace muster::redis_primary

namespace muster {

Recipe MakeRedisPrimaryRecipe() {
  Recipe recipe;
  auto layout = std::make_unique<redis_primary::RedisPrimaryLayout>();
  recipe.change = std::make_unique<redis_primary::RedisPrimaryChange>(layout.get());
  recipe.layout = std::move(layout);
  recipe.make_mender = redis_primary::MakeRedisPrimaryMender;
  recipe.make_operator = redis_primary::MakeRedisPrimaryOperator;
  recipe.health = redis_primary::HealthOf;
  recipe.roles = redis_primary::RolesOf;
  recipe.takes = {"switchover", "failover"};
  recipe.drill = {.primaries = redis_primary::DrillPrimaries, .make_client = redis_primary::MakeDrillClient};
  recipe.for_browsers = false;
  recipe.asks_again = redis::kAsksAgain;
  recipe.never_thawed = true;
  recipe.gives_before_it_leaves = true;
  return recipe;
}

}  // namespace muster
