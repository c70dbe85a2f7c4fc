// The Change that serves for services whose members are equal: each is installed and started, reloaded, or
// stopped, replaced and started, as many at a time as `update:` allows. Pure.
//
// Steps of one member, by what it needs:
//   new              install → start                  reload           install → reload
//   live             install                          restart, changed stop → install → start
//   not wanted       stop → remove                    held by hand     stop
// Members that serve nothing now (failed, stopped, not installed) come first and count for nothing; those
// that serve follow in a window of `max_unavailable`. Start steps have args min_ready_ms; reload steps too,
// and `prove`, where the agent is to see how it lives after it; install steps say by their impact what the
// agent is to make of it. Who isn't ready, or died of its reload signal before, is restarted in place of a
// reload.
//
// Where members get ports that others have yet, those others go before them.
//
// With `max_surge`, guests stand in: install → start, before the first that serves is touched, and stop →
// remove after the last. The window is wider by their number. A run that ends early removes them (put back of
// their install). Guests that an earlier run left behind go at once, and their names aren't used.
#pragma once

#include "recipes/common/member_work.h"
#include "recipes/recipe.h"

namespace muster::common {

class MemberChange : public Change {
 public:
  // `rolls_reloads`: a reload may cost the member, so those of ready ones go by the window too.
  MemberChange(const Layout* layout, bool rolls_reloads) : layout_(layout), rolls_reloads_(rolls_reloads) {}
  Output StepsFor(const Input& input) const override;

 private:
  const Layout* layout_;  // for ImpactOf; the recipe's own
  const bool rolls_reloads_;
};

// What asks an app to read its files anew.
int ReloadSignal(const Instance& instance);

// Green where all members are ready, yellow where some are or may be (unknown), red where none is.
ServiceHealth MemberHealth(const std::vector<Instance>& desired,
                           const std::map<std::string, Observed>& observed);

// What differs between installed and desired parts: names of parts, worst impact. A part that only one has
// counts.
struct Difference {
  std::vector<std::string> parts;
  Impact impact = Impact::kNone;
};
Difference Differences(const Layout& layout, const Instance& desired, const Observed& observed);

// The same of files that were changed by hand: their paths.
Difference DriftOf(const Instance& desired, const Observed& observed);

}  // namespace muster::common
