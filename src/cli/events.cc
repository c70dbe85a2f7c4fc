#include "cli/events.h"

#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"

namespace muster::cli {
namespace {

std::optional<Error> ErrorIn(const api::Json& data, const char* key = "error") {
  if (!data.is_object()) return std::nullopt;
  const auto found = data.find(key);
  if (found == data.end() || !found->is_object() || found->empty()) return std::nullopt;
  return api::ErrorFrom(*found);
}

Result<StepEvent> StepEventFrom(const api::Json& data) {
  StepEvent step;
  api::Fields fields(data, "step event");
  fields.Text("id", step.id)
      .Text("instance", step.instance)
      .Text("verb", step.verb)
      .Text("state", step.state);
  fields.Integer("done", step.done).Integer("total", step.total);
  step.error = ErrorIn(data);
  return fields.Give(std::move(step));
}

}  // namespace

Result<RunEvent> RunFrom(const api::Json& data) {
  RunEvent run;
  api::Fields fields(data, "run");
  fields.Text("run", run.run)
      .Text("cluster", run.cluster)
      .Text("action", run.action)
      .Text("author", run.author);
  fields.Text("state", run.state).Integer("revision", run.revision).Integer("steps_done", run.done);
  fields.Integer("steps_total", run.total).Text("rolled_back_by", run.rolled_back_by);
  fields.Bool("goes_back", run.goes_back);
  run.error = ErrorIn(data);
  run.no_way_back = ErrorIn(data, "no_way_back");
  return fields.Give(std::move(run));
}

Result<Event> EventFrom(const std::string& name, const api::Json& data) {
  if (name == "step") {
    MUSTER_TRY(StepEvent step, StepEventFrom(data));
    return Event(std::move(step));
  }
  if (name == "instance") {
    MUSTER_TRY(Observed observed, api::ObservedFrom(data));
    return Event(std::move(observed));
  }
  if (name == "host") {
    HostEvent host;
    api::Fields fields(data, "host event");
    fields.Text("host", host.host).Bool("connected", host.connected);
    return fields.Give(Event(std::move(host)));
  }
  if (name == "paused") {
    PausedEvent paused;
    api::Fields fields(data, "paused event");
    fields.Text("service", paused.service).Text("reason", paused.reason);
    return fields.Give(Event(std::move(paused)));
  }
  if (name == "waiting") {
    WaitingEvent waiting;
    api::Fields fields(data, "waiting event");
    fields.Text("id", waiting.id).Text("instance", waiting.instance).Text("verb", waiting.verb);
    fields.Text("reason", waiting.reason);
    return fields.Give(Event(std::move(waiting)));
  }
  if (name == "finished") {
    MUSTER_TRY(RunEvent run, RunFrom(data));
    return Event(std::move(run));
  }
  return Error::Invalid("unknown-event", "this muster doesn't know the event \"{}\"", name);
}

}  // namespace muster::cli
