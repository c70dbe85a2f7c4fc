#include "recipes/app/layout.h"

#include <unordered_map>

#include "base/text.h"
#include "model/words.h"
#include "recipes/common/placement.h"
#include "recipes/common/shapes.h"
#include "recipes/common/variables.h"

namespace muster::app {
namespace {

std::string BaseName(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string IdOf(const Service& service, common::Variables& variables, const std::string& instance,
                 const Place& place, const std::string& address, size_t index) {
  if (const Value* ids = service.settings.Find("ids"); ids && ids->is_list()) {
    return index < ids->items.size() ? ids->items[index].text : instance;
  }
  const std::string pattern = service.settings.Text("id");
  if (pattern.empty()) return instance;
  variables.Choose(instance, place, instance, address);
  return variables.Expand(pattern);
}

void AddFiles(const Service& service, const Cluster& cluster, common::Variables& variables,
              Instance& instance) {
  const Value* files = service.settings.Find("files");
  if (!files) return;
  for (const Value::Entry& entry : files->entries) {
    InstanceFile file{.path = entry.key, .content = "", .blob = ""};
    const Value* from = entry.value.is_scalar() ? &entry.value : entry.value.Find("from");
    if (from) {
      const auto bundled = cluster.files.find(from->text);
      const bool known = bundled != cluster.files.end();
      // What is small text is a template; anything else is copied as it is.
      if (known && (!bundled->second.text.empty() || bundled->second.size == 0)) {
        file.content = entry.value.Bool("template", true) ? variables.Expand(bundled->second.text)
                                                          : SealWords(bundled->second.text);
      } else if (known) {
        file.blob = bundled->second.sha256;
      }
    } else {
      file.content = variables.Expand(entry.value.Text("content"));
    }
    if (const std::string mode = entry.value.Text("mode"); !mode.empty()) {
      file.mode = static_cast<int>(std::strtol(mode.c_str(), nullptr, 8));
    }
    const std::string change = entry.value.Text("on_change", "restart");
    file.impact = change == "none" ? Impact::kLive : change == "reload" ? Impact::kReload : Impact::kRestart;
    instance.files.push_back(std::move(file));
  }
}

}  // namespace

std::map<std::string, PortRange> PortsOf(const Service& service) {
  std::map<std::string, PortRange> ports;
  if (const Value* value = service.settings.Find("ports"); value && value->is_map()) {
    for (const Value::Entry& entry : value->entries) ports[entry.key] = common::ReadPorts(entry.value.text);
  }
  return ports;
}

Shape AppLayout::SettingsShape() const {
  using common::Make;
  using Type = Shape::Type;
  Shape file =
      common::Object({{"from", Make(Type::kFile, "A file of yours; {{variables}} in it are filled in")},
                      {"content", common::Templated("Its content, in place of a file")},
                      {"template", Make(Type::kBool, "no: {{…}} in it stays as it is")},
                      {"mode", Make(Type::kText, "Its permissions, such as \"0640\"")},
                      {"on_change", common::Words({"restart", "reload", "none"},
                                                  "What a running instance needs when it changes")}});
  file.fields[3].shape.pattern = "0?[0-7]{3}";
  Shape name = Make(Type::kText, "");
  Shape command = common::Templated("The program and its arguments; no shell in between");
  Shape reload = common::Words({"HUP", "USR1", "USR2"}, "The signal that makes it read its files again");
  return common::Object({
      {"command", command, true},
      {"artifact", Make(Type::kFile, "A file of yours that is put on each host: {{artifact}} is its path")},
      {"instances", Make(Type::kCount, "How many: 3 spread over the hosts, or 5 per host")},
      {"ports", common::MapOf(Make(Type::kPorts),
                              "Its ports by name; several members on one host get the following ones",
                              "[a-z][a-z0-9_-]{0,30}")},
      {"env", common::MapOf(common::Templated(""), "Environment variables", "[A-Za-z_][A-Za-z0-9_]*")},
      {"env_file", common::SecretFile("A file of KEY=VALUE lines, filled in for each instance")},
      {"files", common::MapOf(common::Either({Make(Type::kFile, "A file of yours"), file}),
                              "Files in the instance's folder, by path", "[^/\\\\][^\\\\]{0,200}")},
      {"data", common::ListOf(name, "Folders below {{data}} that survive everything but down --delete-data")},
      {"id", common::Templated("{{id}} of each instance, such as gw-{{ordinal}}; its name where left out")},
      {"ids", common::ListOf(Make(Type::kText), "The ids one by one, in the order of the instances", false)},
      {"health", common::HealthShape()},
      {"limits", common::LimitsShape()},
      {"stop", common::StopShape()},
      {"restart", common::RestartShape()},
      {"log", common::LogShape()},
      {"reload", reload},
      {"working_folder", common::Templated("Where it runs; its own folder where left out")},
      {"quorum",
       Make(Type::kBool, "yes: it needs a majority of its members; muster checks that no host has one")},
  });
}

Result<Placement> AppLayout::PlaceMembers(const Service& service, const Cluster& cluster,
                                          const Placement& so_far) const {
  const common::Count count = common::ReadCount(service.settings.Text("instances"));
  return common::PlaceMembers(service, cluster, so_far, count, PortsOf(service));
}

Placement AppLayout::PlaceGuests(const Service& service, const Cluster& cluster, const Placement& placement,
                                 const UsedPorts& used, int number) const {
  return common::PlaceGuests(service, cluster, placement, used, number, PortsOf(service));
}

Result<std::vector<Instance>> AppLayout::LayOut(const Service& service, const Cluster& cluster,
                                                const Placement& placement) const {
  const Value& settings = service.settings;
  MUSTER_TRY(const std::vector<std::string> words, SplitCommand(settings.Text("command")));
  std::unordered_map<std::string, const Host*> hosts;
  for (const Host& host : cluster.hosts) hosts[host.name] = &host;

  Instance common_part;
  common_part.service = service.name;
  common_part.kind = "app";
  common_part.user = service.user;
  common_part.limits = common::ReadLimits(settings.Find("limits"));
  common_part.restart = common::ReadRestart(settings.Find("restart"));
  common_part.log = common::ReadLog(settings.Find("log"));
  common_part.ready_within = service.update.deadline;
  common_part.data_folders = settings.Texts("data");
  common::ReadStop(settings.Find("stop"), common_part);
  if (const std::string reload = settings.Text("reload"); !reload.empty())
    common_part.extra["reload"] = reload;
  if (const std::string path = settings.Text("artifact"); !path.empty()) {
    common_part.artifact.name = BaseName(path);
    if (const auto file = cluster.files.find(path); file != cluster.files.end()) {
      common_part.artifact.sha256 = file->second.sha256;
      common_part.artifact.executable = file->second.executable;
    }
  }
  std::map<std::string, std::string> env_file;
  if (const auto file = cluster.files.find(settings.Text("env_file")); file != cluster.files.end()) {
    env_file = ParseEnvFile(file->second.text);
  }

  common::Variables variables(service, cluster, placement);
  std::vector<Instance> instances;
  size_t index = 0;
  for (const auto& [name, place] : common::MembersOf(placement, service.name)) {
    const auto host = hosts.find(place->host);
    if (host == hosts.end()) continue;
    Instance instance = common_part;
    instance.name = name;
    instance.host = place->host;
    instance.address = host->second->address;
    instance.ordinal = place->ordinal;
    instance.ports = place->ports;
    const std::string id = IdOf(service, variables, name, *place, instance.address, index++);
    variables.Choose(name, *place, id, instance.address);
    for (const std::string& word : words) instance.argv.push_back(variables.Expand(word));
    for (const auto& [key, value] : env_file) instance.env[key] = variables.Expand(value);
    if (const Value* env = settings.Find("env")) {
      for (const Value::Entry& entry : env->entries)
        instance.env[entry.key] = variables.Expand(entry.value.text);
    }
    instance.working_folder = variables.Expand(settings.Text("working_folder"));
    instance.probe = common::ReadHealth(settings.Find("health"), instance.ports);
    if (instance.probe.kind == Probe::Kind::kCommand)
      instance.probe.target = variables.Expand(instance.probe.target);
    for (const auto& [port, range] : instance.ports) {
      if (range.first < 1024) instance.extra["bind_low_ports"] = "yes";
    }
    AddFiles(service, cluster, variables, instance);
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::optional<std::string> AppLayout::Export(std::string_view word, const Service& service,
                                             const Cluster& cluster, const Placement& placement) const {
  const std::map<std::string, PortRange> ports = PortsOf(service);
  if (word == "endpoints") {
    if (ports.empty()) return std::nullopt;
    return common::Endpoints(cluster, placement, service.name, common::MainPort(ports));
  }
  if (word.starts_with("endpoints.")) {
    const std::string port(word.substr(10));
    if (!ports.contains(port)) return std::nullopt;
    return common::Endpoints(cluster, placement, service.name, port);
  }
  return std::nullopt;
}

Impact AppLayout::ImpactOf(std::string_view part) const {
  // What the agent itself uses; the process knows nothing of it.
  for (const std::string_view live : {"probe", "stop", "restart", "log", "ready_within"}) {
    if (part == live) return Impact::kLive;
  }
  return Impact::kRestart;
}

}  // namespace muster::app
