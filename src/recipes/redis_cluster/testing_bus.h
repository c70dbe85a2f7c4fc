// The half of the model of Redis Cluster (testing_model.h) that knows Redis only: nodes that gossip, vote and
// replicate, by the rules of Redis 7. One thread; time is the test's own.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/last_seen.h"

namespace muster::redis_cluster {

class TestingBus {
 public:
  using SlotSet = redis::SlotSet;
  static constexpr Duration kTick = 10ms;

  struct Known {
    std::string seat;  // "host:port"; "" where its address is lost
    bool master = true;
    std::string primary;
    uint64_t epoch = 0;
    SlotSet slots;
    bool handshake = false, suspected = false, failed = false;
    Time met{}, heard{};
  };
  struct Work {
    Order order;
    Time ends{};  // what takes no time of its own
    Time deadline{};
    std::vector<int> slots;  // still to be handed over
    bool begun = false;
  };
  struct Server {
    std::string name, host, address, id;
    int port = 0;
    bool running = false, held = false, gone = false;  // gone: nobody starts it again
    Time started{}, died{}, looked{}, linked_at{};
    uint64_t current_epoch = 0;
    std::map<std::string, Known> known;  // itself, too
    std::map<int, std::string> migrating, importing;
    std::map<int, int> keys;  // by slot, a bit for each of its keys
    std::set<int> differing;  // slots that it can't hand over: the taker has other values of their keys
    std::map<std::string, Time> banned, voted;
    bool ok = false, linked = false, synced = false;
    bool lags = false;             // its link stands, and it takes nothing of what comes
    bool frozen = false;           // it runs, and answers nobody of muster's
    bool cut = false;              // its link to its master can't be made
    bool foreign = false;          // muster is told nothing of it
    std::string asks;              // a replica: the seat at which it asks for its master's data
    Time answered{};               // until when nobody did so there but its master, or who withholds
    Time asked_votes{};            // 0: never, or not since it was started
    std::set<std::string> doubts;  // ids that it doesn't reach, though others do
    int64_t offset = 0;
    std::string history;  // that the offset counts in
    int histories = 0;
    Time unlinked_at{};  // 0: never, or not since it was started
    LastSeen seen;       // by its agent
    std::string write = "ok";
    std::vector<std::string> former;  // ids that it has had
    bool had_keys = false;            // that it wasn't told to give up
    std::optional<Work> work;
    std::string seat() const { return fmt::format("{}:{}", address, port); }
    Known& self() { return known[id]; }
  };
  struct Options {
    int masters = 3, replicas = 1, hosts = 3;
    unsigned seed = 1;
    Duration node_timeout = 1s;
    bool append_only = true;    // as the file says; only what the mender makes of it is modelled
    std::string save = "";      // the same of snapshots
    bool lossy_orders = false;  // some orders come to nothing, or are done and not told of
  };

  explicit TestingBus(Options options) : options_(options), random_(options.seed) {}

  std::string MasterOf(int slot) {
    for (auto& [name, server] : servers_) {
      if (server.running && server.self().master && server.self().slots.Has(slot)) return name;
    }
    return "";
  }
  // "": nobody is this node.
  std::string NameOf(const std::string& id) {
    const Server* server = ById(id);
    return server ? server->name : "";
  }
  int Masters() {
    int masters = 0;
    for (auto& [name, server] : servers_)
      masters += !server.self().slots.empty() && server.self().master ? 1 : 0;
    return masters;
  }

 protected:
  bool Chance(int percent) { return std::uniform_int_distribution<int>(0, 99)(random_) < percent; }
  std::string NewId() {
    std::string id;
    for (int i = 0; i < 40; ++i) id += "0123456789abcdef"[std::uniform_int_distribution<int>(0, 15)(random_)];
    return id;
  }
  Server* ById(const std::string& id) {
    for (auto& [name, server] : servers_) {
      if (server.id == id) return &server;
    }
    return nullptr;
  }
  Server* AtSeat(const std::string& seat) {
    for (auto& [name, server] : servers_) {
      if (server.seat() == seat) return &server;
    }
    return nullptr;
  }

  void Fresh(Server& server) {
    if (!server.id.empty()) {
      const std::string& primary = server.self().primary;
      server.former.push_back(server.id + (primary.empty() ? "" : ">" + primary));
    }
    server.had_keys = server.had_keys || !server.keys.empty();
    server.id = NewId();
    server.known = {{server.id, Known{.seat = server.seat()}}};
    server.current_epoch = 0;
    server.migrating.clear();
    server.importing.clear();
    server.keys.clear();
    server.banned.clear();
    server.voted.clear();
    server.linked = server.synced = false;
    Begin(server);
  }
  // A history of its own.
  void Begin(Server& server) {
    server.history = fmt::format("{}-{}", server.name, ++server.histories);
    server.offset = 0;
  }
  void Unlink(Server& server) {
    if (server.linked) server.unlinked_at = now_;
    server.linked = false;
  }

  bool Reaches(const Server& a, const Server& b) const { return a.running && b.running; }

  void Gossip() {
    for (auto& [name, a] : servers_) {
      if (!a.running) continue;
      std::vector<std::string> ids;
      for (const auto& [id, known] : a.known) ids.push_back(id);
      for (const std::string& id : ids) {
        if (id == a.id || !a.known.contains(id) || !Chance(12)) continue;
        Known& known = a.known[id];
        if (known.seat.empty()) continue;
        Server* b = AtSeat(known.seat);
        if (known.handshake) {
          if (b && Reaches(a, *b)) {
            Shake(a, *b, id);
          } else if (now_ - known.met > 1s) {
            a.known.erase(id);
          }
          continue;
        }
        if (!b || !Reaches(a, *b)) continue;
        if (b->id != id) {
          known.seat.clear();  // somebody else answers there
          continue;
        }
        known.heard = now_;
        known.suspected = false;
        if (known.failed && (!known.master || known.slots.empty() || now_ - known.met > 0ms))
          known.failed = false;
        Hear(*b, a);
        Hear(a, *b);
      }
    }
  }
  void AddKnown(Server& to, const Server& other) {
    if (to.known.contains(other.id)) return;
    to.known[other.id] = Known{.seat = other.seat(), .met = now_, .heard = now_};
  }
  // a has met b under a made up id.
  void Shake(Server& a, Server& b, const std::string& made_up) {
    a.known.erase(made_up);
    AddKnown(a, b);
    const auto known_there = b.known.find(a.id);
    if (known_there == b.known.end() && !HasHandshake(b, a.seat())) StartHandshake(b, a.seat());
    Hear(a, b);
  }
  bool HasHandshake(Server& server, const std::string& seat) {
    return std::any_of(server.known.begin(), server.known.end(),
                       [&](const auto& one) { return one.second.handshake && one.second.seat == seat; });
  }
  void StartHandshake(Server& a, const std::string& seat) {
    if (!HasHandshake(a, seat) && seat != a.seat())
      a.known[NewId()] = Known{.seat = seat, .handshake = true, .met = now_};
  }
  // a hears what b says of itself and of others.
  void Hear(Server& a, Server& b) {
    const auto found = a.known.find(b.id);
    if (found == a.known.end() || found->second.handshake || !a.running) return;
    Known& known = found->second;
    Known& said = b.self();
    a.current_epoch = std::max(a.current_epoch, b.current_epoch);
    known.seat = b.seat();
    if (said.master) {
      known.epoch = std::max(known.epoch, said.epoch);
      known.master = true;
      known.primary.clear();
      Update(a, b.id, said.slots, &b);
    } else {
      if (known.master) known.slots = {};
      known.master = false;
      known.primary = said.primary;
      known.epoch = said.epoch;
    }
    Known& self = a.self();
    if (self.master && said.master && self.epoch == said.epoch && b.id > a.id) {
      self.epoch = ++a.current_epoch;
    }
    if (!self.master) {
      // A replica of a replica follows that one's master.
      const auto primary = a.known.find(self.primary);
      if (primary != a.known.end() && !primary->second.master && !primary->second.primary.empty() &&
          primary->second.primary != a.id)
        SetPrimary(a, primary->second.primary);
    }
    for (const auto& [id, other] : b.known) {
      if (id == a.id || other.handshake || other.seat.empty() || a.known.contains(id)) continue;
      const auto banned = a.banned.find(id);
      if (banned != a.banned.end() && now_ - banned->second < 60s) continue;
      if (other.failed || other.suspected) continue;
      StartHandshake(a, other.seat);
    }
  }
  // Takes over that `owner` claims these slots; `teller`, if it is the owner itself, is told of what is
  // newer.
  void Update(Server& a, const std::string& owner, const SlotSet& claimed, Server* teller) {
    Known& node = a.known[owner];
    if (node.slots == claimed) return;
    Known& self = a.self();
    const std::string master = self.master ? a.id : self.primary;
    SlotSet gained = claimed - node.slots;
    node.slots = node.slots & claimed;
    bool from_master = false;
    SlotSet dirty;
    for (auto& [id, other] : a.known) {
      if (id == owner || gained.empty()) continue;
      SlotSet disputed = gained & other.slots;
      if (disputed.empty()) continue;
      SlotSet importing;
      for (const auto& [slot, from] : a.importing) importing.Add(slot);
      if (other.epoch < node.epoch) {
        disputed -= importing;
        gained -= importing & other.slots;
        if (id == a.id) dirty = disputed;
        other.slots -= disputed;
        from_master |= id == master && !disputed.empty();
      } else {
        gained -= disputed;
        // The other has a later word: an UPDATE tells the one that claims.
        if (other.epoch > node.epoch && teller && teller->known.contains(id)) {
          Known& newer = teller->known[id];
          newer.epoch = other.epoch;
          newer.master = true;
          newer.primary.clear();
          const SlotSet slots = other.slots;
          Update(*teller, id, slots, nullptr);
        }
      }
    }
    a.known[owner].slots |= gained;
    if (from_master && a.known[master].slots.empty()) {
      SetPrimary(a, owner);
    } else {
      for (const int slot : dirty.List()) a.keys.erase(slot);
    }
  }
  void SetPrimary(Server& a, const std::string& primary) {
    Known& self = a.self();
    if (self.master) {
      a.migrating.clear();
      a.importing.clear();
    }
    self.master = false;
    self.slots = {};
    self.primary = primary;
    Unlink(a);
    a.synced = false;
    a.linked_at = now_;
  }

  void Cron(Server& a) {
    for (auto& [id, known] : a.known) {
      if (id == a.id || known.handshake) continue;
      Server* there = AtSeat(known.seat);
      const bool answers = there && there->id == id && Reaches(a, *there);
      if (!answers && now_ - known.heard > options_.node_timeout) known.suspected = true;
      if (a.doubts.contains(id)) known.suspected = true;
    }
    // FAIL where most masters think so.
    for (auto& [id, known] : a.known) {
      if (!known.suspected || known.failed) continue;
      int all = 0, agree = 0;
      for (auto& [other_id, other] : a.known) {
        if (other.slots.empty()) continue;
        ++all;
        Server* master = ById(other_id);
        if (master && master->running && master->known.contains(id) && master->known[id].suspected) ++agree;
      }
      if (agree * 2 > all) known.failed = true;
    }
    SlotSet covered;
    int masters = 0, there = 0;
    for (auto& [id, known] : a.known) {
      if (known.slots.empty()) continue;
      if (!known.failed) covered |= known.slots;
      ++masters;
      there += known.suspected || known.failed ? 0 : 1;
    }
    const bool ok = covered.all() && there * 2 > masters;
    if (!ok || !a.self().master || now_ - a.started >= 2s) a.ok = ok;
    Replicate(a);
    // By itself it takes over only where it hasn't been without its master for too long.
    const bool fresh = a.linked || now_ - a.unlinked_at <= 11 * options_.node_timeout + 10s;
    if (!a.self().master && a.known.contains(a.self().primary) && a.known[a.self().primary].failed && fresh &&
        a.synced && !a.known[a.self().primary].slots.empty() && Chance(2))
      Elect(a, true);
  }
  void Replicate(Server& a) {
    Known& self = a.self();
    if (self.master) {
      ++a.offset;
      return;
    }
    Server* master = ById(self.primary);
    const bool flows = master && Reaches(a, *master) && a.known.contains(self.primary) && !a.cut;
    if (const auto known = a.known.find(self.primary); known != a.known.end() && !known->second.seat.empty())
      a.asks = known->second.seat;
    if (!flows) {
      AskAnother(a);
      Unlink(a);
      a.linked_at = now_;
      return;
    }
    if (!a.linked && now_ - a.linked_at < 60ms) return;
    if (a.linked && a.lags) return;
    a.linked = a.synced = true;
    a.offset = master->offset;
    a.history = master->history;
    a.keys = master->keys;
  }
  // Whoever answers where its master was gives it its own data; a newcomer withholds them (newcomer.h).
  void AskAnother(Server& a) {
    Server* there = a.cut ? nullptr : AtSeat(a.asks);
    if (!there || there->id == a.self().primary || !Reaches(a, *there) || IsNewcomer(*there)) {
      a.answered = now_;
      return;
    }
    if (now_ - a.answered < 1s) return;
    a.keys = there->keys;
    a.history = there->history;
  }
  static bool IsNewcomer(const Server& server) {
    const Known& self = server.known.at(server.id);
    return self.master && self.slots.empty() &&
           std::none_of(server.known.begin(), server.known.end(),
                        [&](const auto& other) { return other.second.primary == server.id; });
  }
  // What it says of itself, as Redis does in whole seconds.
  Answers AnswersOf(Server& server) {
    Answers answers;
    redis::ServerInfo& info = answers.info;
    info.master = server.self().master;
    info.replica = !info.master;
    info.link_up = server.linked;
    const auto seconds = [&](Time from) { return (now_ - from) / 1s; };
    info.uptime_s = seconds(server.started);
    if (info.replica && !server.linked && server.unlinked_at != Time{})
      info.link_down_s = seconds(server.unlinked_at);
    info.offset = server.offset;
    info.replication_id = server.history;
    answers.takes_writes = info.master && server.ok;
    return answers;
  }
  static std::string Arg(const Work& work, const char* name) {
    const auto found = work.order.args.find(name);
    return found == work.order.args.end() ? "" : found->second;
  }
  static SlotSet Slots(const Work& work) {
    const auto slots = SlotSet::Parse(Arg(work, "slots"));
    EXPECT_TRUE(slots.ok() && !slots->empty()) << work.order.verb;
    return slots.ok() ? *slots : SlotSet();
  }
  // Some of the keys of `slot` have begun to go to another than `target`, who is there.
  bool MayBeAtAnother(Server& server, int slot, const std::string& target) {
    const auto mark = server.migrating.find(slot);
    if (mark == server.migrating.end() || mark->second == target) return false;
    const auto before = server.known.find(mark->second);
    return before != server.known.end() && before->second.master && !before->second.failed &&
           !before->second.seat.empty();
  }
  void Mark(Server& server, const Work& work) {
    if (!server.self().master) return;
    for (const int slot : (Slots(work) & server.self().slots).List()) {
      if (server.known.contains(Arg(work, "to"))) server.migrating.try_emplace(slot, Arg(work, "to"));
    }
  }
  static int Smallest(const Server& server, const std::vector<int>& slots) {
    const auto keys = [&](int slot) { return server.keys.contains(slot) ? server.keys.at(slot) : 0; };
    return *std::min_element(slots.begin(), slots.end(),
                             [&](int one, int other) { return keys(one) < keys(other); });
  }
  // What SETSLOT NODE does.
  void Claim(Server& server, const SlotSet& slots, const std::string& id) {
    Known& self = server.self();
    if (!self.master || !server.known.contains(id)) return;
    bool imported = false, mine = false;
    for (const int slot : slots.List()) {
      if (self.slots.Has(slot) && id != server.id && server.keys.contains(slot)) return;  // Redis refuses
      mine |= self.slots.Has(slot) && id != server.id;
      imported |= id == server.id && server.importing.contains(slot);
      if (id == server.id) {
        server.importing.erase(slot);
      } else if (server.migrating.contains(slot) && !server.keys.contains(slot)) {
        server.migrating.erase(slot);
      }
    }
    for (auto& [other, known] : server.known) {
      if (other != id) known.slots -= slots;
    }
    server.known[id].slots |= slots;
    if (imported) {
      uint64_t most = 0;
      for (auto& [other, known] : server.known) most = std::max(most, known.epoch);
      most = std::max(most, server.current_epoch);
      if (self.epoch == 0 || self.epoch != most) {
        server.current_epoch = most + 1;
        self.epoch = server.current_epoch;
      }
      for (auto& [name, other] : servers_) {
        if (&other != &server && Reaches(server, other)) Hear(other, server);
      }
    }
    if (mine && self.slots.empty()) SetPrimary(server, id);
  }
  // Whether it is a master now.
  bool Elect(Server& a, bool vote) {
    Known& self = a.self();
    const std::string old = self.primary;
    if (!a.known.contains(old) || (vote && a.known[old].slots.empty())) return false;
    if (vote) {
      // It asks for votes no sooner after it last did, be it elected then or not.
      if (a.asked_votes != Time{} && now_ - a.asked_votes < 4 * options_.node_timeout) return false;
      a.asked_votes = now_;
      int all = 0, votes = 0;
      ++a.current_epoch;
      for (auto& [id, known] : a.known) {
        if (known.slots.empty()) continue;
        ++all;
        Server* voter = ById(id);
        if (!voter || !voter->running || !voter->known.contains(a.id)) continue;
        if (voter->known[a.id].master || voter->known[a.id].primary != old) continue;
        const auto voted = voter->voted.find(old);
        if (voted != voter->voted.end() && now_ - voted->second < 2 * options_.node_timeout) continue;
        voter->voted[old] = now_;
        voter->current_epoch = std::max(voter->current_epoch, a.current_epoch);
        ++votes;
      }
      if (votes * 2 <= all) return false;
    }
    for (auto& [id, known] : a.known) a.current_epoch = std::max(a.current_epoch, known.epoch);
    self.epoch = ++a.current_epoch;
    self.master = true;
    self.primary.clear();
    Unlink(a);
    const int64_t offset = a.offset;
    Begin(a);
    a.offset = offset;
    self.slots |= a.known[old].slots;
    a.known[old].slots = {};
    for (auto& [name, other] : servers_) {
      if (&other != &a && Reaches(a, other)) Hear(other, a);
    }
    return true;
  }

  Options options_;
  std::mt19937 random_;
  Time now_{1000s};
  std::map<std::string, Server> servers_;
};

}  // namespace muster::redis_cluster
