// For how long a primary may go on taking writes. Pure. See docs/decisions/0010.
#pragma once

#include <set>
#include <string>

#include "base/time.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {

// How often a lease is looked at, and how long what is asked for it may take.
Duration LeaseStep(Duration lease);
// How long after a primary was last heard it is fenced at the latest, so that this is over when its lease is.
Duration LetGoAfter(Duration lease);

// Whether `hosts`, of all that count in `terms`, are more than half.
bool IsMajority(const LeaseTerms& terms, const std::set<std::string>& hosts);

// Whether a majority of the hosts may follow a primary on `host` that isn't heard: those that aren't either.
// Not where nobody has told its terms (hosts 0).
bool MayHaveMajority(const LeaseTerms& terms, const std::string& host, const std::set<std::string>& silent);

struct LeaseState {
  Time heard = Time::min();     // the server took this host for present then, or later
  Time majority = Time::min();  // a majority of the hosts' members followed this primary then, or later
};

enum class LeaseWork {
  kKeep,  // nothing to do
  kAsk,   // the others: the server hasn't been heard for a while
  kFence  // it runs out before it is looked at again
};
LeaseWork JudgeLease(const LeaseTerms& terms, const LeaseState& state, Time now);

// When a server that last heard a host at `silent_since`, and whose members were all kept from following at
// `fenced`, may be certain that no primary there takes writes.
Time LeaseOver(Duration lease, Time silent_since, Time fenced);

}  // namespace muster::redis_primary
