#include "api/json.h"

#include "api/fields.h"

namespace muster::api {
namespace {

int64_t Ms(WallTime time) { return time.time_since_epoch().count(); }

Json PortsJson(const std::map<std::string, PortRange>& ports) {
  Json json = Json::object();
  for (const auto& [name, range] : ports) {
    json[name] = {{"first", range.first}, {"count", range.count}, {"udp", range.udp}};
  }
  return json;
}

Result<PortRange> PortRangeFrom(const Json& json) {
  PortRange range;
  Fields fields(json, "port");
  fields.Integer("first", range.first).Integer("count", range.count).Bool("udp", range.udp);
  return fields.Give(range);
}

void ReadPorts(Fields& fields, std::map<std::string, PortRange>& ports) {
  const Json* found = fields.Find("ports");
  if (!found) return;
  if (!found->is_object()) return fields.Fail("ports", "an object");
  for (const auto& [name, value] : found->items()) {
    const auto range = PortRangeFrom(value);
    if (!range.ok()) return fields.Fail("ports", "an object of ports");
    ports[name] = *range;
  }
}

Json ProbeJson(const Probe& probe) {
  return {{"kind", static_cast<int>(probe.kind)},
          {"target", probe.target},
          {"port", probe.port},
          {"tls", probe.tls},
          {"status_min", probe.status_min},
          {"status_max", probe.status_max},
          {"every_ms", probe.every.count()},
          {"timeout_ms", probe.timeout.count()},
          {"fail_after", probe.fail_after},
          {"kill_when_hung", probe.kill_when_hung}};
}

Result<Probe> ProbeFrom(const Json& json) {
  Probe probe;
  int kind = 0;
  Fields fields(json, "probe");
  fields.Integer("kind", kind)
      .Text("target", probe.target)
      .Integer("port", probe.port)
      .Bool("tls", probe.tls);
  fields.Integer("status_min", probe.status_min).Integer("status_max", probe.status_max);
  fields.Milliseconds("every_ms", probe.every).Milliseconds("timeout_ms", probe.timeout);
  fields.Integer("fail_after", probe.fail_after).Bool("kill_when_hung", probe.kill_when_hung);
  if (kind < 0 || kind > static_cast<int>(Probe::Kind::kOperator)) fields.Fail("kind", "a kind of probe");
  probe.kind = static_cast<Probe::Kind>(kind);
  return fields.Give(std::move(probe));
}

Json FileJson(const InstanceFile& file) {
  return {{"path", file.path}, {"content", file.content}, {"blob", file.blob},
          {"mode", file.mode}, {"secret", file.secret},   {"impact", ImpactName(file.impact)}};
}

Result<InstanceFile> FileFrom(const Json& json) {
  InstanceFile file;
  std::string impact(ImpactName(file.impact));
  Fields fields(json, "file");
  fields.Text("path", file.path)
      .Text("content", file.content)
      .Text("blob", file.blob)
      .Integer("mode", file.mode);
  fields.Bool("secret", file.secret).Text("impact", impact);
  file.impact = ImpactNamed(impact);
  return fields.Give(std::move(file));
}

Result<Artifact> ArtifactFrom(const Json& json) {
  Artifact artifact;
  Fields fields(json, "artifact");
  fields.Text("name", artifact.name).Text("sha256", artifact.sha256).Bool("executable", artifact.executable);
  return fields.Give(std::move(artifact));
}

Result<Limits> LimitsFrom(const Json& json) {
  Limits limits;
  Fields fields(json, "limits");
  fields.Integer("memory_bytes", limits.memory_bytes).Number("cpus", limits.cpus);
  fields.Integer("open_files", limits.open_files);
  return fields.Give(limits);
}

Result<RestartPolicy> RestartFrom(const Json& json) {
  RestartPolicy policy;
  Fields fields(json, "restart");
  fields.Milliseconds("backoff_first_ms", policy.backoff_first)
      .Milliseconds("backoff_most_ms", policy.backoff_most);
  fields.Milliseconds("healthy_after_ms", policy.healthy_after).Integer("crashes_most", policy.crashes_most);
  return fields.Give(policy);
}

Result<LogPolicy> LogFrom(const Json& json) {
  LogPolicy policy;
  Fields fields(json, "log");
  fields.Integer("rotate_bytes", policy.rotate_bytes).Integer("keep", policy.keep);
  return fields.Give(policy);
}

constexpr std::pair<Claim, std::string_view> kClaims[] = {
    {Claim::kFormer, "former"}, {Claim::kReturning, "returning"}, {Claim::kReserved, "reserved"}};

Result<Place> PlaceFrom(const Json& json) {
  Place place;
  Fields fields(json, "place");
  fields.Text("service", place.service).Text("host", place.host).Integer("ordinal", place.ordinal);
  fields.Integer("slot", place.slot);
  ReadPorts(fields, place.ports);
  std::string claim;
  fields.Text("claim", claim);
  for (const auto& [value, name] : kClaims) {
    if (claim == name) place.claim = value;
  }
  return fields.Give(std::move(place));
}

Json DriftJson(const Drift& drift) {
  return {{"path", drift.path}, {"what", drift.what}, {"difference", drift.difference}};
}

Result<Drift> DriftFrom(const Json& json) {
  Drift drift;
  Fields fields(json, "drift");
  fields.Text("path", drift.path).Text("what", drift.what).Texts("difference", drift.difference);
  return fields.Give(std::move(drift));
}

// Deep nesting would overflow the stack when the value is destroyed or copied; nothing of ours nests deeper.
// Looked for before: a parser with a callback goes through a list's earlier items at each of them. Up to
// where the parser would stop, strings are where it sees them.
bool NestsDeeply(std::string_view text) {
  constexpr int kDepthMost = 64;
  bool quoted = false;
  for (int depth = 0; !text.empty(); text.remove_prefix(1)) {
    const char c = text.front();
    if (quoted && c == '\\' && text.size() > 1) text.remove_prefix(1);
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kDepthMost) return true;
  }
  return false;
}

}  // namespace

Result<Json> ParseJson(std::string_view text) {
  if (NestsDeeply(text)) return Error::Invalid("bad-json", "this is not JSON that muster reads");
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return Error::Invalid("bad-json", "this is not JSON that muster reads");
  return json;
}

Json ToJson(const Error& error) {
  return {{"kind", ErrorKindName(error.kind())},
          {"code", error.code()},
          {"message", error.message()},
          {"hint", error.hint()},
          {"evidence", error.evidence()}};
}

Error ErrorFrom(const Json& json) {
  std::string kind, code = "unknown", message, hint;
  std::vector<std::string> evidence;
  Fields fields(json, "error");
  fields.Text("kind", kind)
      .Text("code", code)
      .Text("message", message)
      .Text("hint", hint)
      .Texts("evidence", evidence);
  return Error(ErrorKindNamed(kind), code, message).Hint("{}", hint).Evidence(std::move(evidence));
}

Json ToJson(const Finding& finding) {
  return {{"severity", finding.severity == Severity::kError ? "error" : "warning"},
          {"code", finding.code},
          {"file", finding.file},
          {"line", finding.mark.line},
          {"column", finding.mark.column},
          {"message", finding.message},
          {"fix", finding.fix}};
}

Json ToJson(const Placement& placement) {
  Json json = Json::object();
  for (const auto& [name, place] : placement) {
    json[name] = {{"service", place.service},
                  {"host", place.host},
                  {"ordinal", place.ordinal},
                  {"slot", place.slot},
                  {"ports", PortsJson(place.ports)}};
    for (const auto& [value, word] : kClaims) {
      if (place.claim == value) json[name]["claim"] = word;
    }
  }
  return json;
}

Result<Placement> PlacementFrom(const Json& json) {
  if (!json.is_object()) return Error::Invalid("bad-message", "placement: it is not an object");
  Placement placement;
  for (const auto& [name, value] : json.items()) {
    MUSTER_TRY(placement[name], PlaceFrom(value));
  }
  return placement;
}

Json ToJson(const Instance& instance) {
  Json files = Json::array();
  for (const InstanceFile& file : instance.files) files.push_back(FileJson(file));
  return {{"name", instance.name},
          {"service", instance.service},
          {"kind", instance.kind},
          {"host", instance.host},
          {"address", instance.address},
          {"ordinal", instance.ordinal},
          {"ports", PortsJson(instance.ports)},
          {"argv", instance.argv},
          {"env", instance.env},
          {"user", instance.user},
          {"working_folder", instance.working_folder},
          {"files", std::move(files)},
          {"data_folders", instance.data_folders},
          {"artifact",
           {{"name", instance.artifact.name},
            {"sha256", instance.artifact.sha256},
            {"executable", instance.artifact.executable}}},
          {"probe", ProbeJson(instance.probe)},
          {"ready_within_ms", instance.ready_within.count()},
          {"stop_signal", instance.stop_signal},
          {"stop_timeout_ms", instance.stop_timeout.count()},
          {"limits",
           {{"memory_bytes", instance.limits.memory_bytes},
            {"cpus", instance.limits.cpus},
            {"open_files", instance.limits.open_files}}},
          {"restart",
           {{"backoff_first_ms", instance.restart.backoff_first.count()},
            {"backoff_most_ms", instance.restart.backoff_most.count()},
            {"healthy_after_ms", instance.restart.healthy_after.count()},
            {"crashes_most", instance.restart.crashes_most}}},
          {"log", {{"rotate_bytes", instance.log.rotate_bytes}, {"keep", instance.log.keep}}},
          {"fronts", instance.fronts},
          {"extra", instance.extra},
          {"renderer", instance.renderer},
          {"hash", instance.hash},
          {"parts", instance.parts}};
}

Result<Instance> InstanceFrom(const Json& json) {
  Instance instance;
  Fields fields(json, "instance");
  fields.Text("name", instance.name).Text("service", instance.service).Text("kind", instance.kind);
  fields.Text("host", instance.host).Text("address", instance.address).Integer("ordinal", instance.ordinal);
  ReadPorts(fields, instance.ports);
  fields.Texts("argv", instance.argv).TextMap("env", instance.env).Text("user", instance.user);
  fields.Text("working_folder", instance.working_folder).Parts("files", instance.files, FileFrom);
  fields.Texts("data_folders", instance.data_folders).Part("artifact", instance.artifact, ArtifactFrom);
  fields.Part("probe", instance.probe, ProbeFrom).Milliseconds("ready_within_ms", instance.ready_within);
  fields.Integer("stop_signal", instance.stop_signal).Milliseconds("stop_timeout_ms", instance.stop_timeout);
  fields.Part("limits", instance.limits, LimitsFrom).Part("restart", instance.restart, RestartFrom);
  fields.Part("log", instance.log, LogFrom).Texts("fronts", instance.fronts).TextMap("extra", instance.extra);
  fields.Text("hash", instance.hash).TextMap("parts", instance.parts).Integer("renderer", instance.renderer);
  return fields.Give(std::move(instance));
}

Json ToJson(const Observed& observed) {
  Json drift = Json::array();
  for (const Drift& one : observed.drift) drift.push_back(DriftJson(one));
  return {{"name", observed.name},
          {"service", observed.service},
          {"host", observed.host},
          {"state", StateName(observed.state)},
          {"pid", observed.pid},
          {"since", Ms(observed.since)},
          {"hash", observed.hash},
          {"parts", observed.parts},
          {"running_hash", observed.running_hash},
          {"renderer", observed.renderer},
          {"restarts", observed.restarts},
          {"last_exit", observed.last_exit},
          {"evidence", observed.evidence},
          {"probe_age_ms", observed.probe_age_ms},
          {"memory_bytes", observed.memory_bytes},
          {"drift", std::move(drift)},
          {"facts", observed.facts}};
}

Result<Observed> ObservedFrom(const Json& json) {
  Observed observed;
  std::string state;
  Fields fields(json, "observed");
  fields.Text("name", observed.name).Text("service", observed.service).Text("host", observed.host);
  fields.Text("state", state).Integer("pid", observed.pid).Moment("since", observed.since);
  fields.Text("hash", observed.hash)
      .TextMap("parts", observed.parts)
      .Text("running_hash", observed.running_hash);
  fields.Integer("renderer", observed.renderer).Integer("restarts", observed.restarts);
  fields.Text("last_exit", observed.last_exit).Texts("evidence", observed.evidence);
  fields.Integer("probe_age_ms", observed.probe_age_ms).Integer("memory_bytes", observed.memory_bytes);
  fields.Parts("drift", observed.drift, DriftFrom).TextMap("facts", observed.facts);
  observed.state = StateNamed(state);
  return fields.Give(std::move(observed));
}

Json ToJson(const Step& step) {
  return {{"id", step.id},
          {"instance", step.instance},
          {"service", step.service},
          {"host", step.host},
          {"verb", step.verb},
          {"args", step.args},
          {"reason", step.reason},
          {"impact", ImpactName(step.impact)},
          {"before", step.before},
          {"after", step.after},
          {"put_back", step.put_back},
          {"awaited", step.awaited},
          {"needs", step.needs},
          {"deadline_ms", step.deadline.count()}};
}

Result<Step> StepFrom(const Json& json) {
  Step step;
  std::string impact(ImpactName(step.impact));
  Fields fields(json, "step");
  fields.Text("id", step.id)
      .Text("instance", step.instance)
      .Text("service", step.service)
      .Text("host", step.host);
  fields.Text("verb", step.verb)
      .TextMap("args", step.args)
      .Text("reason", step.reason)
      .Text("impact", impact);
  fields.Text("before", step.before).Text("after", step.after).Text("put_back", step.put_back);
  fields.Texts("needs", step.needs).Milliseconds("deadline_ms", step.deadline);
  fields.Bool("awaited", step.awaited);
  step.impact = ImpactNamed(impact);
  return fields.Give(std::move(step));
}

Json ToJson(const Plan& plan) {
  Json steps = Json::array(), drift = Json::array();
  for (const Step& step : plan.steps) steps.push_back(ToJson(step));
  for (const auto& [instance, one] : plan.drift) {
    Json entry = DriftJson(one);
    entry["instance"] = instance;
    drift.push_back(std::move(entry));
  }
  return {{"id", plan.id},
          {"cluster", plan.cluster},
          {"revision", plan.revision},
          {"steps", std::move(steps)},
          {"notes", plan.notes},
          {"outages", plan.outages},
          {"unreachable", plan.unreachable},
          {"renderer_only", plan.renderer_only},
          {"drift", std::move(drift)}};
}

Result<Plan> PlanFrom(const Json& json) {
  Plan plan;
  Fields fields(json, "plan");
  fields.Text("id", plan.id).Text("cluster", plan.cluster).Integer("revision", plan.revision);
  fields.Parts("steps", plan.steps, StepFrom).Texts("notes", plan.notes).Texts("outages", plan.outages);
  fields.Texts("unreachable", plan.unreachable).Integer("renderer_only", plan.renderer_only);
  fields.Parts("drift", plan.drift, [](const Json& item) -> Result<std::pair<std::string, Drift>> {
    MUSTER_TRY(Drift drift, DriftFrom(item));
    std::string instance;
    Fields entry(item, "drift");
    entry.Text("instance", instance);
    return entry.Give(std::pair(std::move(instance), std::move(drift)));
  });
  return fields.Give(std::move(plan));
}

}  // namespace muster::api
