// What one member needs to become what is desired, in the words of each Change that looks at members one by
// one. Pure.
#pragma once

#include <string>

#include "recipes/recipe.h"

namespace muster::common {

// How long steps may take.
inline constexpr Duration kInstallWithin = 120s;
inline constexpr Duration kReloadWithin = 30s;
inline constexpr Duration kSlack = 10s;  // beyond what the instance is given to start or to stop

// Whether a process of it runs, or will without anybody's doing.
bool Runs(InstanceState state);
// The same, and whether its files are there; nullptr is one that nobody has seen.
bool Runs(const Observed* observed);
bool Installed(const Observed* observed);

enum class Need { kNothing, kNew, kStart, kLive, kReload, kRestart, kStop };

struct Work {
  const Instance* desired;
  const Observed* observed;
  Need need = Need::kNothing;
  bool install = true;  // of a restart: there is something new
  Impact impact = Impact::kNone;
  std::string reason;
  bool serves = false;        // taking it away costs something
  bool proves = false;        // its probe changes while it runs: the new one has to be passed
  bool after_window = false;  // its port is one of a member that serves yet
};

// Deadline and args of a step after which the member has to be ready.
void SetStartTimes(const Service& service, const Instance& desired, Step& start);

}  // namespace muster::common
