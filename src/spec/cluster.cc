#include <arpa/inet.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"
#include "spec/file_shape.h"
#include "spec/repair.h"
#include "spec/shape_check.h"
#include "spec/spec.h"
#include "spec/words.h"
#include "spec/yaml.h"

namespace muster::spec {
namespace {

constexpr int kRehearsedMost = 250;  // hosts with an address of their own in one block

using Type = Shape::Type;

// The address in the one spelling that all its spellings share; nullopt for what is no address.
std::optional<std::string> NormalAddress(const std::string& text) {
  in6_addr six{};
  in_addr four{};
  char normal[INET6_ADDRSTRLEN];
  if (::inet_pton(AF_INET6, text.c_str(), &six) == 1) {
    if (IN6_IS_ADDR_UNSPECIFIED(&six)) return std::nullopt;
    return ::inet_ntop(AF_INET6, &six, normal, sizeof normal);
  }
  if (text.find_first_not_of("0123456789.") == std::string::npos) {
    if (::inet_pton(AF_INET, text.c_str(), &four) != 1 || four.s_addr == 0) return std::nullopt;
    return text;
  }
  if (text.size() > 253) return std::nullopt;
  std::string name;
  for (const std::string& label : Split(text, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
      return std::nullopt;
    if (!name.empty()) name += '.';
    for (const char c : label) {
      const bool upper = c >= 'A' && c <= 'Z';
      if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-') return std::nullopt;
      name += upper ? static_cast<char>(c | 0x20) : c;
    }
  }
  return name;
}

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
    CheckNames();
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
    } else {
      std::unordered_map<std::string, std::string> owners;
      for (const Value::Entry& entry : hosts->entries) {
        const Value* address = entry.value.Find("address");
        const Mark mark = address ? address->mark : entry.key_mark;
        Host host{.name = entry.key, .address = entry.value.Text("address"), .mark = entry.key_mark};
        if (address && address->is_scalar()) CheckAddress(host, mark, hosts->entries.size() > 1, owners);
        cluster_.hosts.push_back(std::move(host));
      }
    }
    for (const Host& host : cluster_.hosts) {
      host_names_.push_back(host.name);
      is_host_.insert(host.name);
    }
  }

  void CheckAddress(const Host& host, Mark mark, bool others,
                    std::unordered_map<std::string, std::string>& owners) {
    const auto address = NormalAddress(host.address);
    if (!address) {
      Add("bad-address", mark,
          fmt::format("\"{}\" is neither an IP address nor a host name", Shown(host.address)),
          "write the address that other hosts reach it at, without port or scheme");
    } else if (others && (*address == "localhost" || address->starts_with("127.") || *address == "::1")) {
      Add("host-localhost", mark,
          fmt::format("{} is {}: the other hosts would reach themselves there", Shown(host.name),
                      host.address),
          "write the address that other hosts reach it at");
    } else if (const auto [owner, is_new] = owners.emplace(*address, host.name); !is_new) {
      Add("duplicate-address", mark,
          fmt::format("{} has the address of {}: {}", Shown(host.name), Shown(owner->second), host.address),
          "each host needs an address of its own; --rehearse gives them some on one machine");
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
    duration("drain", update.drain);
    update.keep = static_cast<int>(value.Integer("keep", update.keep));
    update.rollback_on_failure = value.Text("on_failure") == "rollback";
  }

  void CheckHosts(const Value& hosts) {
    const auto check = [&](const Value& one) {
      if (!one.is_scalar() || is_host_.contains(one.text)) return;
      Add("unknown-host", one.mark, fmt::format("there is no host {}", Shown(one.text)),
          SuggestOf(one.text, host_names_));
    };
    if (!hosts.is_list()) return check(hosts);
    for (const Value& one : hosts.items) check(one);
  }

  // Comparing a word with all names takes its time: where nearly everything is wrong, the first are enough.
  std::string SuggestOf(std::string_view word, const std::vector<std::string>& known) {
    if (suggestions_left_ == 0 || known.empty()) return "define it, or correct the name";
    --suggestions_left_;
    return Suggest(word, known);
  }

  void CheckNames() {
    for (size_t i = 0; i < cluster_.services.size(); ++i) by_name_.emplace(cluster_.services[i].name, i);
    for (const Service& service : cluster_.services) {
      const std::string& name = service.name;
      if (name == "ports" || name == "peers" || name == "secret") {
        Add("name-clash", service.mark,
            fmt::format("a service can't be called {0}: {{{{{0}.…}}}} has a meaning of its own", name),
            "give it another name");
      }
      const size_t dash = name.find_last_not_of("0123456789");
      if (dash == std::string::npos || dash + 1 == name.size() || name[dash] != '-') continue;
      const auto other = by_name_.find(name.substr(0, dash));
      if (other == by_name_.end()) continue;
      Add("name-clash", service.mark,
          fmt::format("{} is what an instance of {} is called", name, cluster_.services[other->second].name),
          "give one of the two services another name");
    }
  }

  // Nobody means itself.
  static std::vector<std::string> Without(std::vector<std::string> names, const std::string& name) {
    std::erase(names, name);
    return names;
  }

  void CheckUses() {
    std::vector<std::string> known;
    for (const Service& service : cluster_.services) known.push_back(service.name);
    for (const Service& service : cluster_.services) {
      const auto check = [&](const Value& use) {
        if (!use.is_scalar() || by_name_.contains(use.text)) return;
        Add("unknown-service", use.mark,
            fmt::format("{} uses {}, which is no service", Shown(service.name), Shown(use.text)),
            SuggestOf(use.text, suggestions_left_ > 0 ? Without(known, service.name) : known));
      };
      const Value* uses = service.settings.Find("uses");
      if (!uses) continue;
      check(*uses);
      for (const Value& use : uses->items) check(use);
    }
    FindCycles();
  }

  static Mark MarkOfUse(const Service& service, const std::string& used) {
    const Value* uses = service.settings.Find("uses");
    if (uses && uses->is_list()) {
      for (const Value& one : uses->items) {
        if (one.text == used) return one.mark;
      }
    }
    return uses ? uses->mark : service.mark;
  }

  // Each cycle is told once, at the edge that closes it. A walk in depth with its own stack: chains may be
  // long.
  void FindCycles() {
    struct Step {
      size_t service;
      size_t next_use = 0;
    };
    enum class Seen : char { kNo, kOnPath, kDone };
    std::vector<Seen> seen(cluster_.services.size(), Seen::kNo);
    std::vector<Step> path;
    for (size_t first = 0; first < cluster_.services.size(); ++first) {
      if (seen[first] != Seen::kNo) continue;
      seen[first] = Seen::kOnPath;
      path.push_back({.service = first});
      while (!path.empty()) {
        const Service& service = cluster_.services[path.back().service];
        if (path.back().next_use == service.uses.size()) {
          seen[path.back().service] = Seen::kDone;
          path.pop_back();
          continue;
        }
        const std::string& used = service.uses[path.back().next_use++];
        const auto found = by_name_.find(used);
        if (found == by_name_.end()) continue;
        const size_t next = found->second;
        if (seen[next] == Seen::kOnPath) {
          std::vector<std::string> names;
          for (const Step& step : path) {
            if (!names.empty() || step.service == next) names.push_back(cluster_.services[step.service].name);
          }
          AddCycle(service, used, std::move(names));
        } else if (seen[next] == Seen::kNo) {
          seen[next] = Seen::kOnPath;
          path.push_back({.service = next});
        }
      }
    }
  }

  void AddCycle(const Service& service, const std::string& used, std::vector<std::string> names) {
    constexpr size_t kNamedMost = 20;
    names.push_back(used);
    if (names.size() > kNamedMost) names.erase(names.begin() + kNamedMost / 2, names.end() - kNamedMost / 2);
    Add("uses-cycle", MarkOfUse(service, used), "services use each other in a circle: " + Join(names, " → "),
        "each must be able to start before those that use it: remove one of these");
  }

  std::vector<Finding>& findings_;
  Cluster cluster_;
  std::vector<std::string> host_names_;
  std::unordered_set<std::string> is_host_;
  std::unordered_map<std::string, size_t> by_name_;  // services, by their index
  int suggestions_left_ = 100;
};

// The shape stage beyond FileShape: each service against the shape of its kind. An unknown kind is a matter
// of shape too: the schema knows all kinds.
void CheckServices(const Value& services, const Shapes& shapes, std::vector<Finding>& findings) {
  std::map<std::string, Shape> known;
  std::vector<std::string> kinds;
  for (const auto& [name, shape] : shapes) kinds.push_back(name);
  for (const Value::Entry& entry : services.entries) {
    const std::string where = "services." + Shown(entry.key);
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
    const Value* kind = entry.value.Find("kind");
    if (!kind || !kind->is_scalar()) {
      add("missing-key", entry.key_mark, fmt::format("{} needs the key kind", where),
          "add kind: one of " + Join(kinds, ", "));
      continue;
    }
    auto shape = shapes.find(kind->text);
    if (shape == shapes.end()) {
      add("unknown-kind", kind->mark, fmt::format("there is no kind {}", Shown(kind->text)),
          Suggest(kind->text, kinds));
      const auto near = Nearest(kind->text, kinds);
      if (!near) continue;
      shape = shapes.find(*near);
    }
    auto [whole, is_new] = known.try_emplace(kind->text);
    if (is_new) whole->second = ServiceShape(kind->text, shape->second);
    CheckShape(entry.value, whole->second, where, findings);
  }
}

// Calls `act` for each value of shape kFile below `value`.
void EachFile(const Value& value, const Shape& shape,
              const std::function<void(const Value&, const Shape&)>& act) {
  switch (shape.type) {
    case Type::kFile:
      if (value.is_scalar()) act(value, shape);
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

bool IsBefore(const Mark& a, const Mark& b) {
  return std::pair(a.line, a.column) < std::pair(b.line, b.column);
}

}  // namespace

bool FollowsFromShape(const Finding& finding, const Parsed& parsed) {
  // The name is right or wrong whatever stands below it.
  return finding.file.empty() && finding.code != "name-clash" &&
         std::binary_search(parsed.told.begin(), parsed.told.end(), finding.mark, IsBefore);
}

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
  parsed.readable = readable;
  std::vector<Finding> meaning;
  if (parsed.shape_ok) {
    parsed.cluster = Reader(meaning).Read(root);
  } else if (readable) {
    Repaired repaired = Repair(root, shapes);
    parsed.told = std::move(repaired.told);
    std::sort(parsed.told.begin(), parsed.told.end(), IsBefore);
    parsed.cluster = Reader(meaning).Read(repaired.root);
  }
  for (Finding& finding : meaning) {
    if (!FollowsFromShape(finding, parsed)) parsed.findings.push_back(std::move(finding));
  }
  if (parsed.cluster.hosts.empty()) {
    parsed.cluster.hosts.push_back({.name = "local", .address = "127.0.0.1", .mark = {}});
  }
  for (Finding& finding : parsed.findings) finding.file = file_name;
  std::stable_sort(parsed.findings.begin(), parsed.findings.end(),
                   [](const Finding& a, const Finding& b) { return IsBefore(a.mark, b.mark); });
  return parsed;
}

std::vector<FileReference> FilesIn(const Cluster& cluster, const Shapes& shapes) {
  std::vector<FileReference> files;
  std::map<std::string, size_t> seen;
  for (const Service& service : cluster.services) {
    const auto shape = shapes.find(service.kind);
    if (shape == shapes.end()) continue;
    EachFile(service.settings, shape->second, [&](const Value& value, const Shape& of) {
      const auto [known, is_new] = seen.try_emplace(value.text, files.size());
      if (is_new) files.push_back({.path = value.text, .mark = value.mark});
      (of.secret ? files[known->second].secret : files[known->second].open) = true;
    });
  }
  return files;
}

void Rehearse(Cluster& cluster, int block, const std::map<std::string, int>& numbers) {
  cluster.rehearsal = true;
  std::set<int> here;  // numbers of hosts that the file has
  std::set<int> kept;  // of all, those that may come back included
  for (const auto& [host, number] : numbers) kept.insert(number);
  for (const Host& host : cluster.hosts) {
    if (const auto known = numbers.find(host.name); known != numbers.end()) here.insert(known->second);
  }
  int next = 1;
  const auto choose = [&]() -> int {
    while (next <= kRehearsedMost && kept.contains(next)) ++next;
    if (next <= kRehearsedMost) return next;
    for (int number = 1; number <= kRehearsedMost; ++number) {
      if (!here.contains(number)) return number;
    }
    return 0;
  };
  for (size_t i = 0; i < cluster.hosts.size(); ++i) {
    Host& host = cluster.hosts[i];
    const auto known = numbers.find(host.name);
    int number = known == numbers.end() ? choose() : known->second;
    // More hosts than a block has addresses share them.
    if (number == 0) number = static_cast<int>(i) % kRehearsedMost + 1;
    here.insert(number);
    kept.insert(number);
    host.address = fmt::format("127.77.{}.{}", block, number);
  }
}

}  // namespace muster::spec
