// There is no primary: who is made it, and when that is safe.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/text.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/lease.h"
#include "recipes/redis_primary/look.h"

namespace muster::redis_primary {
namespace {

// Where some are, the others are left out.
void PreferSynced(std::vector<const Member*>& able) {
  const auto synced = [](const Member* member) { return member->synced; };
  if (std::any_of(able.begin(), able.end(), synced)) std::erase_if(able, std::not_fn(synced));
}

}  // namespace

void Look::Elect() {
  for (const Member& member : picture_.members) {
    // An agent that has just started asks first.
    if (member.alive() && member.role == Role::kUnknown && member.state != InstanceState::kStopping)
      return Again(kSoon);
  }
  if (NobodyHeardHasData()) return Form();
  if (!SureOfNoOther()) return;
  const Member* heir = Choose();
  if (heir) Promote(*heir);
}

bool Look::NobodyHeardHasData() const {
  return std::none_of(picture_.members.begin(), picture_.members.end(),
                      [](const Member& member) { return !member.silent && member.copy > 0; });
}

// The first primary. Of several that start side by side it is the one on the host that the file prefers,
// else the first.
void Look::Form() {
  std::vector<std::string> unknown;
  for (const Member& member : picture_.members) {
    if (member.silent && member.copy > 0) {
      unknown.push_back(member.name);
      continue;
    }
    if (!member.desired || member.missing) continue;
    if (member.held && !member.silent) continue;  // it has told what it has
    // Who was to be the first may be it since, though nobody has told.
    if (member.told && !memory_.promised.contains(member.name)) continue;
    if (member.silent) {
      unknown.push_back(member.name);
    } else if (!member.told) {
      return;  // it is being installed
    }
  }
  if (!unknown.empty() && !accepted_) {
    const bool one = unknown.size() == 1;
    return SayLost(fmt::format("nobody who is heard has data, and {} may have: {} silent",
                               Join(unknown, ", "), one ? "its host is" : "their hosts are"));
  }
  const std::vector<std::string> bereft = picture_.Bereft();
  if (!bereft.empty() && !accepted_) {
    return SayLost(fmt::format("{} {} data, and nobody has a copy of it", Join(bereft, ", "),
                               bereft.size() == 1 ? "has lost its" : "have lost their"),
                   "nobody is made primary before a person says so");
  }
  if (!SureOfNoOther()) return;
  const std::string prefer = PreferOf(*input_.service);
  const bool filled = std::any_of(picture_.members.begin(), picture_.members.end(), [](const Member& member) {
    return member.ready() && member.lost > 0 && !member.loading && !member.empty;
  });
  const Member* first = nullptr;
  for (const Member& member : picture_.members) {
    if (!member.desired || member.held || leaving_.contains(member.name)) continue;
    const bool preferred = member.host == prefer;
    const bool starts = (member.busy || member.state == InstanceState::kStarting) && !member.silent;
    const bool comes =
        preferred && (member.running() || member.state == InstanceState::kBackoff) && !member.silent;
    if (!member.ready() && (comes || (starts && !first))) return Again(kSoon);
    if (!member.ready() || member.loading) continue;
    if (filled && member.empty) continue;  // somebody has brought data back by hand
    if (!first || (preferred && first->host != prefer)) first = &member;
  }
  if (first) Promote(*first);
}

// On a silent host, and for all that is known it takes writes.
bool Look::MayBePrimary(const Member& member) const {
  if (!member.silent) return false;
  if (memory_.promised.contains(member.name)) return true;
  if (!member.told) return !member.missing;
  return member.role == Role::kPrimary || (member.role == Role::kUnknown && member.was_primary);
}

void Look::Say(std::string why) {
  refusal_ = why;
  mending_.says.push_back(
      fmt::format("{}: muster failover {} --force does without", why, input_.service->name));
}

// There was data, and nobody has any of it. Whoever became primary now would hide that: all would be well
// again, and empty.
void Look::SayLost(std::string why, std::string_view said) {
  lost_ = true;
  mending_.says.push_back(fmt::format("{}: muster failover {} --accept-loss begins anew, empty",
                                      said.empty() ? why : said, input_.service->name));
  refusal_ = std::move(why);
}

// Whether certainly nobody takes writes any more. Sees to it that it comes to that, where it can.
bool Look::SureOfNoOther() {
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
  if (!forced_ && !(accepted_ && NobodyHeardHasData())) {
    for (const Member* one : unseen) {
      if (StaysPrimary(*one) || !HasMajority(*one)) return false;
    }
  }
  const Member& one = *unseen.front();
  Election& election = BeginElection();
  if (!FenceAll(fmt::format("{} is silent, and {} may have been cut off", one.host, one.name), unseen))
    return false;
  if (!election.fenced) election.fenced = input_.now;
  const Time over = LeaseOver(lease, since, *election.fenced);
  if (input_.now >= over) return true;
  Again(over - input_.now);
  waits_ = fmt::format("{} is silent; its lease runs out in {}", one.host, FormatDuration(over - input_.now));
  return false;
}

// A replica of it is heard, and hears it.
bool Look::StaysPrimary(const Member& unseen) {
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

bool Look::HasMajority(const Member& unseen) {
  const std::set<std::string> counted = CountedHosts(*input_.service, *input_.desired);
  size_t heard = 0;
  for (const std::string& host : counted) heard += !input_.silent.contains(host);
  const bool majority = 2 * heard > counted.size();
  // By the terms that it was told last, which may be those of another file.
  if (majority && !MayHaveMajority(unseen.lease, unseen.host, input_.silent)) return true;
  Say(
      fmt::format("{} is silent, so nobody can tell whether {} is gone or goes on; {} of {} hosts {} heard, "
                  "which is no majority{}",
                  unseen.host, unseen.name, heard, counted.size(), heard == 1 ? "is" : "are",
                  majority ? " of those that it counts" : ""));
  return false;
}

// Nobody whom muster reaches says any more that it follows one of `unseen`. Whoever can't be told so, and
// isn't dead, is waited for.
bool Look::FenceAll(const std::string& reason, const std::vector<const Member*>& unseen) {
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

bool Look::CanBeElected(const Member& member) const {
  return member.ready() && !member.held && !member.loading && member.copy > 0 &&
         member.role != Role::kUnknown;
}

// Its process has had all that the last primary had, but for what was on its way.
bool Look::IsInSync(const Member& member, const Member* last) const {
  if (!CanBeElected(member) || member.copy != picture_.copy || !member.synced) return false;
  return last && (&member == last || (last->linked.contains(member.address) && !IsStale(member, *last)));
}

// The last primary went on while it heard nothing, whatever that one took it for.
bool Look::IsStale(const Member& member, const Member& last) {
  return member.heard && last.answered && *member.heard + kStaleAfter < *last.answered;
}

// Those who are, and whoever may have what they lack.
std::vector<const Member*> Look::InSync(const Member* last) const {
  std::vector<const Member*> able;
  for (const Member& member : picture_.members) {
    if (IsInSync(member, last)) able.push_back(&member);
  }
  if (able.empty()) return able;
  // Who was linked again a moment ago isn't told of yet. In one term there is one history: whoever is further
  // has all that the others have. The last primary itself is none of them: where a restart has begun its
  // offsets anew, they say nothing.
  const bool gone = std::find(able.begin(), able.end(), last) == able.end();
  for (const Member& member : picture_.members) {
    const bool linked_once = CanBeElected(member) && member.copy == picture_.copy && member.synced;
    if (gone && linked_once && !member.busy && &member != last && !IsInSync(member, last))
      able.push_back(&member);
  }
  return able;
}

// Who had all that `robbed` had before it lost its data, as far as that told. Nobody will ever know more, so
// one that was restarted since is as good where there is no other.
std::vector<const Member*> Look::LeftOf(const Member& robbed) const {
  std::vector<const Member*> able;
  if (robbed.lost != picture_.copy) return able;
  for (const Member& member : picture_.members) {
    if (CanBeElected(member) && member.copy == picture_.copy && robbed.linked.contains(member.address) &&
        !IsStale(member, robbed))
      able.push_back(&member);
  }
  PreferSynced(able);
  return able;
}

const Member* Look::Choose() {
  const Member* last = picture_.Last();
  if (const Member* heir = picture_.Find(memory_.election.heir);
      heir && last && last != heir && last->role == Role::kFenced && IsInSync(*heir, last)) {
    return heir->busy ? nullptr : heir;
  }
  const Member* robbed = picture_.Robbed();
  std::vector<const Member*> able = robbed ? LeftOf(*robbed) : InSync(last);
  if (!able.empty()) return OrWhoHadMore(Best(std::move(able)), robbed ? robbed : last);
  if (robbed) return ChooseOlder(robbed);
  if (last && !last->silent && !last->held) {
    // It has what nobody else has.
    if (CanBeElected(*last)) {
      const Member* other = RanOn(*last);
      if (!other) return last->busy ? nullptr : last;
      if (forced_) return Best({last, other});
      Say(
          fmt::format("{}, the last primary, has started from its last snapshot, and {}, which ran on, had "
                      "lost its link to "
                      "it: either may lack what the other has",
                      last->name, other->name));
      return nullptr;
    }
    const bool comes = last->busy || last->running() || last->state == InstanceState::kBackoff;
    if (comes) {
      waits_ = fmt::format("{}, which was the primary, starts again", last->name);
      Again(kSoon);
      return nullptr;
    }
  }
  return ChooseOlder(last);
}

// One that may have more than a last primary that forgot, as it ended, what it had taken since its last
// snapshot.
const Member* Look::RanOn(const Member& last) const {
  if (last.synced || !redis::ForgetsWrites(SettingsOf(*input_.service))) return nullptr;
  const Member* most = nullptr;
  for (const Member& member : picture_.members) {
    if (&member == &last || !CanBeElected(member) || member.copy != picture_.copy || !member.synced) continue;
    if (!most || Precedes(member, *most)) most = &member;
  }
  return most;
}

// What is left isn't known to be all there was.
const Member* Look::ChooseOlder(const Member* last) {
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
    const bool robbed = last && last == picture_.Robbed();
    Say(robbed ? fmt::format("{}, the last primary, has lost its data, and {} lacks writes that it had taken",
                             who, able.front()->name)
               : fmt::format("{} has writes that {} may lack, and is not there", who, able.front()->name));
    return nullptr;
  }
  PreferSynced(able);
  return Best(std::move(able));
}

// Who has most. Where there are several, how far each is is asked anew: they are fenced, which tells.
const Member* Look::Best(std::vector<const Member*> able) {
  // Of what the last primary has those whom it had for linked lack nothing that they could have.
  const Member* last = picture_.Last();
  if (last && able.size() > 1 && yielding_.contains(last->name)) std::erase(able, last);
  if (able.size() > 1) {
    const Election& election = BeginElection();
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
    // One that is to go hands over once it is primary: what it alone has mustn't go with it.
    const bool yields = yielding_.contains(member->name), best_yields = yielding_.contains(best->name);
    const bool same = member->offset == best->offset && yields != best_yields;
    if (same ? best_yields : Precedes(*member, *best)) best = member;
  }
  return best->busy ? nullptr : best;
}

Election& Look::BeginElection() {
  Election& election = memory_.election;
  if (election.term <= picture_.copy || election.term < picture_.term) {
    election = {};
    election.term = NewTerm();
  }
  return election;
}

// It followed in the term of the newest data, has ended since, and is about to be back with what it had, or
// is.
bool Look::StartsAgain(const Member& member) const {
  if (member.copy != picture_.copy || member.silent || member.held || member.missing) return false;
  if (redis::ForgetsWrites(SettingsOf(*input_.service))) return false;
  const bool back = CanBeElected(member);
  return back ? !member.synced : member.busy || member.running() || member.state == InstanceState::kBackoff;
}

// Of those who followed `last` when that last answered one may have ended along with it that had more than
// `best`: it is waited for, for a while. Its own offset says nothing after its restart.
const Member* Look::OrWhoHadMore(const Member* best, const Member* last) {
  if (!best || !last || best == last) return best;
  const int64_t made = last->answered ? last->answered_offset : last->offset;
  const auto& behind = last->answered ? last->answered_behind : last->behind;
  const Member* better = nullptr;
  int64_t most = best->offset;
  for (const Member& member : picture_.members) {
    const auto lacked = behind.find(member.address);
    if (&member == best || &member == last || lacked == behind.end() || !StartsAgain(member)) continue;
    if (!last->linked.contains(member.address) || made - lacked->second <= most) continue;
    most = made - lacked->second;
    better = &member;
  }
  if (!better) return best;
  Election& election = BeginElection();
  if (best->role != Role::kFenced || best->term != election.term) {
    Send(*best, "fence", {{"term", Text(election.term)}}, "whether it has as much as another that ended");
    Again(kSoon);
    return nullptr;
  }
  // Whoever took the writes has them all.
  if (CanBeElected(*last) && last->copy == picture_.copy) return last->busy ? nullptr : last;
  if (CanBeElected(*better)) return better->busy ? nullptr : better;
  if (!election.awaits) election.awaits = input_.now;
  const Duration left = *election.awaits + kBackWithin - input_.now;
  if (left <= 0ms) return best;
  waits_ = fmt::format("{} had more than {}, which is there, and starts again: it is waited for, {} at most",
                       better->name, best->name, FormatDuration(kBackWithin));
  mending_.says.push_back(waits_);
  Again(std::min<Duration>(kSoon * 5, left));
  return nullptr;
}

void Look::Promote(const Member& heir) {
  Election& election = BeginElection();
  // Nobody else in this term: it may have come about there though nobody has told.
  if (!election.wanted.empty() && !election.wanted.contains(heir.name)) {
    election = {};
    election.term = NewTerm();
  }
  if (heir.busy) return;
  election.wanted.insert(heir.name);
  memory_.promised.insert(heir.name);
  const Member* last = picture_.Last();
  std::string why =
      !picture_.Bereft().empty() ? "all data is lost, and that has been accepted"
      : accepted_ && heir.copy == 0
          ? "nobody who is heard has data, and that what others may have is lost has been accepted"
      : picture_.copy == 0      ? "the first primary"
      : !last                   ? "the last primary's data is gone, and it has most of what is left"
      : last->name == heir.name ? "it was the primary"
      : last->role == Role::kFenced && last->alive() ? fmt::format("{} has handed over", last->name)
      : !last->silent && last->state == InstanceState::kBackoff
          ? fmt::format("{}, the primary, died", last->name)
          : fmt::format("{}, the primary, is {}", last->name,
                        last->silent ? "silent" : StateName(last->state));
  Send(heir, "promote", {{"term", Text(election.term)}, {"copy", Text(heir.copy)}}, std::move(why), true);
}

}  // namespace muster::redis_primary
