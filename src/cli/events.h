// What the server tells about a run, as values. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>

#include "base/result.h"
#include "model/instance.h"

namespace muster::cli {

struct StepEvent {
  std::string id, instance, verb;
  std::string state;  // "sent", "done", "failed"
  int done = 0, total = 0;
  std::optional<Error> error;
};
struct HostEvent {
  std::string host;
  bool connected = false;
};
struct PausedEvent {
  std::string service, reason;
};
// What a step waits for that is under way.
struct WaitingEvent {
  std::string id, instance, verb, reason;
};
// A RUN of docs/api.md.
struct RunEvent {
  std::string run, cluster, action, author;
  std::string state;  // "running", "paused", "done", "failed", "cancelled"
  int64_t revision = 0;
  int done = 0, total = 0;
  std::optional<Error> error;
  // Of one that failed and goes back by itself:
  bool goes_back = false;            // which run does is still to come
  std::string rolled_back_by;        // the run that does
  std::optional<Error> no_way_back;  // why none could begin
};
using Event = std::variant<StepEvent, Observed, HostEvent, PausedEvent, WaitingEvent, RunEvent>;

// `name` as in docs/api.md. Codes: "unknown-event" for one of a newer server, which can be passed over;
// "bad-message".
Result<Event> EventFrom(const std::string& name, const nlohmann::json& data);
Result<RunEvent> RunFrom(const nlohmann::json& data);

}  // namespace muster::cli
