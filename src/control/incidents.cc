#include "control/incidents.h"

#include <fmt/core.h>

#include <algorithm>

namespace muster::control {
namespace {

constexpr double kAtOnce = 10, kAllAtOnce = 200;
constexpr Duration kOneIn = 10min, kOneOfAllIn = 3min;
// Facts are two seconds old at most, and the loop may be busy.
constexpr Duration kOrderExplains = 5s;

bool IsDead(InstanceState state) {
  return state == InstanceState::kBackoff || state == InstanceState::kFailed;
}

// Of whoever is stopped nobody waits for anything.
bool IsStopped(InstanceState state) {
  return state == InstanceState::kAbsent || state == InstanceState::kStopped ||
         state == InstanceState::kStopping;
}

std::string How(const Observed& observed) {
  if (observed.last_exit.empty()) return "nobody knows how";
  if (observed.last_exit == "unknown") return "nobody saw how";
  return observed.last_exit;
}

// How a process ended, and not why there was none.
bool Ran(const Observed& observed) {
  const std::string& how = observed.last_exit;
  return how.empty() || how == "unknown" || how.starts_with("exit ") || how.starts_with("signal ") ||
         how.starts_with("killed ");
}

std::string Took(Duration duration) {
  if (duration < 10s) return fmt::format("{:.1f}s", static_cast<double>(duration.count()) / 1000);
  return FormatDuration(std::chrono::floor<std::chrono::seconds>(duration));
}

std::string Agent(const std::string& host) { return "agent of " + host; }

bool IsPrimary(const std::string& role) { return role == "primary" || role == "master"; }

}  // namespace

bool Incidents::Bucket::Take(double most, Duration refill, Time now) {
  if (left < 0) {
    left = most;
  } else {
    const double refilled =
        static_cast<double>((now - at).count()) / static_cast<double>(Duration(refill).count());
    left = std::min(most, left + refilled);
  }
  at = now;
  if (left < 1) return false;
  left -= 1;
  return true;
}

void Incidents::Tell(const std::string& of, Incident incident, bool last, Time now,
                     std::vector<Incident>& told) {
  Told& before = told_[of];
  const bool own = before.bucket.Take(kAtOnce, kOneIn, now);
  if ((!own && !last) || !all_.Take(kAllAtOnce, kOneOfAllIn, now)) {
    ++before.left_out;
    return;
  }
  if (before.left_out > 0) {
    incident.detail += fmt::format(" ({} before it not told)", before.left_out);
    before.left_out = 0;
  }
  if (!last && (before.bucket.left < 1 || all_.left < 1)) {
    incident.detail += fmt::format(" (it happens over and over: little more is told in the next {})",
                                   FormatDuration(kOneIn));
  }
  told.push_back(std::move(incident));
}

std::vector<Incident> Incidents::Saw(const Observed& observed, const About& about, Time now) {
  std::vector<Incident> told;
  const auto [entry, is_new] = known_.try_emplace(observed.name);
  Known& known = entry->second;
  if (is_new) {
    if (IsDead(observed.state) || observed.state == InstanceState::kUnhealthy) known.outage = {.since = now};
  } else {
    auto life = Life(known, observed, about, now);
    auto role = Role(known, observed, about, now);
    if (life) Tell(observed.name, std::move(*life), observed.state == InstanceState::kFailed, now, told);
    if (role) Tell(observed.name, std::move(*role), false, now, told);
  }
  known.state = observed.state;
  known.restarts = observed.restarts;
  const auto role = observed.facts.find("role");
  if (IsDead(observed.state) || IsStopped(observed.state)) {
    known.role.clear();  // another process begins anew
  } else if (role != observed.facts.end() && !role->second.empty()) {
    known.role = role->second;
  }
  if (observed.state == InstanceState::kAbsent) {
    known_.erase(entry);
    told_.erase(observed.name);
  }
  return told;
}

std::optional<Incident> Incidents::Life(Known& known, const Observed& observed, const About& about,
                                        Time now) {
  const InstanceState before = known.state, state = observed.state;
  if (IsStopped(state)) {
    known.outage.reset();
    return std::nullopt;
  }
  // Some may have died while nobody looked: each start that the agent made by itself follows a death.
  const int seen = before == InstanceState::kBackoff ? 1 : 0;
  const int unseen = std::max(0, observed.restarts - known.restarts - seen);
  const bool dies = IsDead(state) && (!IsDead(before) || observed.restarts != known.restarts);
  const int deaths = unseen + (dies ? 1 : 0);
  if (unseen > 0) known.role.clear();
  const bool is_news = !known.outage || known.outage->deaths == 0;
  if (deaths > 0) {
    if (!known.outage) known.outage = {.since = now};
    known.outage->deaths += deaths;
    if (dies && state == InstanceState::kFailed) {
      const int all = known.outage->deaths;
      const std::string often = all > 1 ? fmt::format("died {} times, the last time: ", all) : "";
      return Incident{Agent(observed.host), "given up",
                      fmt::format("{}: {}{}", observed.name, often, How(observed))};
    }
    if (is_news && state != InstanceState::kReady)
      return Incident{Agent(observed.host), Ran(observed) ? "died" : "not started",
                      fmt::format("{}: {}", observed.name, How(observed))};
  }
  if (state == InstanceState::kReady && known.outage) {
    const Outage outage = *std::exchange(known.outage, std::nullopt);
    if (is_news && deaths > 0)
      return Incident{Agent(observed.host), "died",
                      fmt::format("{}: {}; it is ready again", observed.name, How(observed))};
    const std::string often = outage.deaths > 1 ? fmt::format(", {} deaths", outage.deaths) : "";
    return Incident{Agent(observed.host), "ready again",
                    fmt::format("{}: after {}{}", observed.name, Took(now - outage.since), often)};
  }
  const bool hangs_on = !about.killed_when_hung || observed.facts.contains(kUnprovenFact);
  if (state == InstanceState::kUnhealthy && hangs_on && !known.outage) {
    known.outage = {.since = now};
    const auto probe = observed.facts.find(kProbeFact);
    return Incident{Agent(observed.host), "unhealthy",
                    fmt::format("{}: {}", observed.name,
                                probe == observed.facts.end() ? "does not answer" : probe->second)};
  }
  return std::nullopt;
}

// Who loses a role is told by who gets it.
std::optional<Incident> Incidents::Role(Known& known, const Observed& observed, const About& about,
                                        Time now) {
  const auto role = observed.facts.find("role");
  if (role == observed.facts.end() || known.role != "replica" || !IsPrimary(role->second))
    return std::nullopt;
  Incident incident{about.kind.empty() ? Agent(observed.host) : about.kind, "new primary",
                    fmt::format("{}: it was a replica", observed.name)};
  if (known.ordered) {
    known.role_changed = std::move(incident);
    return std::nullopt;
  }
  if (known.order_done && now - *known.order_done < kOrderExplains) return std::nullopt;
  return incident;
}

void Incidents::Ordered(const std::string& instance) {
  const auto known = known_.find(instance);
  if (known != known_.end()) known->second.ordered = true;
}

std::vector<Incident> Incidents::OrderEnded(const std::string& instance, bool done, Time now) {
  std::vector<Incident> told;
  const auto known = known_.find(instance);
  if (known == known_.end() || !std::exchange(known->second.ordered, false)) return told;
  if (done) known->second.order_done = now;
  auto changed = std::exchange(known->second.role_changed, std::nullopt);
  if (changed && !done) Tell(instance, std::move(*changed), false, now, told);
  return told;
}

std::vector<Incident> Incidents::Silent(const std::string& host, Time since, Time now) {
  std::vector<Incident> told;
  if (!silent_.emplace(host, since).second) return told;
  Tell("host " + host,
       {"server", "silent",
        fmt::format("host {}: its agent doesn't answer for {} now", host, Took(now - since))},
       false, now, told);
  return told;
}

std::vector<Incident> Incidents::Back(const std::string& host, Time now) {
  std::vector<Incident> told;
  const auto silent = silent_.find(host);
  if (silent == silent_.end()) return told;
  const Time since = silent->second;
  silent_.erase(silent);
  Tell("host " + host, {"server", "answers again", fmt::format("host {}: after {}", host, Took(now - since))},
       false, now, told);
  return told;
}

}  // namespace muster::control
