// What a run, or a person, waits for: whether it has come about.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis/words.h"
#include "recipes/redis_primary/look.h"

namespace muster::redis_primary {

void Look::RememberRequests() {
  std::set<std::string> ids;
  for (const Step* step : input_.awaited) {
    ids.insert(step->id);
    memory_.requests.try_emplace(step->id, Request{.from_term = picture_.term, .target = ""});
  }
  std::erase_if(memory_.requests, [&](const auto& entry) { return !ids.contains(entry.first); });
}

std::string Look::NoPrimary() const {
  if (!waits_.empty()) return waits_;
  return refusal_.empty() ? "there is no primary at the moment" : refusal_;
}

void Look::AnswerRequests() {
  const Member* primary = picture_.Primary();
  for (const Step* step : input_.awaited) {
    if (step->verb == "settle") AnswerSettle(*step, primary);
    if (step->verb == "step-down" || step->verb == "leave") AnswerStepDown(*step, primary);
    if (step->verb == "switchover") AnswerSwitchover(*step, primary);
    if (step->verb == "failover") AnswerFailover(*step, primary);
  }
  // What is in the way now (a step under way) may end without anybody telling of anything new.
  for (const auto& [id, why] : mending_.waits) {
    if (why) Again(kSoon * 5);
  }
}

void Look::AnswerSettle(const Step& step, const Member* primary) {
  if (!primary) {
    mending_.waits[step.id] = NoPrimary();
    return;
  }
  std::vector<std::string> not_yet;
  for (const Member& member : picture_.members) {
    if (!member.desired || member.held || member.silent || leaving_.contains(member.name)) continue;
    const bool well = &member == primary
                          ? member.ready() && primary->term >= picture_.term
                          : member.ready() && member.linked_to(*primary) && member.term == primary->term;
    if (!well) not_yet.push_back(member.name);
  }
  mending_.waits[step.id] =
      not_yet.empty() ? std::nullopt
                      : std::optional(fmt::format("{} {} not linked to {} yet", Join(not_yet, ", "),
                                                  not_yet.size() == 1 ? "is" : "are", primary->name));
}

void Look::AnswerStepDown(const Step& step, const Member* primary) {
  const Member* member = picture_.Find(step.instance);
  const bool knows = !member || !member->alive() || member->role != Role::kUnknown;
  const bool is_primary = primary && primary == member;
  // Whoever it handed over to has to have taken over: it has what nobody else has until then.
  const bool handed = !is_primary && (primary || !member || !member->alive() || Alone(*member));
  if (member && is_primary && Alone(*member)) {
    mending_.waits[step.id] = std::nullopt;
  } else if (knows && handed) {
    mending_.waits[step.id] = std::nullopt;
  } else if (is_primary) {
    mending_.waits[step.id] = fmt::format("no replica of {} is linked yet", step.instance);
  } else {
    mending_.waits[step.id] = NoPrimary();
  }
}

void Look::AnswerSwitchover(const Step& step, const Member* primary) {
  const Request& request = memory_.requests[step.id];
  if (primary && picture_.members.size() <= 1) {
    mending_.refused.emplace(
        step.id, Error::Refused("no-replica", "{} has no replica that could take over", input_.service->name)
                     .Hint("write replicas: 1 and bring it up"));
    return;
  }
  const bool done = primary && primary->name == request.target && primary->ready();
  const std::string target = request.target.empty() ? "a replica" : request.target;
  mending_.waits[step.id] =
      done       ? std::nullopt
      : !primary ? std::optional(NoPrimary())
                 : std::optional(fmt::format("{} is not linked to {} yet", target, primary->name));
}

void Look::AnswerFailover(const Step& step, const Member* primary) {
  const Request& request = memory_.requests[step.id];
  const std::string& service = input_.service->name;
  if (primary && primary->term > request.from_term && primary->ready()) {
    mending_.waits[step.id] = std::nullopt;
  } else if (primary && primary->ready()) {
    mending_.refused.emplace(
        step.id, Error::Refused("primary-is-well", "{} is the primary, and it is well", primary->name)
                     .Hint("muster switchover {} makes another the primary, without a lost write",
                           input_.service->name));
  } else if (lost_ && redis::TextAt(step.args, "accept_loss") == "ask") {
    mending_.refused.emplace(
        step.id, Error::Refused("confirm-name", "{}: {} would begin anew, empty", refusal_, service)
                     .Hint("muster failover {} --accept-loss --confirm CLUSTER", service));
  } else if (lost_) {
    mending_.refused.emplace(
        step.id, Error::Refused("failover-refused", "{}", refusal_)
                     .Hint("muster failover {} --accept-loss begins anew, empty, where the data can't be "
                           "brought back",
                           service));
  } else if (redis::TextAt(step.args, "accept_loss") == "ask") {
    mending_.refused.emplace(
        step.id, Error::Refused("failover-refused", "{} has not lost all its data: {}", service, NoPrimary())
                     .Hint("muster failover {}", service));
  } else if (!refusal_.empty() && !forced_) {
    mending_.refused.emplace(step.id,
                             Error::Refused("failover-refused", "{}", refusal_)
                                 .Hint("muster failover {} --force does it all the same; writes that "
                                       "the last primary alone had are lost",
                                       input_.service->name));
  } else {
    mending_.waits[step.id] = NoPrimary();
  }
}

}  // namespace muster::redis_primary
