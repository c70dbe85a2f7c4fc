#include "recipes/redis_primary/picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "model/listens.h"
#include "model/not_asked.h"
#include "recipes/redis/words.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

std::string Fact(const Observed& observed, const char* name) {
  const auto found = observed.facts.find(name);
  return found == observed.facts.end() ? "" : found->second;
}

int64_t Number(const Observed& observed, const char* name, int64_t otherwise) {
  return redis::ParseNumber<int64_t>(Fact(observed, name)).value_or(otherwise);
}

Role RoleOf(const std::string& text) {
  return text == "primary"   ? Role::kPrimary
         : text == "replica" ? Role::kReplica
         : text == "fenced"  ? Role::kFenced
                             : Role::kUnknown;
}

std::map<std::string, int64_t> ReadBehind(const std::string& text) {
  std::map<std::string, int64_t> behind;
  for (const std::string_view word : redis::Words(text, ",")) {
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    behind[std::string(word.substr(0, equals))] =
        redis::ParseNumber<int64_t>(word.substr(equals + 1)).value_or(0);
  }
  return behind;
}

void Read(const Observed& observed, Member& member) {
  member.state = observed.state;
  member.silent = observed.state == InstanceState::kUnknown;
  member.told = observed.facts.contains("term");
  member.role = RoleOf(Fact(observed, "role"));
  member.term = Number(observed, "term", 0);
  member.copy = Number(observed, "copy", 0);
  member.lost = Number(observed, "lost", 0);
  member.lost_as_primary = member.lost > 0 && Fact(observed, "lost_as") == "primary";
  member.was_primary = Fact(observed, "was") == "primary";
  member.synced = Fact(observed, "synced") == "yes";
  member.primary = Fact(observed, "primary");
  member.link = Fact(observed, "link");
  member.loading = Fact(observed, "loading") == "yes";
  member.empty = Fact(observed, "empty") == "yes";
  member.write = Fact(observed, "write");
  member.offset = Number(observed, "offset", -1);
  // Who is taken for the primary by what is remembered of it says nothing of its role before it has answered.
  const bool unsaid = member.told && member.role == Role::kUnknown && member.state == InstanceState::kReady;
  member.not_asked = unsaid || !Fact(observed, kNotAskedFact).empty();
  member.lease = ParseLeaseTerms(Fact(observed, "lease"));
  // Where it is to listen by the file is where it will once it has been installed anew.
  if (const Listens listens = ListensOf(observed); !listens.ports.empty())
    member.address = fmt::format("{}:{}", listens.address, listens.ports.front().first);
  const std::string linked = Fact(observed, "linked");
  for (const std::string_view word : redis::Words(linked, ",")) member.linked.emplace(word);
  member.behind = ReadBehind(Fact(observed, "behind"));
  member.unheard_ms = Fact(observed, "unheard_ms");
  member.answered_ms = Fact(observed, "answered_ms");
  member.answered_offset = Number(observed, "answered_offset", -1);
  member.answered_behind = ReadBehind(Fact(observed, "answered_behind"));
}

}  // namespace

bool Member::running() const {
  switch (state) {
    case InstanceState::kStarting:
    case InstanceState::kReady:
    case InstanceState::kUnhealthy:
    case InstanceState::kStopping:
    case InstanceState::kUnknown:
      return true;
    default:
      return false;
  }
}

const Member* Picture::Find(std::string_view name) const {
  for (const Member& member : members) {
    if (member.name == name) return &member;
  }
  return nullptr;
}

const Member* Picture::Primary() const {
  const Member* best = nullptr;
  for (const Member& member : members) {
    if (member.alive() && member.role == Role::kPrimary && (!best || member.term > best->term))
      best = &member;
  }
  return best;
}

std::vector<std::string> Picture::Bereft() const {
  std::vector<std::string> names;
  for (const Member& member : members) {
    if (copy == 0 && member.lost > 0) names.push_back(member.name);
  }
  return names;
}

const Member* Picture::Last() const {
  for (const Member& member : members) {
    if (copy > 0 && member.copy == copy && member.was_primary) return &member;
  }
  return nullptr;
}

const Member* Picture::Robbed() const {
  const Member* robbed = nullptr;
  for (const Member& member : members) {
    if (!member.lost_as_primary || member.lost < copy) continue;
    if (!robbed || member.lost > robbed->lost) robbed = &member;
  }
  return robbed;
}

Picture PictureOf(const std::string& service, const std::vector<Instance>& desired,
                  const std::map<std::string, Observed>& observed) {
  Picture picture;
  for (const Instance& instance : desired) {
    Member member{.name = instance.name, .host = instance.host, .desired = true};
    if (const auto port = instance.ports.find(kMainPort); port != instance.ports.end())
      member.address = fmt::format("{}:{}", instance.address, port->second.first);
    if (const auto seen = observed.find(instance.name); seen != observed.end()) Read(seen->second, member);
    picture.members.push_back(std::move(member));
  }
  for (const auto& [name, seen] : observed) {
    if (seen.service != service || seen.state == InstanceState::kAbsent || picture.Find(name)) continue;
    Member member{.name = name, .host = seen.host};
    Read(seen, member);
    picture.members.push_back(std::move(member));
  }
  for (const Member& member : picture.members) {
    picture.term = std::max(picture.term, member.term);
    picture.copy = std::max(picture.copy, member.copy);
  }
  return picture;
}

}  // namespace muster::redis_primary
