#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/text.h"
#include "spec/file_shape.h"
#include "spec/shape_check.h"
#include "spec/spec.h"
#include "spec/yaml.h"

namespace muster::spec {
namespace {

using Type = Shape::Type;

// Reads a cluster from the root of the file, reporting what is wrong on the way.
class Reader {
 public:
  explicit Reader(std::vector<Finding>& findings) : findings_(findings) {}

  Cluster Read(const Value& root) {
    cluster_.name = root.Text("cluster");
    ReadHosts(root.Find("hosts"));
    if (const Value* services = root.Find("services"); services && services->is_map()) {
      for (const Value::Entry& entry : services->entries) ReadService(entry);
      if (services->entries.empty()) Add("no-services", services->mark, "the file has no service", "add one");
    }
    CheckUses();
    return std::move(cluster_);
  }

 private:
  void Add(std::string_view code, Mark mark, std::string message, std::string fix) {
    findings_.push_back({.severity = Severity::kError,
                         .code = std::string(code),
                         .mark = mark,
                         .message = std::move(message),
                         .fix = std::move(fix),
                         .file = ""});
  }

  void ReadHosts(const Value* hosts) {
    if (!hosts || !hosts->is_map() || hosts->entries.empty()) {
      cluster_.hosts_left_out = true;
      cluster_.hosts.push_back(
          {.name = "local", .address = "127.0.0.1", .mark = hosts ? hosts->mark : Mark{}});
      return;
    }
    std::map<std::string, std::string> owners;
    for (const Value::Entry& entry : hosts->entries) {
      const Value* address = entry.value.Find("address");
      const Mark mark = address ? address->mark : entry.key_mark;
      Host host{.name = entry.key, .address = entry.value.Text("address"), .mark = entry.key_mark};
      const std::string& text = host.address;
      const bool plausible =
          !text.empty() &&
          text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") ==
              std::string::npos;
      if (address && !plausible) {
        Add("bad-address", mark, fmt::format("\"{}\" is neither an IP address nor a host name", text),
            "write the address that other hosts reach it at, without port or scheme");
      }
      if (hosts->entries.size() > 1 && (text == "localhost" || text.starts_with("127.") || text == "::1")) {
        Add("host-localhost", mark,
            fmt::format("{} is {}: the other hosts would reach themselves there", host.name, text),
            "write the address that other hosts reach it at");
      } else if (const auto [owner, is_new] = owners.emplace(text, host.name); !is_new && !text.empty()) {
        Add("duplicate-address", mark,
            fmt::format("{} has the address of {}: {}", host.name, owner->second, text),
            "each host needs an address of its own; --rehearse gives them some on one machine");
      }
      cluster_.hosts.push_back(std::move(host));
    }
  }

  void ReadService(const Value::Entry& entry) {
    const Value& value = entry.value;
    Service service{.name = entry.key, .kind = value.Text("kind"), .mark = entry.key_mark};
    service.uses = value.Texts("uses");
    service.hosts = value.Texts("hosts");
    service.user = value.Text("user");
    if (const Value* update = value.Find("update")) ReadUpdate(*update, service.update);
    const std::string require = value.Text("require");
    if (require == "all") {
      service.require.kind = Require::Kind::kAll;
    } else if (require == "quorum") {
      service.require.kind = Require::Kind::kQuorum;
    } else if (!require.empty()) {
      service.require = {.kind = Require::Kind::kNumber, .number = std::atoi(require.c_str())};
    }
    service.settings = value;
    if (const Value* hosts = value.Find("hosts")) CheckHosts(*hosts);
    cluster_.services.push_back(std::move(service));
  }

  void ReadUpdate(const Value& value, UpdatePolicy& update) {
    const auto share = [&](const char* key, Share& target) {
      const std::string text = value.Text(key);
      if (text.empty()) return;
      target = {.amount = std::atoll(text.c_str()), .percent = text.ends_with('%')};
    };
    const auto duration = [&](const char* key, Duration& target) {
      const std::string text = value.Text(key);
      if (text.empty()) return;
      if (const auto parsed = ParseDuration(text); parsed.ok()) target = *parsed;
    };
    share("max_unavailable", update.max_unavailable);
    share("max_surge", update.max_surge);
    duration("min_ready", update.min_ready);
    duration("deadline", update.deadline);
    update.keep = static_cast<int>(value.Integer("keep", update.keep));
    update.rollback_on_failure = value.Text("on_failure") == "rollback";
  }

  void CheckHosts(const Value& hosts) {
    std::vector<std::string> known;
    for (const Host& host : cluster_.hosts) known.push_back(host.name);
    const auto check = [&](const Value& one) {
      if (!one.is_scalar() || cluster_.FindHost(one.text)) return;
      const auto near = Nearest(one.text, known);
      Add("unknown-host", one.mark, fmt::format("there is no host {}", one.text),
          near ? fmt::format("did you mean {}?", *near) : "known are: " + Join(known, ", "));
    };
    if (hosts.is_list()) {
      for (const Value& one : hosts.items) check(one);
    } else {
      check(hosts);
    }
  }

  void CheckUses() {
    std::map<std::string, const Service*> by_name;
    std::vector<std::string> known;
    for (const Service& service : cluster_.services) {
      by_name[service.name] = &service;
      known.push_back(service.name);
    }
    const auto mark_of = [](const Service& service, const std::string& used) {
      const Value* uses = service.settings.Find("uses");
      if (uses && uses->is_list()) {
        for (const Value& one : uses->items) {
          if (one.text == used) return one.mark;
        }
      }
      return uses ? uses->mark : service.mark;
    };
    for (const Service& service : cluster_.services) {
      for (const std::string& used : service.uses) {
        if (by_name.contains(used)) continue;
        const auto near = Nearest(used, known);
        Add("unknown-service", mark_of(service, used),
            fmt::format("{} uses {}, which is no service", service.name, used),
            near ? fmt::format("did you mean {}?", *near) : "known are: " + Join(known, ", "));
      }
    }
    // Each cycle is told once, at the edge that closes it.
    std::map<std::string, int> seen;  // 1: on the path, 2: done
    std::vector<std::string> path;
    const std::function<void(const Service&)> visit = [&](const Service& service) {
      seen[service.name] = 1;
      path.push_back(service.name);
      for (const std::string& used : service.uses) {
        const auto next = by_name.find(used);
        if (next == by_name.end()) continue;
        if (seen[used] == 1) {
          std::vector<std::string> cycle(std::find(path.begin(), path.end(), used), path.end());
          cycle.push_back(used);
          Add("uses-cycle", mark_of(service, used),
              "services use each other in a circle: " + Join(cycle, " → "),
              "each must be able to start before those that use it: remove one of these");
        } else if (seen[used] == 0) {
          visit(*next->second);
        }
      }
      path.pop_back();
      seen[service.name] = 2;
    };
    for (const Service& service : cluster_.services) {
      if (seen[service.name] == 0) visit(service);
    }
  }

  std::vector<Finding>& findings_;
  Cluster cluster_;
};

// The shape stage beyond FileShape: each service against the shape of its kind. An unknown kind is a matter
// of shape too: the schema knows all kinds.
void CheckServices(const Value& services, const Shapes& shapes, std::vector<Finding>& findings) {
  std::map<std::string, Shape> known;
  for (const Value::Entry& entry : services.entries) {
    const std::string where = "services." + entry.key;
    const auto add = [&](std::string_view code, Mark mark, std::string message, std::string fix) {
      findings.push_back({.severity = Severity::kError,
                          .code = std::string(code),
                          .mark = mark,
                          .message = std::move(message),
                          .fix = std::move(fix),
                          .file = ""});
    };
    if (!entry.value.is_map()) {
      add("wrong-type", entry.value.mark.line ? entry.value.mark : entry.key_mark,
          fmt::format("{} must be a map", where), "write its kind and settings below it");
      continue;
    }
    std::vector<std::string> kinds;
    for (const auto& [name, shape] : shapes) kinds.push_back(name);
    const Value* kind = entry.value.Find("kind");
    if (!kind || !kind->is_scalar()) {
      add("missing-key", entry.key_mark, fmt::format("{} needs the key kind", where),
          "add kind: one of " + Join(kinds, ", "));
      continue;
    }
    const auto shape = shapes.find(kind->text);
    if (shape == shapes.end()) {
      const auto near = Nearest(kind->text, kinds);
      add("unknown-kind", kind->mark, fmt::format("there is no kind {}", kind->text),
          near ? fmt::format("did you mean {}?", *near) : "known are: " + Join(kinds, ", "));
      continue;
    }
    auto [whole, is_new] = known.try_emplace(kind->text);
    if (is_new) whole->second = ServiceShape(kind->text, shape->second);
    CheckShape(entry.value, whole->second, where, findings);
  }
}

// Calls `act` for each value of shape kFile below `value`.
void EachFile(const Value& value, const Shape& shape, const std::function<void(const Value&)>& act) {
  switch (shape.type) {
    case Type::kFile:
      if (value.is_scalar()) act(value);
      return;
    case Type::kList:
      if (!shape.element) return;
      if (!value.is_list() && shape.or_single) EachFile(value, *shape.element, act);
      for (const Value& item : value.items) EachFile(item, *shape.element, act);
      return;
    case Type::kMap:
      if (!shape.element) return;
      for (const Value::Entry& entry : value.entries) EachFile(entry.value, *shape.element, act);
      return;
    case Type::kObject:
      for (const Value::Entry& entry : value.entries) {
        for (const Shape::Field& field : shape.fields) {
          if (field.name == entry.key) EachFile(entry.value, field.shape, act);
        }
      }
      return;
    case Type::kEither:
      for (const Shape& choice : shape.choices) {
        const bool list = choice.type == Type::kList,
                   map = choice.type == Type::kMap || choice.type == Type::kObject;
        if ((list && value.is_list()) || (map && value.is_map()) || (!list && !map && value.is_scalar())) {
          EachFile(value, choice, act);
          return;
        }
      }
      return;
    default:
      return;
  }
}

}  // namespace

Parsed ParseCluster(std::string_view text, std::string_view file_name, const Shapes& shapes) {
  Parsed parsed;
  const Value root = ReadYaml(text, parsed.findings);
  const bool readable = root.is_map();
  if (readable) {
    CheckShape(root, FileShape(), "", parsed.findings);
    if (const Value* services = root.Find("services"); services && services->is_map()) {
      CheckServices(*services, shapes, parsed.findings);
    }
  } else if (parsed.findings.empty()) {
    parsed.findings.push_back({.severity = Severity::kError,
                               .code = "wrong-type",
                               .mark = {.line = 1, .column = 1},
                               .message = "the file is empty, or no map of cluster, hosts and services",
                               .fix = "begin with cluster: NAME; muster alone shows an example",
                               .file = ""});
  }
  parsed.shape_ok = parsed.findings.empty();
  if (readable) parsed.cluster = Reader(parsed.findings).Read(root);
  if (parsed.cluster.hosts.empty()) {
    parsed.cluster.hosts.push_back({.name = "local", .address = "127.0.0.1", .mark = {}});
  }
  for (Finding& finding : parsed.findings) finding.file = file_name;
  std::stable_sort(parsed.findings.begin(), parsed.findings.end(), [](const Finding& a, const Finding& b) {
    return std::pair(a.mark.line, a.mark.column) < std::pair(b.mark.line, b.mark.column);
  });
  return parsed;
}

std::vector<FileReference> FilesIn(const Cluster& cluster, const Shapes& shapes) {
  std::vector<FileReference> files;
  std::set<std::string> seen;
  for (const Service& service : cluster.services) {
    const auto shape = shapes.find(service.kind);
    if (shape == shapes.end()) continue;
    Shape object = shape->second;
    object.type = Type::kObject;
    EachFile(service.settings, object, [&](const Value& value) {
      if (seen.insert(value.text).second) files.push_back({.path = value.text, .mark = value.mark});
    });
  }
  return files;
}

void Rehearse(Cluster& cluster, int block) {
  cluster.rehearsal = true;
  for (size_t i = 0; i < cluster.hosts.size(); ++i) {
    // More than 250 hosts of one rehearsal go on in the addresses behind: 127.77.C.250 is the last of a
    // block.
    cluster.hosts[i].address = fmt::format("127.77.{}.{}", block, i % 250 + 1);
  }
}

}  // namespace muster::spec
