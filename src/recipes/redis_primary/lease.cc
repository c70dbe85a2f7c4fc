#include "recipes/redis_primary/lease.h"

#include <algorithm>

namespace muster::redis_primary {
namespace {

constexpr Duration kFenceTakes = 300ms;  // after that the process is killed
constexpr Duration kMargin = 500ms;      // clocks that go at different speed, a loop that is late

}  // namespace

Duration LeaseStep(Duration lease) { return std::max<Duration>(lease / 8, 50ms); }

Duration LetGoAfter(Duration lease) {
  return lease - 2 * LeaseStep(lease) - std::min<Duration>(kFenceTakes, lease / 4);
}

bool IsMajority(const LeaseTerms& terms, const std::set<std::string>& hosts) {
  return 2 * static_cast<int>(hosts.size()) > terms.hosts;
}

bool MayHaveMajority(const LeaseTerms& terms, const std::string& host, const std::set<std::string>& silent) {
  if (terms.hosts == 0) return false;
  std::set<std::string> hosts{host};
  for (const LeaseTerms::Peer& peer : terms.peers) {
    if (silent.contains(peer.host)) hosts.insert(peer.host);
  }
  return IsMajority(terms, hosts);
}

LeaseWork JudgeLease(const LeaseTerms& terms, const LeaseState& state, Time now) {
  if (terms.hosts <= 1) return LeaseWork::kKeep;  // its own host is all there is
  // Times before the first are so long ago that adding to them is fine, and taking from them isn't.
  const Time last = std::max(state.heard, state.majority);
  if (last == Time::min() || now >= last + LetGoAfter(terms.lease)) return LeaseWork::kFence;
  if (state.heard == Time::min() || now >= state.heard + terms.lease / 4) return LeaseWork::kAsk;
  return LeaseWork::kKeep;
}

Time LeaseOver(Duration lease, Time silent_since, Time fenced) {
  return std::max(silent_since, fenced) + lease + lease / 10 + kMargin;
}

}  // namespace muster::redis_primary
