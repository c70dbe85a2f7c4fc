// Decides when a process is started, stopped, killed or given up on. Pure.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/instance.h"

namespace muster::agent {

struct SupervisorPolicy {
  RestartPolicy restart;
  Duration ready_within = 600s;
  Duration stop_timeout = 10s;
  Duration asks_again{};  // while it stops; 0: asked once
  bool probed = false;    // else it is ready once it has been up for `kUnprobedGrace`
  int fail_after = 3;
  bool kill_when_hung = true;

  static SupervisorPolicy Of(const Instance& instance);
  bool operator==(const SupervisorPolicy&) const = default;
};

// What has no probe shows by this that it didn't die at once.
constexpr Duration kUnprobedGrace = 1s;

// What happens to a process.
struct StartWanted {      // A person or a run wants it: counters start anew. Answered by one StartSettled.
  Duration within = 0ms;  // at most so long; 0: as the policy says
};
struct StopWanted {};  // Answered by one StopSettled.
struct Started {};
struct StartFailed {  // There is no process: its program is missing, its port taken …
  Error error;
  // Code "disk-full": no crash, it is tried again until there is room.
  bool for_good = false;  // trying again is of no use: somebody has to change something first
};
struct Exited {
  std::string how;             // "exit 1", "signal 9"
  std::optional<Error> cause;  // where one is known that trying again won't change
};
struct ProbeOk {
  bool of_before = false;  // by the rule of before ProbeChanged: nothing is said of the new one
};
struct ProbeFailed {
  std::string why;
  std::optional<Error> cause = {};  // where one is known that waiting won't change
};
// Another rule is about to be written down. From here on an agent that begins anew may find that one, and no
// order that tells it so: what ProbeChanged says of killing holds already.
struct ProbeChanging {};
// It is asked by another rule from now on, which the policy has already. That one may be what is wrong: until
// it has passed once, and then as often in a row as it would have to fail, nobody is killed as hung for it.
struct ProbeChanged {};
// Who was to see whether the changed rule passes says that it doesn't, and won't.
struct ProofFailed {
  std::string why;
};
struct TimeReached {};  // of `wake()`
using Event = std::variant<StartWanted, StopWanted, Started, StartFailed, Exited, ProbeOk, ProbeFailed,
                           ProbeChanging, ProbeChanged, ProofFailed, TimeReached>;

// What is to be done about it, in order.
struct StartProcess {
  bool operator==(const StartProcess&) const = default;
};
struct AskToStop {  // the instance's stop signal
  bool operator==(const AskToStop&) const = default;
};
struct KillProcess {
  bool operator==(const KillProcess&) const = default;
};
struct ReportState {  // state, restarts, last exit or what its probes meet have changed
  bool operator==(const ReportState&) const = default;
};
struct StartSettled {  // ready, or why not: codes "not-ready", "crash-loop", "health-wrong", "stopped" or the
                       // start's own
  std::optional<Error> error;
  bool operator==(const StartSettled&) const = default;
};
struct StopSettled {
  bool operator==(const StopSettled&) const = default;
};
using Action = std::variant<StartProcess, AskToStop, KillProcess, ReportState, StartSettled, StopSettled>;

// Owns no process and reads no clock: the agent reports events, performs the returned actions in order and
// sends TimeReached once `wake()` has come. One per instance.
class Supervisor {
 public:
  // What outlives the agent.
  struct Memory {
    InstanceState state = InstanceState::kStopped;
    bool wanted = false;
    int crash_count = 0;
    int restarts = 0;
    std::string last_exit;
    bool unproven = false;  // its probe was changed while it ran, and hasn't passed often enough since
    bool operator==(const Memory&) const = default;
  };

  Supervisor(std::string name, SupervisorPolicy policy) : name_(std::move(name)), policy_(policy) {}

  std::vector<Action> On(const Event& event, Time now);
  // After a start of the agent, first: `running` tells whether the process was found alive.
  std::vector<Action> Restore(const Memory& memory, bool running, Time now);
  void set_policy(const SupervisorPolicy& policy) { policy_ = policy; }

  const Memory& memory() const { return memory_; }
  InstanceState state() const { return memory_.state; }
  std::optional<Time> wake() const;
  // What the last probe met, while it is not ready for that; "" otherwise.
  std::string probe_failure() const;
  // Its probe was changed while it ran, and hasn't passed once since.
  bool never_passed() const { return memory_.unproven && probes_passed_ == 0; }

 private:
  using Actions = std::vector<Action>;
  void OnStartWanted(const StartWanted& event, Time now, Actions& actions);
  void OnStopWanted(Time now, Actions& actions);
  void OnStarted(Time now);
  void OnStartFailed(const StartFailed& event, Time now, Actions& actions);
  void OnGone(const std::string& how, const std::optional<Error>& cause, Time now, Actions& actions);
  void OnPassed(bool of_before, Actions& actions);
  void OnProbeFailed(const ProbeFailed& failed, Time now, Actions& actions);
  void TellProbe(Time now, Actions& actions);
  void OnProbeChanged(Time now, Actions& actions);
  void OnProofFailed(const ProofFailed& failed, Actions& actions);
  void OnTime(Time now, Actions& actions);
  void AskToEnd(Time now, Actions& actions);
  void StartAnew(Actions& actions);  // with counters at nought
  void Start(Actions& actions);
  void Become(InstanceState state, Actions& actions);
  void SettleStart(std::optional<Error> error, Actions& actions);
  Error NotReady(Duration waited) const;
  Error HealthWrong() const;
  std::string Hung() const;  // how it ended, where the agent killed it for that
  Error CrashLoop(const std::string& how) const;
  bool running() const;
  bool asked() const;  // what a probe meets counts

  std::string name_;
  SupervisorPolicy policy_;
  Memory memory_;
  bool start_asked_ = false;
  bool stop_asked_ = false;
  bool start_after_stop_ = false;
  bool killed_hung_ = false;
  bool no_room_ = false;  // waits for room on the disk, not after a crash
  Duration start_within_{};
  Time started_{};
  Time stop_by_{};   // then it is killed
  Time start_by_{};  // whoever asked for a start waits no longer, over all restarts
  std::optional<Time> wake_;
  int probes_failed_ = 0;
  int probes_passed_ = 0;  // in a row, while it is unproven
  std::string probe_failure_, probe_told_;
  Time probe_told_at_{};
};

}  // namespace muster::agent
