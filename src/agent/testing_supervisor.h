// What tests of the supervisor share.
#pragma once

// Bad nights, replayed in a millisecond: every event in every state that matters.
#include <gtest/gtest.h>

#include "agent/supervisor.h"
#include "base/text.h"

namespace muster::agent {

using Actions = std::vector<Action>;

inline Time At(Duration since_start) { return Time(1'000'000ms + since_start); }

// How actions read in a failed test, and in the tests themselves: "start report settled:not-ready".
inline std::string Words(const Actions& actions) {
  std::vector<std::string> words;
  for (const Action& action : actions) {
    if (std::holds_alternative<StartProcess>(action)) words.push_back("start");
    if (std::holds_alternative<AskToStop>(action)) words.push_back("ask");
    if (std::holds_alternative<KillProcess>(action)) words.push_back("kill");
    if (std::holds_alternative<ReportState>(action)) words.push_back("report");
    if (std::holds_alternative<StopSettled>(action)) words.push_back("stopped");
    if (const auto* settled = std::get_if<StartSettled>(&action)) {
      words.push_back("settled:" + (settled->error ? settled->error->code() : "ok"));
    }
  }
  return Join(words, " ");
}

inline std::optional<Error> SettledError(const Actions& actions) {
  for (const Action& action : actions) {
    if (const auto* settled = std::get_if<StartSettled>(&action)) return settled->error;
  }
  return {};
}

constexpr SupervisorPolicy kProbed{
    .restart = {.backoff_first = 1s, .backoff_most = 30s, .healthy_after = 10s, .crashes_most = 5},
    .ready_within = 60s,
    .stop_timeout = 10s,
    .probed = true,
    .fail_after = 3,
    .kill_when_hung = true};

inline SupervisorPolicy Unprobed() {
  SupervisorPolicy policy = kProbed;
  policy.probed = false;
  return policy;
}

// One supervised process and its night: what happens, when, and what is answered.
class SupervisorTest : public ::testing::Test {
 protected:
  void Use(const SupervisorPolicy& policy) { supervisor = Supervisor("db-1", policy); }
  Actions Raw(const Event& event, Duration at) { return supervisor.On(event, At(at)); }
  std::string On(const Event& event, Duration at) { return Words(Raw(event, at)); }
  std::string Restore(const Supervisor::Memory& memory, bool running, Duration at = 0s) {
    return Words(supervisor.Restore(memory, running, At(at)));
  }
  // The state with the time it wakes at: "ready", "backoff until 1s".
  std::string State() const {
    std::string text(StateName(supervisor.state()));
    if (supervisor.wake()) text += " until " + FormatDuration(*supervisor.wake() - At(0s));
    return text;
  }
  const Supervisor::Memory& memory() const { return supervisor.memory(); }
  // Wanted at 0s, running at 0s, ready at 1s.
  void BeReady() {
    On(StartWanted{}, 0s);
    On(Started{}, 0s);
    ASSERT_EQ(On(ProbeOk{}, 1s), "report settled:ok");
    ASSERT_EQ(State(), "ready");
  }
  void BeStopping() {
    BeReady();
    ASSERT_EQ(On(StopWanted{}, 20s), "report ask");
    ASSERT_EQ(State(), "stopping until 30s");
  }
  // Unhealthy at 4s with a policy that lets it live.
  void BeUnhealthy() {
    SupervisorPolicy patient = kProbed;
    patient.kill_when_hung = false;
    Use(patient);
    BeReady();
    On(ProbeFailed{"silent"}, 2s);
    On(ProbeFailed{"silent"}, 3s);
    ASSERT_EQ(On(ProbeFailed{"silent"}, 4s), "report");
    ASSERT_EQ(State(), "unhealthy");
  }
  void BeInBackoff() {
    On(StartWanted{}, 0s);
    On(Started{}, 0s);
    ASSERT_EQ(On(Exited{.how = "exit 1"}, 0s), "report");
    ASSERT_EQ(State(), "backoff until 1s");
  }
  void BeFailed() {
    On(StartWanted{}, 0s);
    ASSERT_EQ(On(StartFailed{Missing()}, 0s), "report settled:program-missing");
    ASSERT_EQ(State(), "failed");
  }
  static Error Missing() { return Error::NotFound("program-missing", "there is no redis-server"); }

  Supervisor supervisor{"db-1", kProbed};
};

// --- The policy.

}  // namespace muster::agent
