// What happens to a cluster without an order of muster's, told so that somebody can ask for it later: who
// died and came back, whom Redis made a primary, whose host fell silent. Pure; any one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/instance.h"

namespace muster::control {

// A row of the audit. `who` is who saw it or did it: "agent of HOST", "server", or the kind of a service
// whose program did it by itself.
struct Incident {
  std::string who, action, detail;
  bool operator==(const Incident&) const = default;
};

// Is shown all that agents tell, and says what of it is news. It never tells much: of what dies over and over
// one death each time until it is ready again, of each instance and host 10 at once and one in 10 minutes, of
// all together 200 at once and one in 3 minutes. What was left out is counted by the next that is told.
class Incidents {
 public:
  // Of the instance as it is wanted.
  struct About {
    std::string kind;              // of its service; "" where it is not known any more
    bool killed_when_hung = true;  // then it dies of it, and that is told
  };
  // What was never seen before is no news.
  std::vector<Incident> Saw(const Observed& observed, const About& about, Time now);

  // An order of ours that may give the instance another role, and its end: a change between the two, or soon
  // after, is the order's, and told by it. One that failed explains nothing.
  void Ordered(const std::string& instance);
  std::vector<Incident> OrderEnded(const std::string& instance, bool done, Time now);

  // A host is told of as back only where it was told of as silent.
  std::vector<Incident> Silent(const std::string& host, Time since, Time now);
  std::vector<Incident> Back(const std::string& host, Time now);

 private:
  struct Bucket {
    double left = -1;  // below 0: never used, and full
    Time at{};
    bool Take(double most, Duration refill, Time now);
  };
  struct Outage {
    Time since{};
    int deaths = 0;
  };
  struct Known {
    InstanceState state = InstanceState::kAbsent;
    int restarts = 0;
    std::string role;  // of the process that runs
    std::optional<Outage> outage;
    bool ordered = false;
    std::optional<Time> order_done;
    std::optional<Incident> role_changed;  // under an order that has not ended
  };
  struct Told {
    Bucket bucket;
    int left_out = 0;
  };

  std::optional<Incident> Life(Known& known, const Observed& observed, const About& about, Time now);
  std::optional<Incident> Role(Known& known, const Observed& observed, const About& about, Time now);
  // `last`: nothing more is to be expected of it.
  void Tell(const std::string& of, Incident incident, bool last, Time now, std::vector<Incident>& told);

  std::map<std::string, Known> known_;
  std::map<std::string, Time> silent_;  // hosts that were told of
  std::map<std::string, Told> told_;    // by instance or host
  Bucket all_;
};

}  // namespace muster::control
