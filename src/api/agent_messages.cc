#include "api/agent_messages.h"

#include "api/fields.h"
#include "api/json.h"
#include "base/bytes.h"

namespace muster::api {
namespace {

Result<std::optional<Error>> OptionalErrorFrom(const Json& json) {
  return std::optional<Error>(ErrorFrom(json));
}

Json ErrorJson(const std::optional<Error>& error) { return error ? ToJson(*error) : Json(); }

// One overload a message: its fields. `type` and `v` are added by Encode.
Json Body(const Hello& m) {
  return {{"cluster", m.cluster},       {"host", m.host},       {"pid", m.pid},    {"version", m.version},
          {"epoch_seen", m.epoch_seen}, {"streams", m.streams}, {"pings", m.pings}};
}
Json Body(const Welcome& m) { return {{"epoch", m.epoch}}; }
Json Body(const OrderMessage& m) {
  Json json{{"id", m.id}, {"epoch", m.epoch}, {"step", ToJson(m.step)}};
  if (m.instance) json["instance"] = ToJson(*m.instance);
  return json;
}
Json Body(const Outcome& m) { return {{"id", m.id}, {"error", ErrorJson(m.error)}, {"values", m.values}}; }
Json Body(const Observe& m) { return {{"id", m.id}, {"drift", m.drift}, {"fresh", m.fresh}}; }
Json Body(const ObservedMessage& m) {
  Json instances = Json::array();
  for (const Observed& one : m.instances) instances.push_back(ToJson(one));
  return {{"id", m.id}, {"instances", std::move(instances)}};
}
Json Body(const Changed& m) { return {{"instance", ToJson(m.instance)}}; }
Json Body(const WantBlob& m) { return {{"sha256", m.sha256}}; }
Json Body(const Blob& m) { return {{"sha256", m.sha256}, {"size", m.size}, {"error", ErrorJson(m.error)}}; }
Json Body(const Logs& m) {
  return {{"id", m.id},         {"instances", m.instances}, {"tail", m.tail}, {"since_ms", m.since_ms},
          {"follow", m.follow}, {"window", m.window},       {"from", m.from}};
}
Json Body(const ExecMessage& m) {
  return {{"id", m.id},     {"epoch", m.epoch},   {"instance", m.instance},
          {"argv", m.argv}, {"window", m.window}, {"input", m.input}};
}
Json Body(const Chunk& m) {
  Json json{{"id", m.id}, {"instance", m.instance}, {"stream", m.stream}, {"at", m.at_ms}};
  const bool coded = m.exact && !IsPlain(m.data);
  json[coded ? "base64" : "data"] = coded ? EncodeBase64(m.data) : m.data;
  if (m.position > 0) json["position"] = m.position;
  return json;
}
Json Body(const End& m) { return {{"id", m.id}, {"status", m.status}, {"error", ErrorJson(m.error)}}; }
Json Body(const VerifyMessage& m) { return {{"id", m.id}, {"instance", m.instance}, {"args", m.args}}; }
Json Body(const Verified& m) {
  Json checks = Json::array();
  for (const CheckResult& check : m.checks) {
    checks.push_back({{"name", check.name},
                      {"passed", check.passed},
                      {"skipped", check.skipped},
                      {"evidence", check.evidence},
                      {"hint", check.hint}});
  }
  return {{"id", m.id}, {"checks", std::move(checks)}, {"error", ErrorJson(m.error)}};
}
Json Body(const CancelMessage& m) { return {{"id", m.id}}; }
Json Body(const Leave& m) { return {{"epoch", m.epoch}}; }
Json Body(const More& m) { return {{"id", m.id}, {"bytes", m.bytes}}; }
Json Body(const Input& m) { return {{"id", m.id}, {"base64", EncodeBase64(m.data)}, {"end", m.end}}; }
Json Body(const Ping& m) {
  if (m.order.empty()) return Json::object();
  return {{"order", m.order}};
}
Json Body(const Pong& m) {
  if (m.wanted) return Json::object();
  return {{"wanted", m.wanted}};
}
Json Body(const Taken& m) { return {{"id", m.id}, {"bytes", m.bytes}, {"closed", m.closed}}; }

// Bytes of any kind. Returns whether there were any.
bool ReadBase64(Fields& f, std::string& data) {
  std::string text;
  f.Text("base64", text);
  auto bytes = DecodeBase64(text);
  if (!bytes) f.Fail("base64", "base64");
  if (!bytes || text.empty()) return false;
  data = std::move(*bytes);
  return true;
}

void Read(Fields& f, Hello& m) {
  f.Text("cluster", m.cluster).Text("host", m.host).Integer("pid", m.pid).Text("version", m.version);
  f.Integer("epoch_seen", m.epoch_seen)
      .Integer("v", m.protocol)
      .Integer("streams", m.streams)
      .Bool("pings", m.pings);
}
void Read(Fields& f, Ping& m) { f.Text("order", m.order); }
void Read(Fields& f, Pong& m) { f.Bool("wanted", m.wanted); }
void Read(Fields& f, Welcome& m) { f.Integer("epoch", m.epoch); }
void Read(Fields& f, OrderMessage& m) {
  f.Text("id", m.id).Integer("epoch", m.epoch).Part("step", m.step, StepFrom);
  f.Part("instance", m.instance, InstanceFrom);
}
void Read(Fields& f, Outcome& m) {
  f.Text("id", m.id).Part("error", m.error, OptionalErrorFrom).TextMap("values", m.values);
}
void Read(Fields& f, Observe& m) { f.Text("id", m.id).Bool("drift", m.drift).Bool("fresh", m.fresh); }
void Read(Fields& f, ObservedMessage& m) { f.Text("id", m.id).Parts("instances", m.instances, ObservedFrom); }
void Read(Fields& f, Changed& m) { f.Part("instance", m.instance, ObservedFrom); }
void Read(Fields& f, WantBlob& m) { f.Text("sha256", m.sha256); }
void Read(Fields& f, Blob& m) {
  f.Text("sha256", m.sha256).Integer("size", m.size).Part("error", m.error, OptionalErrorFrom);
}
void Read(Fields& f, Logs& m) {
  f.Text("id", m.id).Texts("instances", m.instances).Integer("tail", m.tail).Integer("since_ms", m.since_ms);
  f.Bool("follow", m.follow).Integer("window", m.window).Integer("from", m.from);
}
void Read(Fields& f, ExecMessage& m) {
  f.Text("id", m.id).Integer("epoch", m.epoch).Text("instance", m.instance).Texts("argv", m.argv);
  f.Integer("window", m.window).Bool("input", m.input);
}
void Read(Fields& f, Chunk& m) {
  f.Text("id", m.id)
      .Text("instance", m.instance)
      .Text("stream", m.stream)
      .Text("data", m.data)
      .Integer("at", m.at_ms)
      .Integer("position", m.position);
  m.exact = ReadBase64(f, m.data);
}
void Read(Fields& f, End& m) {
  f.Text("id", m.id).Integer("status", m.status).Part("error", m.error, OptionalErrorFrom);
}
void Read(Fields& f, VerifyMessage& m) {
  f.Text("id", m.id).Text("instance", m.instance).TextMap("args", m.args);
}
void Read(Fields& f, Verified& m) {
  f.Text("id", m.id).Part("error", m.error, OptionalErrorFrom);
  f.Parts("checks", m.checks, [](const Json& item) -> Result<CheckResult> {
    CheckResult check;
    Fields fields(item, "check");
    fields.Text("name", check.name).Bool("passed", check.passed).Texts("evidence", check.evidence);
    fields.Text("hint", check.hint).Bool("skipped", check.skipped);
    return fields.Give(std::move(check));
  });
}
void Read(Fields& f, CancelMessage& m) { f.Text("id", m.id); }
void Read(Fields& f, Leave& m) { f.Integer("epoch", m.epoch); }
void Read(Fields& f, More& m) { f.Text("id", m.id).Integer("bytes", m.bytes); }
void Read(Fields& f, Input& m) {
  f.Text("id", m.id).Bool("end", m.end);
  ReadBase64(f, m.data);
}
void Read(Fields& f, Taken& m) { f.Text("id", m.id).Integer("bytes", m.bytes).Bool("closed", m.closed); }

// In the order of AgentMessage.
constexpr std::string_view kTypes[] = {"hello",   "welcome",   "order",    "outcome", "observe", "observed",
                                       "changed", "want_blob", "blob",     "logs",    "exec",    "chunk",
                                       "end",     "verify",    "verified", "cancel",  "leave",   "more",
                                       "input",   "taken",     "ping",     "pong"};
static_assert(std::size(kTypes) == std::variant_size_v<AgentMessage>);

template <size_t I = 0>
Result<AgentMessage> DecodeAs(std::string_view type, const Json& json) {
  if constexpr (I == std::variant_size_v<AgentMessage>) {
    return Error::Invalid("bad-message", "there is no message of type \"{}\"", type);
  } else {
    if (kTypes[I] != type) return DecodeAs<I + 1>(type, json);
    std::variant_alternative_t<I, AgentMessage> message;
    Fields fields(json, type);
    Read(fields, message);
    return fields.Give(AgentMessage(std::move(message)));
  }
}

}  // namespace

std::string Encode(const AgentMessage& message) {
  Json json = std::visit([](const auto& m) { return Body(m); }, message);
  json["v"] = kAgentProtocol;
  json["type"] = kTypes[message.index()];
  // Log lines may hold bytes that are no UTF-8; they are replaced rather than losing the whole message.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<AgentMessage> DecodeAgentMessage(std::string_view text) {
  MUSTER_TRY(const Json json, ParseJson(text));
  int version = 0;
  std::string type;
  Fields fields(json, "message");
  fields.Integer("v", version).Text("type", type);
  MUSTER_DO(fields.Give(Ok{}));
  if (version > kAgentProtocol) {
    return Error::Refused("newer-protocol", "the other side speaks version {}, this program {}", version,
                          kAgentProtocol)
        .Hint("bring both to the same release");
  }
  return DecodeAs(type, json);
}

}  // namespace muster::api
