#include "recipes/redis_primary/mender.h"

#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis/words.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/look.h"

namespace muster::redis_primary {
namespace {

constexpr int64_t kTermsOfAnEpoch = 1'000'000;
constexpr Duration kOrderWithin = 15s;

}  // namespace

Look::Look(const Mender::Input& input, Memory& memory)
    : input_(input),
      memory_(memory),
      picture_(PictureOf(input.service->name, *input.desired, *input.observed)) {
  for (Member& member : picture_.members) {
    member.silent = input.silent.contains(member.host);
    member.held = input.held.contains(member.name);
    member.missing = input.missing.contains(member.name);
    member.heard = memory.moments.Of(member.name, "unheard_ms", member.unheard_ms, false, input.now);
    member.answered = memory.moments.Of(member.name, "answered_ms", member.answered_ms, true, input.now);
    member.busy = std::find(input.busy.begin(), input.busy.end(), member.name) != input.busy.end();
  }
  for (const Step* step : input.awaited) {
    if (step->verb == "leave") leaving_.insert(step->instance);
    if (step->verb == "step-down") yielding_.insert(step->instance);
    if (step->verb == "failover" && redis::TextAt(step->args, "force") == "yes") forced_ = true;
    if (step->verb == "failover" && redis::TextAt(step->args, "accept_loss") == "yes") accepted_ = true;
  }
  for (const Member& member : picture_.members) {
    if (!member.desired) leaving_.insert(member.name);
    if (!member.silent && !member.busy && member.role != Role::kUnknown) memory_.promised.erase(member.name);
  }
  yielding_.insert(leaving_.begin(), leaving_.end());
}

Mending Look::Act() {
  RememberRequests();
  if (const Member* primary = picture_.Primary()) {
    Depose(*primary);
    Tend(*primary);
  } else {
    Elect();
  }
  AnswerRequests();
  return std::move(mending_);
}

void Look::Again(Duration pause) {
  mending_.again = mending_.again == 0ms ? pause : std::min(mending_.again, pause);
}

void Look::Send(const Member& member, std::string verb, std::map<std::string, std::string> args,
                std::string reason, bool notable) {
  if (member.busy) return Again(kSoon * 5);
  mending_.orders.push_back({.instance = member.name,
                             .verb = std::move(verb),
                             .args = std::move(args),
                             .reason = std::move(reason),
                             .deadline = kOrderWithin,
                             .notable = notable});
}

int64_t Look::NewTerm() {
  memory_.given_out = std::max({memory_.given_out, picture_.term, input_.epoch * kTermsOfAnEpoch}) + 1;
  return memory_.given_out;
}

std::pair<std::string, std::string> Look::HostAndPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {};
  return {address.substr(0, colon), address.substr(colon + 1)};
}

// What another server, or a hand, has left.
void Look::Depose(const Member& primary) {
  for (const Member& member : picture_.members) {
    if (&member == &primary || !member.ready() || member.role != Role::kPrimary) continue;
    const int64_t term = std::max(picture_.term, primary.term);
    Send(member, "fence", {{"term", Text(term)}},
         fmt::format("{} is the primary, since term {}", primary.name, primary.term), true);
  }
}

void Look::Tend(const Member& primary) {
  if (!primary.ready()) return;  // its own agent kills it where it hangs
  if (primary.term < picture_.term) return Renew(primary);
  // While it hands over it is known to whom.
  if (!primary.busy || memory_.election.heir.empty()) memory_.election = {};
  // What it is to be is under way.
  if (HandOver(primary) || Relieve(primary)) return;
  if (primary.busy) return Again(kSoon * 5);
  const auto [host, port] = HostAndPort(primary.address);
  for (const Member& member : picture_.members) {
    if (&member == &primary || !member.ready() || member.role == Role::kUnknown ||
        member.role == Role::kPrimary || member.held)
      continue;
    if (member.follows(primary) && member.term == primary.term) continue;
    Send(member, "follow", {{"term", Text(primary.term)}, {"host", host}, {"port", port}},
         fmt::format("{} is the primary", primary.name));
  }
}

// Others were ordered in a later term, as if it were gone. Where nobody can have become primary in it, it
// goes on, in a term of its own; else it is one of those to be elected from.
void Look::Renew(const Member& primary) {
  for (const Member& member : picture_.members) {
    const bool unsure = member.silent && (!member.told || member.role == Role::kPrimary ||
                                          memory_.promised.contains(member.name));
    const bool newer = member.copy > primary.copy;
    if (!unsure && !newer) continue;
    Send(primary, "fence", {{"term", Text(picture_.term)}},
         fmt::format("{} may be the primary of term {}", member.name, picture_.term), true);
    return;
  }
  memory_.election = {};
  const int64_t term = NewTerm();
  Send(primary, "promote", {{"term", Text(term)}, {"copy", Text(primary.copy)}},
       "it is still there, and nobody has taken its place", true);
}

// --- Planned: a replica that has everything takes over.

// Whoever could not be elected once the primary has handed over is none: it would be primary again.
const Member* Look::BestHeir(const Member& primary, const std::string& wanted) const {
  const Member* best = nullptr;
  for (const Member& member : picture_.members) {
    if (&member == &primary || member.busy || leaving_.contains(member.name) || !member.linked_to(primary) ||
        !IsInSync(member, &primary) || member.copy != primary.copy ||
        (!wanted.empty() && member.name != wanted))
      continue;
    if (!best || Precedes(member, *best)) best = &member;
  }
  return best;
}

// By offset, then the host that the file prefers.
bool Look::Precedes(const Member& one, const Member& other) const {
  if (one.offset != other.offset) return one.offset > other.offset;
  const std::string prefer = PreferOf(*input_.service);
  return one.host == prefer && other.host != prefer;
}

// Whom the awaited steps want instead of `primary`: nullopt: nobody; "": whoever is best.
std::optional<std::string> Look::WantedInstead(const Member& primary, std::string* why) {
  for (const Step* step : input_.awaited) {
    if ((step->verb == "step-down" || step->verb == "leave") && step->instance == primary.name &&
        !Alone(primary)) {
      *why = step->reason.empty() ? "it is to step down" : step->reason;
      return "";
    }
    if (step->verb != "switchover") continue;
    Request& request = memory_.requests[step->id];
    if (request.target.empty()) request.target = SwitchoverTarget(primary, redis::TextAt(step->args, "to"));
    if (request.target.empty() || request.target == primary.name) continue;
    *why = "asked for";
    return request.target;
  }
  return std::nullopt;
}

std::string Look::SwitchoverTarget(const Member& primary, const std::string& to) const {
  if (!to.empty()) return to;
  const std::string prefer = PreferOf(*input_.service);
  if (!prefer.empty() && primary.host == prefer) return primary.name;
  if (!prefer.empty()) {
    for (const Member& member : picture_.members) {
      if (member.host == prefer && member.desired) return member.name;
    }
  }
  const Member* heir = BestHeir(primary, "");
  return heir ? heir->name : "";
}

// Nobody else will ever be there to take over.
bool Look::Alone(const Member& primary) const {
  return std::none_of(picture_.members.begin(), picture_.members.end(), [&](const Member& member) {
    return &member != &primary && !member.held && !leaving_.contains(member.name);
  });
}

bool Look::HandOver(const Member& primary) {
  std::string why;
  const auto wanted = WantedInstead(primary, &why);
  if (!wanted) return false;
  const Member* heir = BestHeir(primary, *wanted);
  if (!heir || primary.busy) return false;
  SendHandOver(primary, *heir, why);
  return true;
}

void Look::SendHandOver(const Member& primary, const Member& heir, const std::string& why) {
  memory_.election.term = NewTerm();
  memory_.election.heir = heir.name;
  const auto [host, port] = HostAndPort(heir.address);
  Send(primary, "hand-over", {{"term", Text(memory_.election.term)}, {"host", host}, {"port", port}},
       fmt::format("{} takes over: {}", heir.name, why), true);
}

// One that refuses writes because of its disk hands over to a replica on another host, whose disk takes
// them. It has acknowledged nothing meanwhile, so nothing is lost by that. Whoever refuses them, too, is no
// heir, so it doesn't go back before its disk takes writes again; and then nobody asks for it.
bool Look::Relieve(const Member& primary) {
  if (!primary.refuses_writes()) {
    memory_.relieved.reset();
    return false;
  }
  const Member* best = nullptr;
  for (const Member& member : picture_.members) {
    if (member.host == primary.host || !member.disk_ok() || member.held || member.silent || !member.desired ||
        BestHeir(primary, member.name) != &member)
      continue;
    if (!best || Precedes(member, *best)) best = &member;
  }
  if (!best) {
    mending_.says.push_back(fmt::format(
        "no replica on another host that is linked, and whose disk takes writes, could take over from {}: "
        "see to its disk",
        primary.name));
    return false;
  }
  if (primary.busy) return false;
  if (memory_.relieved && input_.now < *memory_.relieved + kRelieveAgain) {
    Again(*memory_.relieved + kRelieveAgain - input_.now);
    return false;
  }
  memory_.relieved = input_.now;
  SendHandOver(primary, *best, fmt::format("{} can't write ({})", primary.name, primary.write));
  return true;
}

namespace {

class RedisPrimaryMender : public Mender {
 public:
  Mending On(const Input& input) override { return Look(input, memory_).Act(); }

 private:
  Memory memory_;
};

}  // namespace

std::unique_ptr<Mender> MakeRedisPrimaryMender() { return std::make_unique<RedisPrimaryMender>(); }

}  // namespace muster::redis_primary
