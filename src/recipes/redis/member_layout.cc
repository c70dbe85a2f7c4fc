#include "recipes/redis/member_layout.h"

#include <fmt/format.h>

#include "base/text.h"
#include "model/words.h"
#include "recipes/common/shapes.h"
#include "recipes/redis/settings.h"

namespace muster::redis {
namespace {

// A server that saves its data when it is asked to end takes its time.
constexpr Duration kStopTimeout = 30s;

// Redis wants yes and no; YAML may have made true and false of it.
std::string TextOf(const muster::Value& value) {
  if (value.type != muster::Value::Type::kBool || value.quoted) return value.text;
  return ReadBool(value, false) ? "yes" : "no";
}

std::string BaseName(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// By operator, with what `health:` says.
Probe ProbeOf(const Service& service, int port) {
  Probe probe{.kind = Probe::Kind::kOperator, .port = port, .every = 1s};
  const muster::Value* health = service.settings.Find("health");
  if (!health) return probe;
  if (const auto every = ParseDuration(health->Text("every")); every.ok()) probe.every = *every;
  if (const auto timeout = ParseDuration(health->Text("timeout")); timeout.ok()) probe.timeout = *timeout;
  probe.fail_after = static_cast<int>(health->Integer("fail_after", probe.fail_after));
  return probe;
}

}  // namespace

std::vector<Shape::Field> MemberKeys() {
  using common::Integer;
  using common::Make;
  using Type = Shape::Type;
  const Shape line = Make(Type::kScalar, "As redis.conf has it");
  Shape program = Make(Type::kText, "redis-server on the hosts: a name in PATH, or an absolute path");
  program.pattern = "[^\\x00-\\x1f\\x7f{}]+";
  return {
      {"password", common::Templated("What clients and members give: \"{{secret.NAME}}\"")},
      {"settings",
       common::MapOf(common::Either({line, common::ListOf(line, "One line of redis.conf each", false)}),
                     "Settings of redis.conf by name; those that can be are set while it runs",
                     "[a-z][a-z0-9-]{1,60}")},
      {"program", program},
      {"artifact",
       Make(Type::kFile, "A redis-server of yours that is put on each host, in place of `program`")},
      {"health", common::Object({{"every", Make(Type::kDuration, "Time between two probes; 1s")},
                                 {"timeout", Make(Type::kDuration, "How long one may take; 1s")},
                                 {"fail_after",
                                  Integer(1, 1000, "So many failures in a row: it hangs, and is killed; 3")}},
                                "How each member is asked whether it answers")},
      {"limits", common::LimitsShape()},
      {"stop", common::StopShape()},
      {"restart", common::RestartShape()},
      {"log", common::LogShape()},
  };
}

ConfSettings SettingsOver(ConfSettings own, const Service& service) {
  const muster::Value* written = service.settings.Find("settings");
  if (!written) return own;
  for (const muster::Value::Entry& entry : written->entries) {
    std::vector<std::string>& lines = own[CurrentName(entry.key)];
    lines.clear();
    if (!entry.value.is_list()) lines.push_back(TextOf(entry.value));
    for (const muster::Value& item : entry.value.items) lines.push_back(TextOf(item));
  }
  return own;
}

Instance CommonPart(const Service& service, const Cluster& cluster, const ConfSettings& values) {
  const muster::Value& settings = service.settings;
  Instance common_part;
  common_part.service = service.name;
  common_part.kind = service.kind;
  common_part.user = service.user;
  common_part.limits = common::ReadLimits(settings.Find("limits"));
  common_part.restart = common::ReadRestart(settings.Find("restart"));
  common_part.log = common::ReadLog(settings.Find("log"));
  common_part.ready_within = service.update.deadline;
  common_part.stop_timeout = kStopTimeout;
  common::ReadStop(settings.Find("stop"), common_part);
  common_part.argv = {settings.Text("program", "redis-server"), fmt::format("{{folder}}/{}", kConfigFile)};
  if (const std::string path = settings.Text("artifact"); !path.empty()) {
    common_part.artifact.name = BaseName(path);
    if (const auto file = cluster.files.find(path); file != cluster.files.end()) {
      common_part.artifact.sha256 = file->second.sha256;
      common_part.artifact.executable = file->second.executable;
    }
    common_part.argv[0] = "{artifact}";
  }
  for (const auto& [name, lines] : values) {
    const Setting* known = FindSetting(name);
    common_part.extra[std::string(kSetting) + name] = known ? RunningValue(*known, lines) : Join(lines, " ");
  }
  return common_part;
}

Result<Instance> MemberAt(const Instance& common_part, const Service& service, const Cluster& cluster,
                          const std::string& name, const Place& place) {
  const Host* host = cluster.FindHost(place.host);
  if (!host) return Error::Internal("host-missing", "{} stands on {}, which isn't there", name, place.host);
  Instance instance = common_part;
  instance.name = name;
  instance.host = host->name;
  instance.address = host->address;
  instance.ordinal = place.ordinal;
  instance.ports = place.ports;
  instance.probe = ProbeOf(service, place.ports.at(kMainPort).first);
  for (const auto& [port, range] : place.ports) {
    if (range.first < 1024) instance.extra["bind_low_ports"] = "yes";
  }
  return instance;
}

InstanceFile ConfigFile(const std::string& member, const std::vector<Directive>& owned,
                        const ConfSettings& settings, bool password) {
  std::string config = "# Written by muster for " + member + "; what is changed here is undone.\n";
  config += SealWords(RenderConf(owned));
  config += "dir \"{data}\"\n";
  config += SealWords(RenderConf(DirectivesOf(settings)));
  if (password) config += fmt::format("include \"{{folder}}/{}\"\n", kSecretFile);
  // What it says of settings is a part of its own each, so the text itself costs nothing.
  return {.path = kConfigFile, .content = config, .impact = Impact::kNone};
}

InstanceFile SecretFile(const std::string& password) {
  return {.path = kSecretFile,
          .content = RenderConf({{"requirepass", {password}}, {"masterauth", {password}}}),
          .mode = 0600,
          .impact = Impact::kReload,
          .secret = true};
}

Impact MemberImpactOf(std::string_view part) {
  // What the agent itself uses; the process knows nothing of it.
  for (const std::string_view live : {"probe", "stop", "restart", "log", "ready_within"}) {
    if (part == live) return Impact::kLive;
  }
  constexpr std::string_view kExtra = "extra:";
  if (part.starts_with(kExtra) && part.substr(kExtra.size()).starts_with(kSetting)) {
    const Setting* setting = FindSetting(part.substr(kExtra.size() + kSetting.size()));
    return setting && setting->cost == Cost::kLive ? Impact::kReload : Impact::kRestart;
  }
  if (part.starts_with("file:")) {
    // The password is CONFIG SET, also when it goes.
    return part.substr(5) == kSecretFile ? Impact::kReload : Impact::kNone;
  }
  return Impact::kRestart;
}

std::map<std::string, std::string> SettingsIn(const Instance& instance) {
  std::map<std::string, std::string> settings;
  for (const auto& [name, value] : instance.extra) {
    if (name.starts_with(kSetting)) settings[name.substr(kSetting.size())] = value;
  }
  return settings;
}

}  // namespace muster::redis
