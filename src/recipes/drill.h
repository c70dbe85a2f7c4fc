// What `muster drill` needs of a recipe: who can be broken, a client that speaks to the service as its users
// do while that happens, and the account of what became of its writes. The account is pure; a client lives on
// the server's loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/instance.h"

namespace muster {

namespace net {
class Loop;
template <class T>
class Task;
}  // namespace net

// Why a write came to nothing.
enum class DrillFault {
  kReset,    // the connection ended while the write was under way
  kRefused,  // none could be made
  kOther,    // an answer that is an error, or none in time
};

// One writer's account. Its writes are numbered from 1, in the order in which they are sent.
struct DrillWrites {
  std::vector<int64_t> acknowledged;  // ascending
  std::vector<int64_t> lost;          // of these, not there any more at the end
  int64_t sent = 0;
  int64_t failed = 0;         // ended with an error, or with no answer in time
  int64_t resets = 0;         // of these: DrillFault::kReset
  int64_t refused = 0;        // of these: DrillFault::kRefused
  int64_t redirects = 0;      // that were followed; no failures
  int64_t unconfirmed = 0;    // accepted, but no replica has said that it has it
  std::string first_failure;  // why the first one since the break failed; "" where none did
  std::optional<Time> last_acknowledged = {};

  // Since the break:
  Duration longest_gap{0};                 // between two acknowledged writes
  std::optional<Time> failing_since = {};  // no write was acknowledged since this error
  std::optional<Duration> outage = {};     // of the longest time from an error to the next acknowledged write
};

// A part of the service that fails by itself: slots that one master has, or all of it.
struct DrillRange {
  std::string name;       // "0-5460"
  DrillWrites plain;      // acknowledged by the one that took it
  DrillWrites confirmed;  // acknowledged once a replica has it, too
};

// The account of all writes. Pure: is told what happened and when. Times go forward.
class DrillLedger {
 public:
  // Its number, for the other calls: 0, 1 …
  size_t AddRange(std::string name);

  int64_t Sent(size_t range, bool confirmed);  // the number of the write that is sent now
  void Acknowledged(size_t range, bool confirmed, int64_t number, Time now);
  void Unconfirmed(size_t range, Time now);
  void Failed(size_t range, bool confirmed, DrillFault fault, const std::string& why, Time now);
  void Redirected(size_t range, bool confirmed, int64_t times);
  // From now on gaps and failures count; no gap begins before.
  void Broken(Time now);
  // Nothing is written any more: a gap that is open ends.
  void Ended(Time now);
  void Lost(size_t range, bool confirmed, int64_t number);

  const std::vector<DrillRange>& ranges() const { return ranges_; }
  // Whether plain writes to each range were acknowledged since `when`, the last one not longer than `within`
  // ago.
  bool AllServe(Time when, Time now, Duration within) const;
  // The fewest plain writes acknowledged in any range.
  size_t fewest_acknowledged() const;
  // Acknowledged writes that are gone, of all ranges.
  size_t lost(bool confirmed) const;

 private:
  DrillWrites& Writes(size_t range, bool confirmed);
  void Fail(DrillWrites& writes, const std::string& why, Time now);

  std::vector<DrillRange> ranges_;
  std::optional<Time> broken_;
};

// Writes to a service without pause, and remembers what was acknowledged. Loop thread only; owned by the
// drill. Its errors are of the service's own protocol.
class DrillClient {
 public:
  struct Setup {
    net::Loop* loop;
    std::vector<Instance> members;  // with their secrets
    std::string name;               // of this drill: what it writes bears it
    Duration forget_after;          // the service forgets what was written by itself, should nobody remove it
  };
  virtual ~DrillClient() = default;

  // Asks how the service is divided, and begins to write, to all ranges side by side. Codes: "drill-client"
  // where nobody answers as it should.
  virtual net::Task<Status> Begin() = 0;
  // Stops writing, and waits for what is under way.
  virtual net::Task<void> End() = 0;
  // Reads all that was acknowledged back, from whoever is primary now; what isn't there is told to the
  // ledger. Code "drill-client" where not everything could be asked for.
  virtual net::Task<Status> ReadBack() = 0;
  // Removes all that was written. Code "drill-client" where something may be left.
  virtual net::Task<Status> CleanUp() = 0;
  virtual DrillLedger& ledger() = 0;
};

// How a kind of service is drilled.
struct DrillRecipe {
  // Ready members that take writes at the moment: primaries, by name. The first is broken where none is
  // named.
  std::vector<std::string> (*primaries)(const std::vector<Instance>& desired,
                                        const std::map<std::string, Observed>& observed) = nullptr;
  std::shared_ptr<DrillClient> (*make_client)(DrillClient::Setup setup) = nullptr;
};

}  // namespace muster
