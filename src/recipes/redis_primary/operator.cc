// What is done to a running member: asked how it is, ordered about, and kept from being primary for too long.
#include "recipes/redis_primary/operator.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/fault.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis/member_layout.h"
#include "recipes/redis/secret_check.h"
#include "recipes/redis/words.h"
#include "recipes/redis_primary/connection.h"
#include "recipes/redis_primary/facts.h"
#include "recipes/redis_primary/last_heard.h"
#include "recipes/redis_primary/lease.h"
#include "recipes/redis_primary/role_change.h"
#include "recipes/redis_primary/verify.h"

namespace muster::redis_primary {
namespace {

constexpr Duration kConnectWithin = 2s;
constexpr Duration kVerbWithin = 10s;
constexpr Duration kFenceWithin = 300ms;  // when the lease is over; then the process is killed
constexpr Duration kCatchUpWithin = 5s;   // before writes wait
constexpr Duration kGrace = 1s;           // for an agent that has just started to hear the server
constexpr Duration kQuietLeast = 2s;

using net::resp::Command;

// What is known of one member between calls. Shared with those under way.
struct State {
  Client kept;  // for health and the lease
  int kept_pid = 0;
  std::shared_ptr<std::optional<std::string>> taken = std::make_shared<std::optional<std::string>>();
  bool read = false;
  Record record;
  Values facts, measures;
  int facts_pid = 0;
  uint64_t asked = 0, written = 0;
  LastHeard last_heard;
  bool primary = false;  // it was when it last answered
  LeaseState lease;
  std::optional<Time> guarded_from;  // the first look at a lease
  int guarded_pid = 0;
  bool ordered = false;  // a verb that changes its role is under way
  int changing = 0;      // its record and its Redis may differ just now
  uint64_t changes = 0;  // how often they did
};
using SharedState = std::shared_ptr<State>;

// From before its record says what its Redis is to be until that has been told so. What it says of itself in
// between is of neither.
class RoleChange {
 public:
  explicit RoleChange(SharedState state) : state_(std::move(state)) {
    ++state_->changing;
    ++state_->changes;
  }
  ~RoleChange() { --state_->changing; }
  RoleChange(const RoleChange&) = delete;
  RoleChange& operator=(const RoleChange&) = delete;

 private:
  const SharedState state_;
};

Error NotRunning(const Operator::Context& context) {
  return Error::Conflict("not-running", "{} does not run", context.instance->name);
}

void Remembered(State& state, const Operator::Context& context) {
  if (std::exchange(state.read, true)) return;
  state.record = ReadRecord(context.records, context.folder);
  ReserveRecord(context.records);
}

// Of a folder without data: whether what was in it had been kept there. What is kept in memory only is no
// loss that anybody has to be asked about, nor is what no snapshot was made of yet.
bool IsLoss(const Operator::Context& context) {
  if (!redis::ForgetsWrites(*context.instance)) return !HasAppendOnlyFiles(context.folder);
  return !redis::KeepsNothing(*context.instance) && !HasMark(context.folder);
}

// What it is, where its Redis and its record agree on that.
LastHeard::As RoleIn(const redis::ServerInfo& info, const Record& record, int pid) {
  if (info.master && IsOrderedPrimary(record, pid)) return LastHeard::As::kPrimary;
  const bool follows = info.replica && record.aim == "replica" &&
                       record.follows == fmt::format("{}:{}", info.master_host, info.master_port);
  return follows ? LastHeard::As::kReplica : LastHeard::As::kNeither;
}

Status Remember(State& state, const Operator::Context& context, Record record, bool durable) {
  if (record == state.record) return Done();
  // The data's own mark first: it counts where there is no record, and may well be ahead of it.
  const bool other_copy = record.copy != state.record.copy || record.was != state.record.was;
  if (other_copy && record.copy != 0)
    MUSTER_DO(MarkData(context.folder, record, {.uid = context.uid, .gid = context.gid}));
  MUSTER_DO(WriteRecord(context.records, record, durable));
  state.record = std::move(record);
  return Done();
}

net::Task<Result<Client>> Keep(SharedState state, Operator::Context context, Duration timeout) {
  if (!state->kept || state->kept->closed() || state->kept_pid != context.pid) {
    MUSTER_CO_TRY(state->kept, co_await Open(context, state->taken, timeout));
    state->kept_pid = context.pid;
  }
  co_return state->kept;
}

net::Task<Status> ReplicaOf(Client client, std::string host, std::string port, Duration timeout) {
  const std::vector<Command> commands = {{"REPLICAOF", host, port}, {"CLIENT", "UNPAUSE"}};
  MUSTER_CO_TRY(const std::vector<net::resp::Value> answers, co_await client->Pipeline(commands, timeout));
  if (answers[0].is_error()) co_return net::resp::RefusedError(answers[0], "REPLICAOF");
  co_return Done();
}

// Takes writes, and nobody keeps its lease: its agent died before it told it otherwise, or a hand did it.
net::Task<Status> FenceStray(SharedState state, Operator::Context context, Client client, Duration timeout) {
  const RoleChange change(state);
  spdlog::warn("{}: it takes writes, and was not ordered to: it is fenced", context.instance->name);
  MUSTER_CO_DO(Remember(*state, context, RecordOfStray(state->record, context.pid), true));
  co_return co_await ReplicaOf(client, kFenceHost, std::to_string(kFencePort), timeout);
}

// Asks for all that is told of it, and keeps that.
net::Task<Result<redis::ServerInfo>> Renew(SharedState state, Operator::Context context, Client client,
                                           Duration timeout) {
  Remembered(*state, context);
  const uint64_t number = ++state->asked, changes = state->changes;
  const bool changing = state->changing > 0;
  const Time asked = Now();
  MUSTER_CO_TRY(Answer answer, co_await AskInfo(context, client, timeout));
  redis::ServerInfo info = std::move(answer.info);
  if (number < state->written) co_return info;  // somebody has asked later and been quicker
  if (changing || changes != state->changes) co_return info;
  if (info.master && !IsOrderedPrimary(state->record, context.pid)) {
    const Status fenced = co_await FenceStray(state, context, client, timeout);
    if (fenced.ok()) co_return info;  // what it is from now on is told at the next look
    spdlog::error("{}: {}", context.instance->name, fenced.error().Text());
    if (changes != state->changes) co_return info;
  }
  state->written = number;
  const Duration quiet = std::max(LeaseTermsOf(*context.instance).lease, kQuietLeast);
  const LastHeard::As as = RoleIn(info, state->record, context.pid);
  state->last_heard.Answered(info, as, asked, Now());
  state->primary = as == LastHeard::As::kPrimary;
  Told told = Tell(info, state->record, context.pid, quiet, answer.refusal);
  const Status kept = Remember(*state, context, std::move(told.record), told.durable);
  if (!kept.ok()) spdlog::error("{}: {}", context.instance->name, kept.error().Text());
  state->facts = std::move(told.facts);
  state->measures = std::move(told.measures);
  state->facts_pid = context.pid;
  co_return info;
}

// --- Orders.

struct Ordered {
  SharedState state;
  Operator::Context context;
  Client client;
  RoleOrder order;
};

Status CheckTerm(const State& state, const Operator::Context& context, int64_t term) {
  if (term <= 0) return Error::Invalid("bad-args", "the order for {} has no term", context.instance->name);
  if (term >= state.record.term) return Done();
  return Error::Conflict("old-term", "the order for {} is of term {}, and it was ordered in term {} already",
                         context.instance->name, term, state.record.term)
      .Hint("a newer decision stands: muster status tells who is primary");
}

net::Task<Result<redis::ServerInfo>> AskReplication(Client client) {
  const Command command = {"INFO", "replication"};
  MUSTER_CO_TRY(const net::resp::Value value, co_await client->Command(command, kConnectWithin));
  if (value.is_error()) co_return net::resp::RefusedError(value, "INFO");
  co_return redis::ParseInfo(value.text);
}

// Asks the replica until it has what the member has made up to now. `linked`: it must still follow, too.
net::Task<Status> AwaitCaughtUp(Ordered order, Client replica, bool linked, Duration within) {
  const Time end = Now() + within;
  MUSTER_CO_TRY(const redis::ServerInfo own, co_await AskReplication(order.client));
  while (true) {
    MUSTER_CO_TRY(const redis::ServerInfo info, co_await AskReplication(replica));
    const bool same = info.replication_id == own.replication_id;  // offsets of another history say nothing
    if (same && info.offset >= own.offset && (info.link_up || !linked)) co_return Done();
    if (Now() >= end) {
      co_return Error::Unavailable("not-caught-up", "the replica lacks {} bytes after {}",
                                   same ? std::max<int64_t>(own.offset - info.offset, 0) : own.offset,
                                   FormatDuration(within));
    }
    co_await order.context.loop->Sleep(1ms);
  }
}

net::Task<Status> Pause(Client client, Duration pause) {
  const Command command = {"CLIENT", "PAUSE", std::to_string(pause.count()), "WRITE"};
  MUSTER_CO_TRY(const net::resp::Value answer, co_await client->Command(command, kConnectWithin));
  if (answer.is_error()) co_return net::resp::RefusedError(answer, "CLIENT PAUSE");
  co_return Done();
}

net::Task<Status> RefuseStale(Ordered order) {
  if (!order.context.still_wanted) co_return Done();
  const bool wanted = co_await order.context.still_wanted();
  if (wanted) co_return CheckTerm(*order.state, order.context, order.order.term);
  co_return Error::Unavailable("order-stale", "the server that wants {} to be primary is gone",
                               order.context.instance->name);
}

// One act of an order. What it needs of the replica is asked by `replica`.
net::Task<Status> Carry(Ordered order, Act act, Client replica, Duration catch_up_within) {
  State& state = *order.state;
  const RoleOrder& wanted = order.order;
  switch (act) {
    case Act::kCatchUp:
      co_return co_await AwaitCaughtUp(order, replica, true, catch_up_within);
    case Act::kConfirm:
      MUSTER_CO_DO(co_await AwaitCaughtUp(order, replica, false, catch_up_within));
      co_return Remember(state, order.context, RecordConfirmed(wanted, state.record), true);
    case Act::kPause:
      co_return co_await Pause(order.client, PauseFor(LeaseTermsOf(*order.context.instance).lease));
    case Act::kRemember: {
      if (wanted.verb == "promote") state.guarded_from = Now();
      co_return Remember(state, order.context, RecordBefore(wanted, state.record, order.context.pid), true);
    }
    case Act::kTell: {
      const Following following = FollowingOf(wanted);
      co_return co_await ReplicaOf(order.client, following.host, following.port, kVerbWithin);
    }
  }
  co_return Done();
}

net::Task<Status> ChangeRole(Ordered order) {
  const RoleOrder& wanted = order.order;
  State& state = *order.state;
  // Between this, which is asked again right before it takes writes, and that moment nobody else can be
  // promoted without its lease having run out: the server has just heard it.
  if (wanted.verb == "promote") MUSTER_CO_DO(co_await RefuseStale(order));
  MUSTER_CO_TRY(const std::vector<Act> acts,
                ActsOf(wanted, state.record, order.context.pid, order.context.instance->name));
  Client replica;
  const bool asks = acts.back() == Act::kConfirm;
  bool paused = false;
  if (asks) {
    MUSTER_CO_TRY(replica, co_await OpenOther(order.context, wanted.host, wanted.port, kConnectWithin));
  }
  Duration catch_up_within = kCatchUpWithin;
  std::optional<RoleChange> change;
  const Record before = state.record;
  for (const Act act : acts) {
    if (act == Act::kRemember) change.emplace(order.state);
    if (act == Act::kTell && wanted.verb == "promote") {
      // Once more: a slow disk may have taken the record for longer than the lease lasts.
      const Record remembered = state.record;
      const Status still = co_await RefuseStale(order);
      if (!still.ok()) {
        // As if it had never come, unless its lease was let go meanwhile.
        if (state.record == remembered) MUSTER_CO_DO(Remember(state, order.context, before, true));
        co_return still.error();
      }
    }
    const Status done = co_await Carry(order, act, replica, catch_up_within);
    if (act == Act::kPause) {
      paused = true;  // also where the answer to it was lost
      catch_up_within = CatchUpWithin(PauseFor(LeaseTermsOf(*order.context.instance).lease));
    }
    if (!done.ok()) {
      const Command unpause = {"CLIENT", "UNPAUSE"};
      if (paused && IsOrderedPrimary(state.record, order.context.pid))
        (void)co_await order.client->Command(unpause, kConnectWithin);
      co_return done.error();
    }
    MUSTER_FAULT(FaultPointOf(wanted, act));
  }
  co_return Done();
}

// --- The lease.

// The host of a peer that follows the member; "" where it doesn't, or doesn't say so in time.
net::Task<std::string> Vote(Operator::Context context, LeaseTerms::Peer peer, Duration within) {
  auto client = co_await OpenOther(context, peer.address, peer.port, within);
  if (!client.ok()) co_return std::string();
  const Command role = {"ROLE"};
  const auto answer = co_await (*client)->Command(role, within);
  const bool told = answer.ok() && answer->items.size() >= 3 && answer->items[0].text == "slave";
  if (!told) co_return std::string();
  const redis::Access own = redis::AccessOf(*context.instance);
  const bool follows =
      answer->items[1].text == own.host && answer->items[2].AsInteger() == std::optional<int64_t>(own.port);
  co_return follows ? peer.host : std::string();
}

// Whether a majority of the hosts follows it; itself included. All are asked side by side.
net::Task<bool> AskMajority(Operator::Context context, LeaseTerms terms, Duration within) {
  std::vector<net::Promised<std::string>> votes;
  for (const LeaseTerms::Peer& peer : terms.peers) {
    const net::Promised<std::string> vote;
    votes.push_back(vote);
    net::SpawnThen(Vote(context, peer, within), [vote](std::string host) { vote.Set(std::move(host)); });
  }
  std::set<std::string> hosts{context.instance->host};
  for (const net::Promised<std::string>& vote : votes) {
    const std::string host = co_await vote;
    if (!host.empty()) hosts.insert(host);
  }
  co_return IsMajority(terms, hosts);
}

class RedisPrimaryOperator : public Operator {
 public:
  net::Task<Status> Prepare(Context context) override {
    MUSTER_CO_DO(redis::CheckSecrets(*context.instance));
    if (context.pid > 0) co_return Done();
    Remembered(*state_, context);
    // Whose data is gone is nobody's copy any more, whatever it was.
    if (state_->record.copy == 0 || HasData(context.folder)) co_return Done();
    MUSTER_CO_DO(Remember(*state_, context, RecordOfEmptied(state_->record, IsLoss(context)), true));
    // Where there is no folder to say it in, the record does.
    (void)MarkData(context.folder, state_->record, {.uid = context.uid, .gid = context.gid});
    co_return Done();
  }

  net::Task<Status> Health(Context context) override {
    const SharedState state = state_;
    if (context.pid <= 0) co_return NotRunning(context);
    const Time end = Now() + context.instance->probe.timeout;
    MUSTER_CO_TRY(const Client client, co_await Keep(state, context, context.instance->probe.timeout));
    const Duration left = std::max(end - Now(), Duration(1));
    Remembered(*state, context);
    const bool was_ready = state->record.ready_pid == context.pid;
    auto info = co_await Renew(state, context, client, left);
    if (!info.ok()) {
      if (state->kept == client) state->kept.reset();
      co_return info.error();
    }
    // One that takes over its primary's data anew is as alive as before.
    if (info->loading && !was_ready) {
      co_return Error::Unavailable(
          "redis-loading", "{} loads its data{}", context.instance->name,
          info->loading_eta_s > 0 ? fmt::format(", for about {} s more", info->loading_eta_s) : "");
    }
    co_return Done();
  }

  net::Task<Status> Reload(Context context) override {
    const SharedState state = state_;
    if (context.pid <= 0) co_return NotRunning(context);
    const std::string password = redis::AccessOf(*context.instance).password;
    // A connection that was let in with the password before stays so.
    MUSTER_CO_TRY(const Client client, co_await Keep(state, context, kConnectWithin));
    redis::Node node(*context.loop, client, {password, state->taken->value_or("")}, Now() + kVerbWithin);
    // Its own first: it must get on with its primary though others have the new one already.
    Values passwords = {{"masterauth", password}};
    MUSTER_CO_DO(co_await redis::SetAll(node, std::move(passwords)));
    Values settings = redis::SettingsIn(*context.instance);
    settings["requirepass"] = password;
    MUSTER_CO_DO(co_await redis::SetAll(node, std::move(settings)));
    *state->taken = password;
    (void)co_await Renew(state, context, client, kConnectWithin);
    co_return Done();
  }

  net::Task<Result<Values>> Perform(Context context, std::string verb, Values args) override {
    const SharedState state = state_;
    const bool changes = verb == "promote" || verb == "follow" || verb == "fence" || verb == "hand-over";
    if (!changes && verb != "look" && verb != "set") {
      co_return Error::Invalid("unknown-verb", "{} knows no verb {}", context.instance->name, verb);
    }
    if (context.pid <= 0) co_return NotRunning(context);
    Remembered(*state, context);
    const int64_t term = redis::ParseNumber<int64_t>(redis::TextAt(args, "term")).value_or(0);
    if (changes) MUSTER_CO_DO(CheckTerm(*state, context, term));
    // One of its own: what takes long isn't in health's way.
    MUSTER_CO_TRY(const Client client, co_await Open(context, state->taken, kConnectWithin));
    MUSTER_CO_TRY(const redis::ServerInfo info, co_await Renew(state, context, client, kConnectWithin));
    if (info.loading && verb != "look") {
      co_return Error::Unavailable("redis-loading", "{} loads its data", context.instance->name);
    }
    Status done = Done();
    if (verb == "set") {
      redis::Node node(*context.loop, client, {redis::AccessOf(*context.instance).password},
                       Now() + kVerbWithin);
      done = co_await redis::SetAll(node, std::move(args));
    } else if (changes) {
      if (state->ordered) {
        co_return Error::Conflict("busy", "{} is being ordered about already", context.instance->name);
      }
      MUSTER_CO_DO(CheckTerm(*state, context, term));  // others may have been quicker
      state->ordered = true;
      const RoleOrder wanted{.verb = verb,
                             .term = term,
                             .host = redis::TextAt(args, "host"),
                             .port = redis::ParseNumber<int>(redis::TextAt(args, "port")).value_or(0),
                             .copy = redis::TextAt(args, "copy")};
      const Ordered order{.state = state, .context = context, .client = client, .order = wanted};
      done = co_await ChangeRole(order);
      state->ordered = false;
    }
    if (verb != "look") (void)co_await Renew(state, context, client, kConnectWithin);
    if (!done.ok()) co_return done.error();
    co_return Values{};
  }

  Duration GuardEvery(const Instance& instance) override {
    const LeaseTerms terms = LeaseTermsOf(instance);
    return terms.hosts <= 1 ? 0ms : LeaseStep(terms.lease);
  }

  net::Task<void> Guard(Context context) override {
    const SharedState state = state_;
    if (context.pid <= 0) co_return;
    Remembered(*state, context);
    if (state->record.aim != "primary" || state->record.pid != context.pid) co_return;
    const LeaseTerms terms = LeaseTermsOf(*context.instance);
    if (!state->guarded_from) state->guarded_from = Now();
    if (context.heard) state->lease.heard = std::max(state->lease.heard, context.heard());
    const bool fresh = state->lease.heard == Time::min() && Now() < *state->guarded_from + kGrace;
    LeaseWork work = fresh ? LeaseWork::kAsk : JudgeLease(terms, state->lease, Now());
    if (work == LeaseWork::kKeep) co_return;
    const Time asked = Now();
    if (work == LeaseWork::kAsk) {
      const bool majority = co_await AskMajority(context, terms, LeaseStep(terms.lease));
      if (majority) state->lease.majority = asked;
      if (majority || fresh) co_return;
      if (context.heard) state->lease.heard = std::max(state->lease.heard, context.heard());
      work = JudgeLease(terms, state->lease, Now());
    }
    if (work == LeaseWork::kFence) co_await LetGo(state, context);
  }

  Values Facts(const Context& context) override {
    Remembered(*state_, context);
    const bool told = context.pid > 0 && state_->facts_pid == context.pid;
    Values facts = told ? state_->facts : RememberedFacts(state_->record, context.pid);
    facts["lease"] = FormatLeaseTerms(LeaseTermsOf(*context.instance));
    return facts;
  }

  Values Measures(const Context& context) override {
    const bool told = context.pid > 0 && state_->facts_pid == context.pid;
    Values measures = told ? state_->measures : Values();
    state_->last_heard.Tell(told && state_->primary, Now(), measures);
    return measures;
  }

  net::Task<std::vector<Check>> Verify(Context context, Values) override {
    co_return co_await VerifyMember(context);
  }

 private:
  // The lease is over: whoever is elected elsewhere must find no second primary here.
  static net::Task<void> LetGo(SharedState state, Context context) {
    spdlog::warn("{}: neither the server nor a majority is heard any more: it takes no more writes",
                 context.instance->name);
    Status fenced = Done();
    auto change = std::make_unique<RoleChange>(state);
    const uint64_t this_change = state->changes;
    auto client = co_await Keep(state, context, kFenceWithin);
    if (client.ok()) {
      fenced = co_await ReplicaOf(*client, kFenceHost, std::to_string(kFencePort), kFenceWithin);
    } else {
      fenced = client.error();
    }
    if (!fenced.ok()) {
      spdlog::error("{}: it can't be told so ({}), and is killed", context.instance->name,
                    fenced.error().message());
      ::kill(context.pid, SIGKILL);  // it starts again without taking writes
      co_return;
    }
    // Where it was ordered to be something else meanwhile, that stands.
    if (state->changes == this_change) {
      Record record = state->record;
      record.aim = "fenced";
      const Status kept = Remember(*state, context, std::move(record), false);
      if (!kept.ok()) spdlog::error("{}: {}", context.instance->name, kept.error().Text());
    }
    change.reset();
    (void)co_await Renew(state, context, *client, kConnectWithin);
  }

  SharedState state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<Operator> MakeRedisPrimaryOperator() { return std::make_unique<RedisPrimaryOperator>(); }

}  // namespace muster::redis_primary
