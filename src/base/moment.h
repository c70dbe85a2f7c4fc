// Moments that outlive the process that saw them. What is named Now or BootId reads, all else is pure. Any
// thread.
#pragma once

#include <optional>
#include <string>

#include "base/time.h"

namespace muster {

// Of this boot of the machine; "-" where it can't be read.
std::string BootId();

// By the clock of the boot, which nobody sets and which goes on through suspend, and by the calendar.
struct Moment {
  WallTime wall{};
  std::string boot;       // its id; "": not known
  Duration since_boot{};  // where it is

  Moment Before(Duration ago) const;
};
Moment MomentNow();
// How long before `now` it was; nothing where it can't have been before. After another boot only the calendar
// tells that, though the whole of this boot has passed since, at least.
std::optional<Duration> AgeOf(const Moment& moment, const Moment& now);

}  // namespace muster
