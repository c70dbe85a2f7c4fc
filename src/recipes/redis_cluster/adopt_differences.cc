// What of a Redis Cluster that was formed by hand is other than muster would have made it.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/adopt_parts.h"

namespace muster::redis_cluster::adopting {
namespace {

constexpr int kMastersLeast = 3;
constexpr int kUneven = 2;  // redis-cli's own rounding

class Differ {
 public:
  explicit Differ(const Picture& picture) : picture_(picture) {}

  std::vector<Finding> Findings() {
    Slots();
    Spread();
    Replicas();
    Processes();
    Versions();
    Settings();
    Passwords();
    Addresses();
    WhatIsLost();
    std::stable_partition(findings_.begin(), findings_.end(),
                          [](const Finding& one) { return one.severity == Severity::kError; });
    return std::move(findings_);
  }

 private:
  void Add(std::string_view code, std::string message, std::string fix,
           Severity severity = Severity::kWarning) {
    findings_.push_back({.severity = severity,
                         .code = std::string(code),
                         .mark = {},
                         .message = std::move(message),
                         .fix = std::move(fix),
                         .file = ""});
  }

  static std::string Are(const std::vector<std::string>& names, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", Join(names, ", "), names.size() == 1 ? one : many);
  }

  template <class Holds>
  std::vector<std::string> Names(Holds holds) const {
    std::vector<std::string> names;
    for (const Seat& seat : picture_.seats) {
      if (holds(seat)) names.push_back(seat.name);
    }
    return names;
  }

  std::vector<const Seat*> Masters() const {
    std::vector<const Seat*> masters;
    for (const Seat& seat : picture_.seats) {
      if (seat.node && seat.node->master && !seat.node->slots.empty()) masters.push_back(&seat);
    }
    return masters;
  }

  void Slots() {
    const auto masters = Masters();
    if (masters.size() < kMastersLeast) {
      Add("too-few-masters",
          fmt::format("{} of the members have slots: muster keeps clusters with three masters or more",
                      masters.size()),
          "give slots to three of them first: redis-cli --cluster rebalance", Severity::kError);
      if (masters.empty()) return;
    }
    redis::SlotSet covered;
    int least = redis::kSlots, most = 0;
    bool moving = false;
    for (const Seat* master : masters) {
      covered |= master->node->slots;
      least = std::min(least, master->node->slots.count());
      most = std::max(most, master->node->slots.count());
      moving |= !master->node->migrating.empty() || !master->node->importing.empty();
    }
    if (!covered.all()) {
      Add("slots-uncovered", fmt::format("nobody has the slots {}", (redis::SlotSet::All() - covered).Text()),
          "mend that first: redis-cli --cluster fix", Severity::kError);
    }
    if (moving) {
      Add("slots-moving", "slots are on their way from one master to another",
          "let that end first, or muster ends it");
    }
    if (most - least > kUneven) {
      Add("slots-uneven",
          fmt::format("the masters have between {} and {} slots; the file keeps them where they are "
                      "(slots: kept)",
                      least, most),
          "with slots: even a later up spreads them, and plan says so before");
    }
    const auto none =
        Names([](const Seat& seat) { return seat.node && seat.node->master && seat.node->slots.empty(); });
    if (!none.empty()) {
      Add("masters-without-slots", Are(none, "is a master without slots", "are masters without slots"),
          "muster makes it a replica where one is missing");
    }
    Views();
  }

  void Views() {
    const auto others = Names([&](const Seat& seat) {
      return !redis::SameView(seat.found->view, picture_.seats.front().found->view);
    });
    if (others.empty()) return;
    Add("views-differ",
        fmt::format("{} other than {} does: word may be going round",
                    Are(others, "sees the cluster", "see the cluster"), picture_.seats.front().name),
        "look again in a moment");
  }

  void Spread() {
    std::map<std::string, std::vector<std::string>> masters_on;
    for (const Seat* master : Masters()) masters_on[master->host].push_back(master->name);
    if (masters_on.empty()) return;
    std::set<std::string> hosts;
    for (const Seat& seat : picture_.seats) hosts.insert(seat.found->address);
    if (hosts.size() == 1) {
      Add("replica-beside-master",
          fmt::format("all members stand on {}: the replicas go down with their masters", *hosts.begin()),
          "spread a cluster over three hosts or more");
      return;
    }
    for (const Seat& seat : picture_.seats) {
      const Seat* master = seat.node && seat.node->replica ? picture_.OfNode(seat.node->master_id) : nullptr;
      if (!master || master->found->address != seat.found->address) continue;
      Add("replica-beside-master",
          fmt::format("{} follows {} on the same host, {}", seat.name, master->name, seat.found->address),
          "muster leaves it there; after up: stop it, and its master gets another replica");
    }
    for (const auto& [host, names] : masters_on) {
      if (names.size() * 2 <= Masters().size()) continue;
      Add("quorum-on-one-host",
          fmt::format("{} of the {} masters are on {} ({}): with it goes the majority that votes",
                      names.size(), Masters().size(), host, Join(names, ", ")),
          "let replicas on other hosts take over: redis-cli CLUSTER FAILOVER");
    }
  }

  void Replicas() {
    if (picture_.replicas == 0) {
      Add("replicas-missing", "no master has a replica: what is on a member goes with it",
          "write replicas: 1, and up adds them");
      return;
    }
    for (const Seat* master : Masters()) {
      const size_t has = picture_.ReplicasOf(*master).size();
      if (has >= static_cast<size_t>(picture_.replicas)) continue;
      const int more = picture_.wanted() - static_cast<int>(picture_.seats.size());
      Add("replicas-missing", fmt::format("{} has {} of {} replicas", master->name, has, picture_.replicas),
          more > 0 ? fmt::format("up adds {} member{}; write another replicas: where that isn't wanted", more,
                                 more == 1 ? "" : "s")
                   : "the mender gives it one that another master can spare");
    }
  }

  void Processes() {
    for (const Seat& seat : picture_.seats) {
      const FoundMember& one = *seat.found;
      const std::string who = fmt::format("{} (pid {})", seat.name, one.info.pid);
      if (!one.here) continue;
      if (!one.seen) {
        Add("process-unseen",
            fmt::format("{} can't be seen working in {}: it runs in a container, or as somebody else", who,
                        SettingOf(one, "dir")),
            "up refuses it; run muster as the user who started it, or as root, outside of containers",
            Severity::kError);
      } else if (one.root) {
        Add("user-root", fmt::format("{} runs as root, and muster runs no instance as root", who),
            fmt::format("give {} to a user of its own and restart it as that one first",
                        SettingOf(one, "dir")),
            Severity::kError);
      } else if (!one.controllable || (!picture_.user.empty() && one.user != picture_.user)) {
        Add("take-over-denied",
            fmt::format("{} belongs to {}, and {}", who, one.user,
                        picture_.user.empty() ? "you are somebody else" : "others to " + picture_.user),
            picture_.user.empty() ? "run muster as that user, or as root"
                                  : "all members of a service run as one user",
            Severity::kError);
      }
      if (one.seen && !one.unit.empty()) {
        Add("kept-by-systemd",
            fmt::format("{} is of the unit {}, which may start it again when muster stops it", who, one.unit),
            fmt::format("systemctl disable {0}, and Restart=no in systemctl edit {0}", one.unit));
      }
    }
    const auto elsewhere = Names([](const Seat& seat) { return !seat.found->here; });
    if (elsewhere.empty()) return;
    Add("host-elsewhere",
        fmt::format("{} not on this machine, and others can't be reached yet", Are(elsewhere, "is", "are")),
        "the file is right all the same; --rehearse plays it here");
  }

  void Versions() {
    std::map<std::string, std::vector<std::string>> versions;
    for (const Seat& seat : picture_.seats) versions[seat.found->info.version].push_back(seat.name);
    std::vector<std::string> texts;
    for (const auto& [version, names] : versions) {
      texts.push_back(fmt::format("{} on {}", version, Join(names, ", ")));
    }
    if (versions.size() > 1) {
      Add("versions-differ", "the members' versions differ: " + Join(texts, "; "),
          "they get one program when they are restarted, by role: muster restart " + picture_.service);
    }
  }

  void Settings() {
    std::vector<std::string> kept;
    for (const auto& [name, value] : picture_.seats.front().found->settings) {
      if (!IsCarried(name)) continue;
      std::vector<std::string> others;
      const std::string most = MostHave(picture_, name, &others);
      const redis::Setting* known = redis::FindSetting(name);
      const bool live = known && known->cost == redis::Cost::kLive;
      if (!others.empty()) {
        Add("settings-differ",
            fmt::format("{} is \"{}\" on most, and another on {}", name, most, Join(others, ", ")),
            live ? "up sets it there without a restart, unless the file says otherwise"
                 : "it takes a restart there, which the up after the next one makes");
      }
      if (name != "appendonly" && MustersOwn(name) != (known ? known->standard : "") &&
          most != MustersOwn(name)) {
        kept.push_back(
            name == "cluster-node-timeout"
                ? fmt::format("node_timeout {} for {}", TimeoutText(most), TimeoutText(MustersOwn(name)))
                : fmt::format("{} \"{}\" for \"{}\"", name, most, MustersOwn(name)));
      }
    }
    std::vector<std::string> others;
    if (MostHave(picture_, "appendonly", &others) == "no") {
      Add("no-appendonly",
          "appendonly is no: what was written since the last snapshot is lost with a process",
          "leave appendonly out of the file's settings: muster's own is yes, and up sets it");
    }
    if (!kept.empty()) {
      const std::string delay = MostHave(picture_, "repl-diskless-sync-delay", &others);
      const bool waits = !delay.empty() && delay != "0";
      Add("defaults-kept", "the file keeps what muster has other values for: " + Join(kept, ", "),
          waits ? fmt::format(
                      "leave them out for muster's own; with this repl-diskless-sync-delay each replica "
                      "that is filled anew has to wait {} s first",
                      delay)
                : "leave them out for muster's own");
    }
  }

  void Passwords() {
    std::vector<std::string> others;
    const std::string most = MostHave(picture_, "requirepass", &others);
    if (picture_.password) {
      const auto wrong = Names([&](const Seat& seat) {
        return SettingOf(*seat.found, "requirepass") != most || SettingOf(*seat.found, "masterauth") != most;
      });
      if (!wrong.empty()) {
        Add("passwords-differ",
            Are(wrong, "has another requirepass or masterauth than most",
                "have another requirepass or "
                "masterauth than most"),
            "up sets both to the one password");
      }
      return;
    }
    const bool beyond = std::any_of(picture_.seats.begin(), picture_.seats.end(), [](const Seat& seat) {
      return !seat.found->address.starts_with("127.");
    });
    if (!beyond) return;
    Add("no-password", "there is no password: whoever reaches the hosts can read and delete everything",
        fmt::format("write password: \"{{{{secret.{0}}}}}\" and set it: muster secret set {0}; up sets it "
                    "while they run",
                    picture_.service));
  }

  void Addresses() {
    const auto all = Names([](const Seat& seat) {
      for (const std::string& word : Split(SettingOf(*seat.found, "bind"), ' ')) {
        const std::string_view address = word.starts_with('-') ? std::string_view(word).substr(1) : word;
        if (address.empty() || address == "*" || address == "0.0.0.0" || address == "::*" || address == "::")
          return true;
      }
      return false;
    });
    if (!all.empty()) {
      Add("bind-all", Are(all, "listens on all addresses", "listen on all addresses"),
          "once muster restarts it, a member listens on its host's address only");
    }
    for (const Seat& seat : picture_.seats) {
      if (!seat.node || seat.node->bus_port == seat.found->port + kBusOffset) continue;
      Add("bus-port-moved",
          fmt::format("{} has its bus on {}, not on {}", seat.name, seat.node->bus_port,
                      seat.found->port + kBusOffset),
          "leave cluster-port and cluster-announce-bus-port out of its redis.conf, and restart it",
          Severity::kError);
    }
    for (const Seat& seat : picture_.seats) {
      const auto on = [&](const char* name, const char* off) {
        const std::string value = SettingOf(*seat.found, name);
        return !value.empty() && value != off;
      };
      if (!on("tls-port", "0") && !on("tls-cluster", "no") && !on("tls-replication", "no")) continue;
      Add("redis-tls", fmt::format("{} speaks TLS, which muster doesn't yet", seat.name),
          "adopt it without TLS, or leave it as it is", Severity::kError);
    }
  }

  // What a member has that its redis.conf by muster won't.
  void WhatIsLost() {
    static constexpr struct {
      const char* name;
      const char* standard;
    } kOwned[] = {{"cluster-announce-hostname", ""},
                  {"cluster-preferred-endpoint-type", "ip"},
                  {"bind-source-addr", ""},
                  {"replica-announce-ip", ""},
                  {"syslog-enabled", "no"},
                  {"oom-score-adj", "no"},
                  {"masteruser", ""},
                  {"unixsocket", ""}};
    for (const auto& one : kOwned) {
      const auto have = Names([&](const Seat& seat) {
        const std::string value = SettingOf(*seat.found, one.name);
        return !value.empty() && value != one.standard;
      });
      if (have.empty()) continue;
      Add("setting-not-kept",
          fmt::format("{} is set on {}, and muster's redis.conf won't have it", one.name, Join(have, ", ")),
          "it holds until muster restarts the member");
    }
    std::set<std::string> users, renamed;
    for (const Seat& seat : picture_.seats) {
      for (const std::string& line : seat.found->users) {
        const auto words = Split(line, ' ');
        if (words.size() > 1 && words[1] != "default") users.insert(words[1]);
      }
      for (const redis::Directive& line : seat.found->config) {
        if (line.name == "rename-command" && !line.arguments.empty()) renamed.insert(line.arguments[0]);
      }
    }
    const auto list = [](const std::set<std::string>& names) {
      return Join(std::vector<std::string>(names.begin(), names.end()), ", ");
    };
    if (!users.empty()) {
      Add("acl-users", fmt::format("there are users beside default: {}", list(users)),
          "muster's redis.conf has none: they are gone once it restarts a member");
    }
    if (!renamed.empty()) {
      Add("commands-renamed", fmt::format("commands are renamed: {}", list(renamed)),
          "muster's redis.conf renames none: they are back once it restarts a member");
    }
  }

  const Picture& picture_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> Differences(const Picture& picture) { return Differ(picture).Findings(); }

}  // namespace muster::redis_cluster::adopting
