#include "recipes/redis_primary/mender.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/lease.h"
#include "recipes/redis_primary/picture.h"

namespace muster::redis_primary {
namespace {

constexpr int64_t kTermsOfAnEpoch = 1'000'000;
constexpr Duration kSoon = 100ms;
constexpr Duration kOrderWithin = 15s;

std::string Text(int64_t number) { return std::to_string(number); }

// An election: from the loss of a primary until there is another.
struct Election {
  int64_t term = 0;
  std::string heir;              // to whom the last primary has handed over
  std::optional<Time> fenced;    // since when all who can be reached follow nobody
  std::set<std::string> wanted;  // whom `promote` was sent to
};

struct Request {
  int64_t from_term = 0;  // the highest when it was first seen
  std::string target;     // of a switchover
};

// What has to outlast one look.
struct Memory {
  int64_t given_out = 0;  // the highest term
  Election election;
  // Whom `promote` was sent to, and who hasn't told since what came of it.
  std::set<std::string> promised;
  std::map<std::string, Request> requests;  // by the id of the awaited step
};

// One look at the service.
class Look {
 public:
  Look(const Mender::Input& input, Memory& memory)
      : input_(input),
        memory_(memory),
        picture_(PictureOf(input.service->name, *input.desired, *input.observed)) {
    for (Member& member : picture_.members) {
      member.silent = input.silent.contains(member.host);
      member.held = input.held.contains(member.name);
      member.missing = input.missing.contains(member.name);
      member.busy = std::find(input.busy.begin(), input.busy.end(), member.name) != input.busy.end();
    }
    for (const Step* step : input.awaited) {
      if (step->verb == "leave") leaving_.insert(step->instance);
      if (step->verb == "step-down") yielding_.insert(step->instance);
      if (step->verb == "failover" && Arg(*step, "force") == "yes") forced_ = true;
    }
    for (const Member& member : picture_.members) {
      if (!member.desired) leaving_.insert(member.name);
      if (!member.silent && !member.busy && member.role != Role::kUnknown)
        memory_.promised.erase(member.name);
    }
    yielding_.insert(leaving_.begin(), leaving_.end());
  }

  Mending Act() {
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

 private:
  static std::string Arg(const Step& step, const char* name) {
    const auto found = step.args.find(name);
    return found == step.args.end() ? "" : found->second;
  }

  void Again(Duration pause) {
    mending_.again = mending_.again == 0ms ? pause : std::min(mending_.again, pause);
  }

  void Send(const Member& member, std::string verb, std::map<std::string, std::string> args,
            std::string reason, bool notable = false) {
    if (member.busy) return Again(kSoon * 5);
    mending_.orders.push_back({.instance = member.name,
                               .verb = std::move(verb),
                               .args = std::move(args),
                               .reason = std::move(reason),
                               .deadline = kOrderWithin,
                               .notable = notable});
  }

  int64_t NewTerm() {
    memory_.given_out = std::max({memory_.given_out, picture_.term, input_.epoch * kTermsOfAnEpoch}) + 1;
    return memory_.given_out;
  }

  static std::pair<std::string, std::string> HostAndPort(const std::string& address) {
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos) return {};
    return {address.substr(0, colon), address.substr(colon + 1)};
  }

  // --- There is one that takes writes.

  // What another server, or a hand, has left.
  void Depose(const Member& primary) {
    for (const Member& member : picture_.members) {
      if (&member == &primary || !member.ready() || member.role != Role::kPrimary) continue;
      const int64_t term = std::max(picture_.term, primary.term);
      Send(member, "fence", {{"term", Text(term)}},
           fmt::format("{} is the primary, since term {}", primary.name, primary.term), true);
    }
  }

  void Tend(const Member& primary) {
    if (!primary.ready()) return;  // its own agent kills it where it hangs
    if (primary.term < picture_.term) return Renew(primary);
    // While it hands over it is known to whom.
    if (!primary.busy || memory_.election.heir.empty()) memory_.election = {};
    // What it is to be is under way.
    if (HandOver(primary)) return;
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
  void Renew(const Member& primary) {
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
  const Member* BestHeir(const Member& primary, const std::string& wanted) const {
    const Member* best = nullptr;
    for (const Member& member : picture_.members) {
      if (&member == &primary || member.busy || leaving_.contains(member.name) ||
          !member.linked_to(primary) || !IsInSync(member, &primary) || member.copy != primary.copy ||
          (!wanted.empty() && member.name != wanted))
        continue;
      if (!best || Precedes(member, *best)) best = &member;
    }
    return best;
  }

  // By offset, then the host that the file prefers.
  bool Precedes(const Member& one, const Member& other) const {
    if (one.offset != other.offset) return one.offset > other.offset;
    const std::string prefer = PreferOf(*input_.service);
    return one.host == prefer && other.host != prefer;
  }

  // Whom the awaited steps want instead of `primary`: nullopt: nobody; "": whoever is best.
  std::optional<std::string> WantedInstead(const Member& primary, std::string* why) {
    for (const Step* step : input_.awaited) {
      if ((step->verb == "step-down" || step->verb == "leave") && step->instance == primary.name &&
          !Alone(primary)) {
        *why = step->reason.empty() ? "it is to step down" : step->reason;
        return "";
      }
      if (step->verb != "switchover") continue;
      Request& request = memory_.requests[step->id];
      if (request.target.empty()) request.target = SwitchoverTarget(primary, Arg(*step, "to"));
      if (request.target.empty() || request.target == primary.name) continue;
      *why = "asked for";
      return request.target;
    }
    return std::nullopt;
  }

  std::string SwitchoverTarget(const Member& primary, const std::string& to) const {
    if (!to.empty()) return to;
    const std::string prefer = PreferOf(*input_.service);
    if (!prefer.empty() && primary.host != prefer) {
      for (const Member& member : picture_.members) {
        if (member.host == prefer && member.desired) return member.name;
      }
    }
    const Member* heir = BestHeir(primary, "");
    return heir ? heir->name : "";
  }

  // Nobody else will ever be there to take over.
  bool Alone(const Member& primary) const {
    return std::none_of(picture_.members.begin(), picture_.members.end(), [&](const Member& member) {
      return &member != &primary && !member.held && !leaving_.contains(member.name);
    });
  }

  bool HandOver(const Member& primary) {
    std::string why;
    const auto wanted = WantedInstead(primary, &why);
    if (!wanted) return false;
    const Member* heir = BestHeir(primary, *wanted);
    if (!heir || primary.busy) return false;
    memory_.election.term = NewTerm();
    memory_.election.heir = heir->name;
    const auto [host, port] = HostAndPort(heir->address);
    Send(primary, "hand-over", {{"term", Text(memory_.election.term)}, {"host", host}, {"port", port}},
         fmt::format("{} takes over: {}", heir->name, why), true);
    return true;
  }

  // --- There is none.

  void Elect() {
    for (const Member& member : picture_.members) {
      // An agent that has just started asks first.
      if (member.alive() && member.role == Role::kUnknown && member.state != InstanceState::kStopping)
        return Again(kSoon);
    }
    if (picture_.copy == 0) return Form();
    if (!SureOfNoOther()) return;
    const Member* heir = Choose();
    if (heir) Promote(*heir);
  }

  // The first primary. Of several that start side by side it is the one on the host that the file prefers,
  // else the first.
  void Form() {
    std::vector<std::string> unknown;
    for (const Member& member : picture_.members) {
      if (!member.desired || member.missing || member.held) continue;
      // Who was to be the first may be it since, though nobody has told.
      if (member.told && !memory_.promised.contains(member.name)) continue;
      if (member.silent) {
        unknown.push_back(member.name);
      } else if (!member.told) {
        return;  // it is being installed
      }
    }
    if (!unknown.empty() && !forced_) {
      return Say(fmt::format("nobody who is heard has data, and {} may have: its host is silent",
                             Join(unknown, ", ")));
    }
    if (!SureOfNoOther()) return;
    const std::string prefer = PreferOf(*input_.service);
    const Member* first = nullptr;
    for (const Member& member : picture_.members) {
      if (!member.desired || member.held || leaving_.contains(member.name)) continue;
      const bool preferred = member.host == prefer;
      const bool starts = (member.busy || member.state == InstanceState::kStarting) && !member.silent;
      const bool comes =
          preferred && (member.running() || member.state == InstanceState::kBackoff) && !member.silent;
      if (!member.ready() && (comes || (starts && !first))) return Again(kSoon);
      if (!member.ready() || member.loading) continue;
      if (!first || (preferred && first->host != prefer)) first = &member;
    }
    if (first) Promote(*first);
  }

  // On a silent host, and for all that is known it takes writes.
  bool MayBePrimary(const Member& member) const {
    if (!member.silent) return false;
    if (memory_.promised.contains(member.name)) return true;
    if (!member.told) return !member.missing && !member.held;
    return member.role == Role::kPrimary || (member.role == Role::kUnknown && member.was_primary);
  }

  void Say(std::string why) {
    refusal_ = why;
    mending_.says.push_back(
        fmt::format("{}: muster failover {} --force does without", why, input_.service->name));
  }

  // Whether certainly nobody takes writes any more. Sees to it that it comes to that, where it can.
  bool SureOfNoOther() {
    std::vector<const Member*> unseen;
    Time since = Time::min();
    Duration lease = LeaseOf(*input_.service);
    for (const Member& member : picture_.members) {
      if (!MayBePrimary(member)) continue;
      unseen.push_back(&member);
      const auto silent = input_.silent_since.find(member.host);
      since = std::max(since, silent == input_.silent_since.end() ? input_.now : silent->second);
      if (member.lease.hosts > 0) lease = std::max(lease, member.lease.lease);
    }
    if (unseen.empty()) return true;
    if (!forced_) {
      for (const Member* one : unseen) {
        if (StaysPrimary(*one) || !HasMajority(*one)) return false;
      }
    }
    const Member& one = *unseen.front();
    Election& election = memory_.election;
    if (election.term <= picture_.copy || election.term < picture_.term) {
      election = {};
      election.term = NewTerm();
    }
    if (!FenceAll(fmt::format("{} is silent, and {} may have been cut off", one.host, one.name), unseen))
      return false;
    if (!election.fenced) election.fenced = input_.now;
    const Time over = LeaseOver(lease, since, *election.fenced);
    if (input_.now >= over) return true;
    Again(over - input_.now);
    waits_ =
        fmt::format("{} is silent; its lease runs out in {}", one.host, FormatDuration(over - input_.now));
    return false;
  }

  // A replica of it is heard, and hears it.
  bool StaysPrimary(const Member& unseen) {
    for (const Member& member : picture_.members) {
      if (!member.alive() || !member.linked_to(unseen)) continue;
      // No word of --force: nothing is out of order but what muster sees.
      mending_.says.push_back(fmt::format("{} is silent; {} hears {} there, which stays the primary",
                                          unseen.host, member.name, unseen.name));
      Again(kSoon * 5);
      return true;
    }
    return false;
  }

  bool HasMajority(const Member& unseen) {
    const std::set<std::string> counted = CountedHosts(*input_.service, *input_.desired);
    size_t heard = 0;
    for (const std::string& host : counted) heard += !input_.silent.contains(host);
    const bool majority = 2 * heard > counted.size();
    // By the terms that it was told last, which may be those of another file.
    if (majority && !MayHaveMajority(unseen.lease, unseen.host, input_.silent)) return true;
    Say(fmt::format(
        "{} is silent, so nobody can tell whether {} is gone or goes on; {} of {} hosts {} heard, "
        "which is no majority{}",
        unseen.host, unseen.name, heard, counted.size(), heard == 1 ? "is" : "are",
        majority ? " of those that it counts" : ""));
    return false;
  }

  // Nobody whom muster reaches says any more that it follows one of `unseen`. Whoever can't be told so, and
  // isn't dead, is waited for.
  bool FenceAll(const std::string& reason, const std::vector<const Member*>& unseen) {
    bool all = true;
    for (const Member& member : picture_.members) {
      if (member.silent || !member.running()) continue;
      if (member.term >= memory_.election.term && member.role == Role::kFenced) continue;
      if (member.ready()) {
        Send(member, "fence", {{"term", Text(memory_.election.term)}}, reason);
        all = false;
      } else if (std::any_of(unseen.begin(), unseen.end(),
                             [&](const Member* one) { return member.follows(*one); })) {
        all = false;
      }
    }
    if (!all) Again(kSoon);
    return all;
  }

  bool CanBeElected(const Member& member) const {
    return member.ready() && !member.held && !member.loading && member.copy > 0 &&
           member.role != Role::kUnknown;
  }

  // Its process has had all that the last primary had, but for what was on its way.
  bool IsInSync(const Member& member, const Member* last) const {
    if (!CanBeElected(member) || member.copy != picture_.copy || !member.synced) return false;
    return last && (&member == last || last->linked.contains(member.address));
  }

  const Member* Choose() {
    const Member* last = picture_.Last();
    if (const Member* heir = picture_.Find(memory_.election.heir);
        heir && last && last != heir && last->role == Role::kFenced && IsInSync(*heir, last)) {
      return heir->busy ? nullptr : heir;
    }
    std::vector<const Member*> able;
    for (const Member& member : picture_.members) {
      if (IsInSync(member, last)) able.push_back(&member);
    }
    if (!able.empty()) return Best(std::move(able));
    if (last && !last->silent && !last->held) {
      // It has what nobody else has.
      if (CanBeElected(*last)) return last->busy ? nullptr : last;
      const bool comes = last->busy || last->running() || last->state == InstanceState::kBackoff;
      if (comes) {
        waits_ = fmt::format("{}, which was the primary, starts again", last->name);
        Again(kSoon);
        return nullptr;
      }
    }
    return ChooseOlder(last);
  }

  // What is left isn't known to be all there was.
  const Member* ChooseOlder(const Member* last) {
    std::vector<const Member*> able;
    bool unknown = false;
    for (const Member& member : picture_.members) {
      unknown = unknown || (member.desired && !member.told && !member.missing) || member.silent;
      if (CanBeElected(member) && !leaving_.contains(member.name)) able.push_back(&member);
    }
    if (able.empty()) {
      waits_ = "no member with data is ready";
      return nullptr;
    }
    const int64_t newest = (*std::max_element(able.begin(), able.end(), [](const Member* a, const Member* b) {
                             return a->copy < b->copy;
                           }))->copy;
    std::erase_if(able, [&](const Member* member) { return member->copy < newest; });
    const bool lost = !last && !unknown && newest == picture_.copy;  // no better one exists
    if (!lost && !forced_) {
      const std::string who = last ? last->name : "the last primary";
      Say(fmt::format("{} has writes that {} may lack, and is not there", who, able.front()->name));
      return nullptr;
    }
    const bool any_synced =
        std::any_of(able.begin(), able.end(), [](const Member* member) { return member->synced; });
    if (any_synced) std::erase_if(able, [](const Member* member) { return !member->synced; });
    return Best(std::move(able));
  }

  // Who has most. Where there are several, how far each is is asked anew: they are fenced, which tells.
  const Member* Best(std::vector<const Member*> able) {
    const bool stays = std::any_of(able.begin(), able.end(),
                                   [&](const Member* one) { return !yielding_.contains(one->name); });
    if (stays) std::erase_if(able, [&](const Member* one) { return yielding_.contains(one->name); });
    if (able.size() > 1) {
      Election& election = memory_.election;
      if (election.term <= picture_.copy || election.term < picture_.term) {
        election = {};
        election.term = NewTerm();
      }
      bool all = true;
      for (const Member* member : able) {
        if (member->term == election.term && member->role == Role::kFenced) continue;
        Send(*member, "fence", {{"term", Text(election.term)}}, "who has most becomes primary");
        all = false;
      }
      if (!all) {
        Again(kSoon);
        return nullptr;
      }
    }
    const Member* best = able.front();
    for (const Member* member : able) {
      if (Precedes(*member, *best)) best = member;
    }
    return best->busy ? nullptr : best;
  }

  void Promote(const Member& heir) {
    Election& election = memory_.election;
    if (election.term == 0 || election.term < picture_.term || election.term <= picture_.copy) {
      election = {};
      election.term = NewTerm();
    }
    // Nobody else in this term: it may have come about there though nobody has told.
    if (!election.wanted.empty() && !election.wanted.contains(heir.name)) {
      election = {};
      election.term = NewTerm();
    }
    if (heir.busy) return;
    election.wanted.insert(heir.name);
    memory_.promised.insert(heir.name);
    const Member* last = picture_.Last();
    std::string why = picture_.copy == 0        ? "the first primary"
                      : !last                   ? "the last primary's data is gone"
                      : last->name == heir.name ? "it was the primary"
                      : last->role == Role::kFenced && last->alive()
                          ? fmt::format("{} has handed over", last->name)
                          : fmt::format("{}, the primary, is {}", last->name,
                                        last->silent ? "silent" : StateName(last->state));
    Send(heir, "promote", {{"term", Text(election.term)}, {"copy", Text(heir.copy)}}, std::move(why), true);
  }

  // --- What is waited for.

  void RememberRequests() {
    std::set<std::string> ids;
    for (const Step* step : input_.awaited) {
      ids.insert(step->id);
      memory_.requests.try_emplace(step->id, Request{.from_term = picture_.term, .target = ""});
    }
    std::erase_if(memory_.requests, [&](const auto& entry) { return !ids.contains(entry.first); });
  }

  std::string NoPrimary() const {
    if (!waits_.empty()) return waits_;
    return refusal_.empty() ? "there is no primary at the moment" : refusal_;
  }

  void AnswerRequests() {
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

  void AnswerSettle(const Step& step, const Member* primary) {
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

  void AnswerStepDown(const Step& step, const Member* primary) {
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

  void AnswerSwitchover(const Step& step, const Member* primary) {
    const Request& request = memory_.requests[step.id];
    if (primary && picture_.members.size() <= 1) {
      mending_.refused.emplace(step.id, Error::Refused("no-replica", "{} has no replica that could take over",
                                                       input_.service->name)
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

  void AnswerFailover(const Step& step, const Member* primary) {
    const Request& request = memory_.requests[step.id];
    if (primary && primary->term > request.from_term && primary->ready()) {
      mending_.waits[step.id] = std::nullopt;
    } else if (primary && primary->ready()) {
      mending_.refused.emplace(
          step.id, Error::Refused("primary-is-well", "{} is the primary, and it is well", primary->name)
                       .Hint("muster switchover {} makes another the primary, without a lost write",
                             input_.service->name));
    } else if (!refusal_.empty() && !forced_) {
      mending_.refused.emplace(step.id,
                               Error::Refused("failover-refused", "{}", refusal_)
                                   .Hint("muster failover {} --force does it all the same; writes that "
                                         "only the silent one has are lost",
                                         input_.service->name));
    } else {
      mending_.waits[step.id] = NoPrimary();
    }
  }

  const Mender::Input& input_;
  Memory& memory_;
  Picture picture_;
  Mending mending_;
  std::set<std::string> leaving_;   // for good
  std::set<std::string> yielding_;  // those, and who is to step down
  bool forced_ = false;
  std::string refusal_, waits_;
};

class RedisPrimaryMender : public Mender {
 public:
  Mending On(const Input& input) override { return Look(input, memory_).Act(); }

 private:
  Memory memory_;
};

}  // namespace

std::unique_ptr<Mender> MakeRedisPrimaryMender() { return std::make_unique<RedisPrimaryMender>(); }

}  // namespace muster::redis_primary
