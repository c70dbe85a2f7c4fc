// What is wrong with an app though its shape is right.
#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "model/secret.h"
#include "model/template.h"
#include "recipes/app/layout.h"
#include "recipes/app/shell_habits.h"
#include "recipes/app/texts.h"
#include "recipes/common/placement.h"
#include "recipes/common/shapes.h"
#include "recipes/common/values.h"
#include "recipes/common/variables.h"

namespace muster::app {
namespace {

constexpr size_t kPathMost = 1000;   // in bytes, below the instance's folder
constexpr size_t kNameMost = 240;    // of the 255 that Linux has; the rest is for a name while it is written
constexpr size_t kPeersMost = 2000;  // each knows all others: the text grows with the square

void Add(std::vector<Finding>& findings, std::string_view code, Mark mark, std::string message,
         std::string fix, Severity severity = Severity::kError) {
  findings.push_back({.severity = severity,
                      .code = std::string(code),
                      .mark = mark,
                      .message = std::move(message),
                      .fix = std::move(fix),
                      .file = ""});
}

bool UsesIdentity(const std::string& text) {
  for (const Variable& variable : VariablesIn(text)) {
    for (const std::string_view name : {"instance", "ordinal", "id"}) {
      if (variable.name == name) return true;
    }
    if (variable.name.starts_with("peers.")) return true;
  }
  return false;
}

// Ids as the members will have them: what is equal there can't be told apart.
void CheckRenderedIds(const Service& service, const Cluster& cluster, const Placement& members,
                      const Value& id, std::vector<Finding>& findings) {
  std::unordered_map<std::string, const Host*> hosts;
  for (const Host& host : cluster.hosts) hosts[host.name] = &host;
  common::Variables variables(service, cluster, members);
  std::map<std::string, std::string> seen;  // id -> member
  for (const auto& [name, place] : common::MembersOf(members, service.name)) {
    const auto host = hosts.find(place->host);
    if (host == hosts.end()) continue;
    variables.Choose(name, *place, name, host->second->address);
    const std::string text = variables.Expand(id.text);
    const auto [first, is_new] = seen.emplace(text, name);
    if (is_new) continue;
    Add(findings, "id-not-unique", id.mark,
        fmt::format("{} and {} would both have the id \"{}\"", first->second, name, MaskMarkers(text)),
        "add {{ordinal}} or {{instance}} to it");
    return;
  }
}

void CheckIds(const Service& service, const Cluster& cluster, const Placement& placed,
              std::vector<Finding>& findings) {
  const size_t members = placed.size();
  const Value* ids = service.settings.Find("ids");
  const Value* id = service.settings.Find("id");
  if (ids && id) {
    Add(findings, "id-twice", id->mark, "both id and ids are given", "keep one of them");
  }
  const auto check_fixed = [&](const Value& value) {
    for (const std::string_view sign : {"$RANDOM", "$(", "`", "uuid", "{{random"}) {
      if (value.text.find(sign) == std::string::npos) continue;
      Add(findings, "id-not-fixed", value.mark,
          fmt::format("the id \"{}\" would differ at each start; members could not be told apart",
                      value.text),
          "write a fixed one, such as " + service.name + "-{{ordinal}}");
      return;
    }
  };
  if (ids) {
    std::set<std::string> seen;
    for (const Value& one : ids->items) {
      check_fixed(one);
      if (!seen.insert(one.text).second) {
        Add(findings, "id-not-unique", one.mark, fmt::format("the id {} is given twice", one.text),
            "each instance needs an id of its own");
      }
    }
    if (ids->items.size() < members) {
      Add(findings, "id-missing", ids->mark,
          fmt::format("{} ids for {} instances", ids->items.size(), members), "name an id for each");
    }
  }
  if (id) {
    check_fixed(*id);
    CheckRenderedIds(service, cluster, placed, *id, findings);
  }
}

void CheckSecretsInCommand(const Value& value, std::vector<Finding>& findings) {
  for (const Variable& variable : VariablesIn(value.text)) {
    if (!variable.name.starts_with("secret.")) continue;
    Mark mark = value.mark;
    mark.column += static_cast<int>(variable.offset) + (value.quoted ? 1 : 0);
    Add(findings, "secret-in-command", mark,
        fmt::format("everyone on the host can read {{{{{}}}}} in the list of processes", variable.name),
        "put it in env:, or in a file of files: (they are 0600 where they hold a secret)");
  }
}

// Every path that `path` lies in, the longest first: "a/b", "a" of "a/b/c".
std::vector<std::string> FoldersOf(const std::string& path) {
  std::vector<std::string> folders;
  for (size_t at = path.rfind('/'); at != std::string::npos && at > 0; at = path.rfind('/', at - 1)) {
    folders.push_back(path.substr(0, at));
  }
  return folders;
}

// What keeps the agent from making it below `folder`; empty where nothing does.
std::string WrongWithPath(const std::string& path, std::string_view folder) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(path.begin(), path.end(), control)) {
    return fmt::format("a path inside of {} has a control character in it", folder);
  }
  if (path.size() > kPathMost) {
    return fmt::format("a path inside of {} has {} bytes, more than {}", folder, path.size(), kPathMost);
  }
  for (const std::string& part : Split(path, '/')) {
    if (part.empty() || part == "." || part == "..") {
      return fmt::format("\"{}\" is not a path inside of {}", path, folder);
    }
    if (part.size() > kNameMost) {
      return fmt::format("a name in a path inside of {} has {} bytes, more than {}", folder, part.size(),
                         kNameMost);
    }
  }
  return "";
}

void CheckPaths(const Value& settings, std::vector<Finding>& findings) {
  const auto is_path = [&](const std::string& path, Mark mark, std::string_view folder) {
    const std::string wrong = WrongWithPath(path, folder);
    if (wrong.empty()) return true;
    Add(findings, "bad-path", mark, wrong, "write it short, without a / in front, without . and ..");
    return false;
  };
  std::set<std::string> data{"data"};  // and all folders on the way there
  const auto add_data = [&](const Value& one) {
    if (!is_path(one.text, one.mark, "{{data}}")) return;
    data.insert("data/" + one.text);
    for (const std::string& folder : FoldersOf("data/" + one.text)) data.insert(folder);
  };
  if (const Value* folders = settings.Find("data")) {
    if (folders->is_scalar()) add_data(*folders);
    for (const Value& item : folders->items) add_data(item);
  }
  const Value* files = settings.Find("files");
  if (!files) return;
  std::set<std::string> good;
  for (const Value::Entry& entry : files->entries) {
    if (is_path(entry.key, entry.key_mark, "the instance's folder")) good.insert(entry.key);
  }
  for (const Value::Entry& entry : files->entries) {
    const std::string& path = entry.key;
    if (!good.contains(path)) continue;
    if (path == "logs" || path.starts_with("logs/")) {
      Add(findings, "path-reserved", entry.key_mark,
          fmt::format("\"{}\": logs is where muster keeps what the instance prints", path),
          "put it into another folder, such as conf");
      continue;
    }
    if (data.contains(path)) {
      Add(findings, "path-reserved", entry.key_mark,
          fmt::format("\"{}\" is a folder of data: no file can have that name", path),
          "give the file another name, or another folder");
      continue;
    }
    for (const std::string& folder : FoldersOf(path)) {
      if (!good.contains(folder)) continue;
      Add(findings, "path-clash", entry.key_mark,
          fmt::format("\"{}\" lies in \"{}\", which is a file itself", path, folder),
          "give one of them another name");
      break;
    }
  }
}

}  // namespace

void CheckMeaning(const Service& service, const Cluster& cluster, std::vector<Finding>& findings) {
  const Value& settings = service.settings;
  const common::Count count = common::ReadCount(settings.Text("instances"));
  const auto ports = PortsOf(service);
  if (common::CheckTooMany(service, cluster, count, findings)) return;
  const Placement members = common::PlaceMembers(service, cluster, {}, count, ports);
  const common::Known known{.service = &service,
                            .cluster = &cluster,
                            .ports = ports,
                            .artifact = settings.Find("artifact") != nullptr};

  if (count.number < 1) {
    const Value* value = settings.Find("instances");
    Add(findings, "out-of-range", value ? value->mark : service.mark, service.name + " has no instances",
        "write at least 1, or remove the service");
  }
  if (const Value* value = settings.Find("ports")) {
    for (const Value::Entry& entry : value->entries) {
      const PortRange range = common::ReadPorts(entry.value.text);
      const int last = range.first + range.count - 1;
      if (range.first < 1 || range.count < 1 || last > 65535) {
        Add(findings, "out-of-range", entry.value.mark,
            fmt::format("port {} is {}", entry.key, entry.value.text),
            "write a port from 1 to 65535, or a range from low to high");
      }
    }
  }
  if (const auto split = SplitCommand(settings.Text("command")); !split.ok() || split->empty()) {
    const Value* command = settings.Find("command");
    Add(findings, "bad-quoting", command ? command->mark : service.mark,
        split.ok() ? "the command is empty" : split.error().message(),
        split.ok() ? "write a program and its arguments" : "close the quote, or escape it with \\");
  }
  if (const Value* health = settings.Find("health"); health && health->is_map()) {
    int kinds = 0;
    for (const char* kind : {"http", "tcp", "command", "log"}) kinds += health->Find(kind) != nullptr;
    if (kinds > 1)
      Add(findings, "health-twice", health->mark, "more than one way to tell health", "keep one");
    common::CheckHealthValues(*health, findings);
    const Value* written = settings.Find("ports");
    const bool ports_untold = written && written->stand_in;
    for (const char* key : {"port", "tcp"}) {
      const Value* port = health->Find(key);
      if (!port || ports_untold) continue;
      if (const auto found = ports.find(port->text); found != ports.end()) {
        if (!found->second.udp) continue;
        common::AddBadValue(*port, fmt::format("{} is a UDP port: nobody can connect to it", port->text),
                            "name a TCP port, or tell health by log: or command:", findings);
        continue;
      }
      std::vector<std::string> names;
      for (const auto& [name, range] : ports) names.push_back(name);
      Add(findings, "unknown-port", port->mark,
          fmt::format("{} has no port called {}", service.name, port->text),
          names.empty() ? "add it to ports:" : "known are: " + Join(names, ", "));
    }
    const bool only_udp = !ports.empty() && std::all_of(ports.begin(), ports.end(),
                                                        [](const auto& port) { return port.second.udp; });
    if (const Value* http = health->Find("http");
        http && only_udp && !ports_untold && !health->Find("port")) {
      common::AddBadValue(*http,
                          fmt::format("{} has only UDP ports: nobody can ask them by HTTP", service.name),
                          "add a TCP port, or tell health by log: or command:", findings);
    }
    if (ports.empty() && !ports_untold && (health->Find("http") || health->Find("tcp"))) {
      Add(findings, "unknown-port", health->mark, service.name + " has no ports to ask", "add ports:");
    }
  }
  CheckPaths(settings, findings);
  CheckEnvFile(service, cluster, findings);
  CheckIds(service, cluster, members, findings);

  bool identity = UsesIdentity(settings.Text("id")) || settings.Find("ids");
  for (const Part& part : PartsOf(service, cluster)) {
    if (part.value) {
      common::CheckVariables(known, *part.value, findings);
    } else {
      common::CheckFileVariables(known, part.where, part.text, part.mark, findings);
    }
    CheckSeeds(service, part, cluster, members, findings);
    if (cluster.hosts.size() > 1) CheckLocalhost(part, cluster, findings);
    CheckStartIds(service, part, findings);
    identity |= UsesIdentity(part.text);
    if (members.size() > kPeersMost && part.text.find("{{peers.") != std::string::npos) {
      Add(findings, "out-of-range", part.mark,
          fmt::format("{} names all {} peers to each of them", part.where, members.size()),
          fmt::format("more than {} members need another way to find each other", kPeersMost));
    }
    if (part.where == "command") {
      CheckSecretsInCommand(*part.value, findings);
      CheckShellHabits(*part.value, findings);
    }
  }
  // It runs beside its own instance, so localhost is right there.
  if (const Value* health = settings.Find("health")) {
    if (const Value* command = health->Find("command")) {
      common::CheckVariables(known, *command, findings);
      CheckSecretsInCommand(*command, findings);
      CheckShellHabits(*command, findings);
    }
  }
  if (const Value* id = settings.Find("id")) common::CheckVariables(known, *id, findings);

  const Value* update = settings.Find("update");
  if (service.update.max_surge.amount > 0 && identity) {
    const Value* surge = update ? update->Find("max_surge") : nullptr;
    Add(findings, "surge-identity", surge ? surge->mark : service.mark,
        fmt::format("{} can't have more members for a while: each has an identity that others know",
                    service.name),
        "remove max_surge, or {{instance}}, {{ordinal}}, {{id}} and {{peers…}}");
  }
}

std::vector<Finding> AppLayout::Check(const Service& service, const Cluster& cluster,
                                      WallTime /*now*/) const {
  std::vector<Finding> findings;
  CheckMeaning(service, cluster, findings);
  return findings;
}

}  // namespace muster::app
