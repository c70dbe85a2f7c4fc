// One look of the mender at its service: what it sees, and what is to be done about it. Pure; made anew for
// each look, and only then used. Internal to recipes/redis_primary: its parts are in mender.cc (there is a
// primary), election.cc (there is none) and requests.cc (what is waited for).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/moments.h"
#include "recipes/redis_primary/picture.h"

namespace muster::redis_primary {

inline constexpr Duration kSoon = 100ms;
// Before a primary that could not hand over because of its disk is told so again.
inline constexpr Duration kRelieveAgain = 10s;

// A replica that heard its primary for the last time so long before that last answered lacks what came
// between.
inline constexpr Duration kStaleAfter = 2s;

// How long one that had more than those who are there is waited for.
inline constexpr Duration kBackWithin = 5s;

inline std::string Text(int64_t number) { return std::to_string(number); }

// An election: from the loss of a primary until there is another.
struct Election {
  int64_t term = 0;
  std::string heir;              // to whom the last primary has handed over
  std::optional<Time> fenced;    // since when all who can be reached follow nobody
  std::set<std::string> wanted;  // whom `promote` was sent to
  std::optional<Time> awaits;    // since when one that had more, and starts again, is waited for
};

struct Request {
  int64_t from_term = 0;  // the highest when it was first seen
  std::string target;     // of a switchover
};

// What has to outlast one look.
struct Memory {
  int64_t given_out = 0;  // the highest term
  Election election;
  // Whom `promote` was sent to, and who hasn't told since what came of it.
  std::set<std::string> promised;
  std::map<std::string, Request> requests;  // by the id of the awaited step
  redis::Moments moments;
  std::optional<Time> relieved;  // when a primary whose disk is full was last told to hand over
};

// Loop thread of the mender. `memory` outlives it, and is what the next one begins with.
class Look {
 public:
  Look(const Mender::Input& input, Memory& memory);
  Mending Act();

 private:
  void Again(Duration pause);
  void Send(const Member& member, std::string verb, std::map<std::string, std::string> args,
            std::string reason, bool notable = false);
  int64_t NewTerm();
  static std::pair<std::string, std::string> HostAndPort(const std::string& address);

  // There is one that takes writes.
  void Depose(const Member& primary);
  void Tend(const Member& primary);
  void Renew(const Member& primary);
  const Member* BestHeir(const Member& primary, const std::string& wanted) const;
  bool Precedes(const Member& one, const Member& other) const;
  std::optional<std::string> WantedInstead(const Member& primary, std::string* why);
  std::string SwitchoverTarget(const Member& primary, const std::string& to) const;
  bool Alone(const Member& primary) const;
  bool HandOver(const Member& primary);
  void SendHandOver(const Member& primary, const Member& heir, const std::string& why);
  bool Relieve(const Member& primary);

  // There is none.
  void Elect();
  bool NobodyHeardHasData() const;
  void Form();
  bool MayBePrimary(const Member& member) const;
  void Say(std::string why);
  void SayLost(std::string why, std::string_view said = {});
  bool SureOfNoOther();
  bool StaysPrimary(const Member& unseen);
  bool HasMajority(const Member& unseen);
  bool FenceAll(const std::string& reason, const std::vector<const Member*>& unseen);
  bool CanBeElected(const Member& member) const;
  bool IsInSync(const Member& member, const Member* last) const;
  static bool IsStale(const Member& member, const Member& last);
  std::vector<const Member*> InSync(const Member* last) const;
  std::vector<const Member*> LeftOf(const Member& robbed) const;
  const Member* Choose();
  const Member* RanOn(const Member& last) const;
  const Member* ChooseOlder(const Member* last);
  const Member* Best(std::vector<const Member*> able);
  Election& BeginElection();
  bool StartsAgain(const Member& member) const;
  const Member* OrWhoHadMore(const Member* best, const Member* last);
  void Promote(const Member& heir);

  // What is waited for.
  void RememberRequests();
  std::string NoPrimary() const;
  void AnswerRequests();
  void AnswerSettle(const Step& step, const Member* primary);
  void AnswerStepDown(const Step& step, const Member* primary);
  void AnswerSwitchover(const Step& step, const Member* primary);
  void AnswerFailover(const Step& step, const Member* primary);

  const Mender::Input& input_;
  Memory& memory_;
  Picture picture_;
  Mending mending_;
  std::set<std::string> leaving_;   // for good
  std::set<std::string> yielding_;  // those, and who is to step down
  bool forced_ = false;
  bool accepted_ = false;  // that all data is lost
  bool lost_ = false;      // that is why nobody is made primary
  std::string refusal_, waits_;
};

}  // namespace muster::redis_primary
