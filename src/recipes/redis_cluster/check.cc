// What is wrong with a Redis Cluster though its shape is right.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "base/text.h"
#include "model/template.h"
#include "recipes/common/placement.h"
#include "recipes/common/values.h"
#include "recipes/common/variables.h"
#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster {
namespace {

constexpr int kMastersLeast = 3;
constexpr size_t kHostsForVotes = 3;

// Others than its own processes can reach it.
bool IsBeyond(const Host* host) { return !host->address.starts_with("127.") && host->address != "::1"; }

class Checker {
 public:
  Checker(const Service& service, const Cluster& cluster)
      : service_(service), cluster_(cluster), settings_(service.settings), values_(SettingsOf(service)) {}

  std::vector<Finding> Findings() {
    CheckNumbers();
    CheckPort();
    CheckSurge();
    CheckMembers();
    CheckSpread();
    CheckPassword();
    CheckProgram();
    CheckSettings();
    CheckMemory();
    if (const Value* health = settings_.Find("health")) common::CheckHealthValues(*health, findings_);
    common::CheckDuration(settings_.Find("node_timeout"), "everybody would be taken for dead at once",
                          "write how long a member may be silent, such as 5s", findings_);
    return std::move(findings_);
  }

 private:
  void Report(std::string_view code, const Value* value, std::string message, std::string fix,
              Severity severity = Severity::kError) {
    findings_.push_back({.severity = severity,
                         .code = std::string(code),
                         .mark = value ? value->mark : service_.mark,
                         .message = std::move(message),
                         .fix = std::move(fix),
                         .file = ""});
  }

  void CheckNumbers() {
    const int masters = MastersOf(service_);
    if (masters >= kMastersLeast) return;
    Report("too-few-masters", settings_.Find("masters"),
           fmt::format(
               "{} has {} master{}: without a majority of three nobody can be voted for, and Redis forms "
               "no cluster",
               service_.name, masters, masters == 1 ? "" : "s"),
           "write masters: 3");
  }

  void CheckPort() {
    const int bus = PortsOf(service_).at(kBusPort).first;
    if (bus <= 65535) return;
    Report("out-of-range", settings_.Find("port"),
           fmt::format("the cluster bus of {} would have the port {}", service_.name, bus),
           "write a port below 55536: the bus is on the port 10000 above it");
  }

  void CheckSurge() {
    if (service_.update.max_surge.amount <= 0) return;
    const Value* update = settings_.Find("update");
    Report(
        "surge-identity", update ? update->Find("max_surge") : nullptr,
        fmt::format("{} can't have more members for a while: each has an identity and data", service_.name),
        "remove max_surge: a replica stands in for each master that restarts");
  }

  void CheckMembers() {
    const auto hosts = common::HostsOf(service_, cluster_);
    std::set<std::pair<std::string, int>> ports;
    std::set<std::tuple<std::string, std::string, std::string>> folders;
    for (const ListedMember& member : ListedMembers(service_, cluster_)) {
      const bool known = std::any_of(hosts.begin(), hosts.end(),
                                     [&](const Host* host) { return host->name == member.host; });
      const Value* place = member.value->Find("host") ? member.value->Find("host") : member.value;
      if (!known) {
        Report("unknown-host", place,
               member.host.empty() ? "on which host?"
                                   : fmt::format("{} has no host {}", service_.name, member.host),
               hosts.empty() ? "define it under hosts" : fmt::format("write host: {}", hosts[0]->name));
      }
      if (member.port + kBusOffset > 65535) {
        Report("out-of-range", member.value->Find("port"),
               fmt::format("the cluster bus of this member would have the port {}", member.port + kBusOffset),
               "write a port below 55536: the bus is on the port 10000 above it");
      }
      if (!ports.emplace(member.host, member.port).second) {
        Report("member-twice", member.value,
               fmt::format("two members would have the port {} of {}", member.port, member.host),
               "keep one of them");
      }
      const auto nodes = member.files.find("cluster-config-file");
      const std::string file = nodes == member.files.end() ? "nodes.conf" : nodes->second;
      if (!member.data.empty() && !folders.emplace(member.host, member.data, file).second) {
        Report("member-twice", member.value,
               fmt::format("two members would have the data in {}", member.data), "keep one of them");
      }
    }
  }

  void CheckSpread() {
    const auto hosts = common::HostsOf(service_, cluster_);
    // Of a rehearsal all hosts fail at once; the file is asked about them without --rehearse.
    if (cluster_.hosts_left_out || cluster_.rehearsal) return;
    if (hosts.size() == 1 && ReplicasOf(service_) > 0) {
      Report("replica-beside-master", settings_.Find("hosts"),
             fmt::format("all of {} stands on {}: the replicas go down with their masters", service_.name,
                         hosts[0]->name),
             "give it two hosts or more", Severity::kWarning);
    } else if (hosts.size() > 1 && hosts.size() < kHostsForVotes) {
      Report(
          "quorum-on-one-host", settings_.Find("hosts"),
          fmt::format("{} has {} hosts, so the loss of one can take the majority of its masters: nobody is "
                      "voted for then, and only muster can bring the replicas in",
                      service_.name, hosts.size()),
          "spread it over at least three hosts", Severity::kWarning);
    }
  }

  void CheckPassword() {
    const Value* password = settings_.Find("password");
    if (!password || password->text.empty()) {
      const auto hosts = common::HostsOf(service_, cluster_);
      const bool beyond = std::any_of(hosts.begin(), hosts.end(), IsBeyond);
      if (!beyond || cluster_.rehearsal) return;
      Report("no-password", password,
             fmt::format("{} has no password: whoever reaches its hosts can read and delete everything",
                         service_.name),
             fmt::format("write password: \"{{{{secret.{}}}}}\" and set it: muster secret set {}",
                         service_.name, service_.name),
             Severity::kWarning);
      return;
    }
    const common::Known known{.service = &service_, .cluster = &cluster_, .ports = PortsOf(service_)};
    common::CheckVariables(known, *password, findings_);
    const auto variables = VariablesIn(password->text);
    const bool secret = std::any_of(variables.begin(), variables.end(), [](const Variable& variable) {
      return variable.name.starts_with("secret.");
    });
    if (secret) return;
    Report("password-in-clear", password,
           fmt::format("the password of {} stands in the cluster file, for everybody who reads it",
                       service_.name),
           fmt::format("write \"{{{{secret.{}}}}}\" and set it: muster secret set {}", service_.name,
                       service_.name),
           Severity::kWarning);
  }

  void CheckProgram() {
    const Value* program = settings_.Find("program");
    if (!program) return;
    if (settings_.Find("artifact")) {
      Report("bad-value", program, "both program and artifact are given", "keep one of them");
    } else if (program->text.find('/') != std::string::npos && program->text[0] != '/') {
      Report(
          "bad-value", program,
          fmt::format("{} would be looked for in the folder of each member, where it is not", program->text),
          fmt::format("write artifact: {} to send a file of yours, or an absolute path", program->text));
    }
  }

  void CheckSettings() {
    const Value* written = settings_.Find("settings");
    if (!written) return;
    std::vector<redis::GivenSetting> given;
    for (const Value::Entry& entry : written->entries) {
      const Value& value = entry.value;
      redis::GivenSetting one{.name = entry.key, .mark = value.mark.line > 0 ? value.mark : entry.key_mark};
      // As they are rendered; a setting that stands there twice is told by its names.
      if (const auto ours = values_.find(redis::CurrentName(entry.key)); ours != values_.end())
        one.values = ours->second;
      given.push_back(std::move(one));
      const bool variable = !VariablesIn(value.text).empty();
      if (variable) {
        Report("bad-value", &value,
               fmt::format("{} is handed on as it stands: {{{{…}}}} isn't filled in", entry.key),
               "write the value itself; a password goes into password:");
      }
    }
    for (Finding& finding : redis::CheckSettings(given)) findings_.push_back(std::move(finding));
    const Value* timeout = settings_.Find("node_timeout");
    if (timeout && written->Find("cluster-node-timeout")) {
      Report("bad-value", timeout, "both node_timeout and cluster-node-timeout are given",
             "keep one of them");
    }
    const Value* protect = written->Find("protected-mode");
    const auto hosts = common::HostsOf(service_, cluster_);
    const bool beyond = std::any_of(hosts.begin(), hosts.end(), IsBeyond);
    if (protect && beyond && ReadBool(*protect, false) && settings_.Text("password").empty()) {
      Report(
          "bad-value", protect,
          "protected-mode lets in nobody from other hosts where there is no password, not even other members",
          "give it a password, or leave protected-mode out");
    }
  }

  // In bytes; 0 where there is no bound.
  int64_t MaxMemory() const {
    const auto found = values_.find("maxmemory");
    const redis::Setting* setting = redis::FindSetting("maxmemory");
    if (found == values_.end() || !setting) return 0;
    return std::atoll(redis::RunningValue(*setting, found->second).c_str());
  }

  void CheckMemory() {
    const Value* written = settings_.Find("settings");
    const int64_t most = MaxMemory();
    if (!written || most <= 0 || HasErrors(findings_)) return;
    const Value* value = written->Find("maxmemory");
    if (!values_.contains("maxmemory-policy")) {
      Report("maxmemory-policy", value,
             "maxmemory without maxmemory-policy: a full member refuses writes (noeviction)",
             "write maxmemory-policy: noeviction if that is meant, or allkeys-lru for a cache",
             Severity::kWarning);
    }
    const Value* limits = settings_.Find("limits");
    const Value* memory = limits ? limits->Find("memory") : nullptr;
    const auto limit = memory ? ParseSize(memory->text) : Result<int64_t>(int64_t{0});
    if (limit.ok() && *limit > 0 && most >= *limit) {
      Report("bad-value", value,
             fmt::format("maxmemory is {}, limits.memory {}: the kernel kills a member before it is full",
                         value ? value->text : "", memory->text),
             "leave room above maxmemory, for clients, replicas and a fork while it saves",
             Severity::kWarning);
    }
  }

  const Service& service_;
  const Cluster& cluster_;
  const Value& settings_;
  const redis::ConfSettings values_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> RedisClusterLayout::Check(const Service& service, const Cluster& cluster,
                                               WallTime /*now*/) const {
  return Checker(service, cluster).Findings();
}

}  // namespace muster::redis_cluster
