// What is done to a running member: asked how it is, ordered about, and kept from being primary for too long.
#include "recipes/redis_primary/operator.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include "recipes/redis/member_layout.h"
#include "recipes/redis/secret_check.h"
#include "recipes/redis/words.h"
#include "recipes/redis_primary/connection.h"
#include "recipes/redis_primary/facts.h"
#include "recipes/redis_primary/lease.h"
#include "recipes/redis_primary/verify.h"

namespace muster::redis_primary {
namespace {

constexpr Duration kConnectWithin = 2s;
constexpr Duration kVerbWithin = 10s;
constexpr Duration kFenceWithin = 300ms;  // when the lease is over; then the process is killed
constexpr Duration kCatchUpWithin = 5s;
constexpr Duration kFencedWithin = 5s;  // once the replica has all: a slow disk, before writes go on
constexpr Duration kGrace = 1s;         // for an agent that has just started to hear the server
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

std::string Arg(const Values& args, const char* name) {
  const auto found = args.find(name);
  return found == args.end() ? "" : found->second;
}

void Remembered(State& state, const Operator::Context& context) {
  if (std::exchange(state.read, true)) return;
  state.record = ReadRecord(context.records, context.folder);
}

Status Remember(State& state, const Operator::Context& context, Record record, bool durable) {
  if (record == state.record) return Done();
  const bool other_copy = record.copy != state.record.copy || record.was != state.record.was;
  MUSTER_DO(WriteRecord(context.records, record, durable));
  state.record = std::move(record);
  if (!other_copy || state.record.copy == 0) return Done();
  return MarkData(context.folder, state.record, {.uid = context.uid, .gid = context.gid});
}

net::Task<Result<Client>> Keep(SharedState state, Operator::Context context, Duration timeout) {
  if (!state->kept || state->kept->closed() || state->kept_pid != context.pid) {
    MUSTER_CO_TRY(state->kept, co_await Open(context, state->taken, timeout));
    state->kept_pid = context.pid;
  }
  co_return state->kept;
}

// Asks for all that is told of it, and keeps that.
net::Task<Result<redis::ServerInfo>> Renew(SharedState state, Operator::Context context, Client client,
                                           Duration timeout) {
  Remembered(*state, context);
  const uint64_t number = ++state->asked, changes = state->changes;
  const bool changing = state->changing > 0;
  MUSTER_CO_TRY(redis::ServerInfo info, co_await AskInfo(context, client, timeout));
  if (number < state->written) co_return info;  // somebody has asked later and been quicker
  if (changing || changes != state->changes) co_return info;
  state->written = number;
  const Duration quiet = std::max(LeaseTermsOf(*context.instance).lease, kQuietLeast);
  Told told = Tell(info, state->record, context.pid, quiet);
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
  int64_t term = 0;
};

Status CheckTerm(const State& state, const Operator::Context& context, int64_t term) {
  if (term <= 0) return Error::Invalid("bad-args", "the order for {} has no term", context.instance->name);
  if (term >= state.record.term) return Done();
  return Error::Conflict("old-term", "the order for {} is of term {}, and it was ordered in term {} already",
                         context.instance->name, term, state.record.term)
      .Hint("a newer decision stands: muster status tells who is primary");
}

net::Task<Status> ReplicaOf(Client client, std::string host, std::string port, Duration timeout) {
  const std::vector<Command> commands = {{"REPLICAOF", host, port}, {"CLIENT", "UNPAUSE"}};
  MUSTER_CO_TRY(const std::vector<net::resp::Value> answers, co_await client->Pipeline(commands, timeout));
  if (answers[0].is_error()) co_return net::resp::RefusedError(answers[0], "REPLICAOF");
  co_return Done();
}

net::Task<Status> Promote(Ordered order, Values args) {
  State& state = *order.state;
  const Record now = state.record;
  const bool is_it = now.term == order.term && now.aim == "primary" && now.pid == order.context.pid;
  if (!is_it && Arg(args, "copy") != std::to_string(now.copy)) {
    co_return Error::Conflict("copy-differs", "{} has data of term {}, not of {}",
                              order.context.instance->name, now.copy, Arg(args, "copy"));
  }
  // Between this and the moment in which it takes writes nobody else can be promoted without its lease
  // having run out: the server has just heard it.
  if (order.context.still_wanted) {
    const bool wanted = co_await order.context.still_wanted();
    if (!wanted) {
      co_return Error::Unavailable("order-stale", "the server that wants {} to be primary is gone",
                                   order.context.instance->name);
    }
    MUSTER_CO_DO(CheckTerm(state, order.context, order.term));
  }
  const RoleChange change(order.state);
  Record record = state.record;
  record.term = order.term;
  record.aim = "primary";
  record.follows.clear();
  record.pid = order.context.pid;
  MUSTER_CO_DO(Remember(state, order.context, record, true));
  state.guarded_from = Now();
  MUSTER_CO_DO(co_await ReplicaOf(order.client, "NO", "ONE", kVerbWithin));
  record.copy = order.term;
  record.was = "primary";
  record.linked_pid = order.context.pid;
  record.linked.clear();
  co_return Remember(state, order.context, record, true);
}

net::Task<Status> Fence(Ordered order) {
  State& state = *order.state;
  const RoleChange change(order.state);
  Record record = state.record;
  record.term = order.term;
  record.aim = "fenced";
  record.follows.clear();
  record.pid = order.context.pid;
  MUSTER_CO_DO(Remember(state, order.context, record, true));
  co_return co_await ReplicaOf(order.client, kFenceHost, std::to_string(kFencePort), kVerbWithin);
}

net::Task<Status> Follow(Ordered order, Values args) {
  State& state = *order.state;
  const std::string host = Arg(args, "host"), port = Arg(args, "port");
  if (host.empty() || port.empty()) co_return Error::Invalid("bad-args", "follow wants host and port");
  Record record = state.record;
  if (record.term == order.term && record.aim == "primary") {
    co_return Error::Conflict("old-term", "{} is the primary of term {} itself", order.context.instance->name,
                              order.term);
  }
  const RoleChange change(order.state);
  record.term = order.term;
  record.aim = "replica";
  record.follows = host + ":" + port;
  record.pid = order.context.pid;
  MUSTER_CO_DO(Remember(state, order.context, record, true));
  co_return co_await ReplicaOf(order.client, host, port, kVerbWithin);
}

// Asks the replica until it has what the primary had when its writes began to wait.
net::Task<Status> AwaitCaughtUp(Ordered order, Client replica, int64_t offset) {
  const Time end = Now() + kCatchUpWithin;
  while (true) {
    const Command command = {"INFO", "replication"};
    MUSTER_CO_TRY(const net::resp::Value value, co_await replica->Command(command, kConnectWithin));
    MUSTER_CO_TRY(const redis::ServerInfo info, redis::ParseInfo(value.text));
    if (info.link_up && info.offset >= offset) co_return Done();
    if (Now() >= end) {
      co_return Error::Unavailable("not-caught-up", "the replica lacks {} bytes after {}",
                                   std::max<int64_t>(offset - info.offset, 0),
                                   FormatDuration(kCatchUpWithin));
    }
    co_await order.context.loop->Sleep(1ms);
  }
}

net::Task<Status> HandOver(Ordered order, Values args) {
  const std::string host = Arg(args, "host"), port = Arg(args, "port");
  const int port_number = redis::ParseNumber<int>(port).value_or(0);
  if (host.empty() || port_number == 0) co_return Error::Invalid("bad-args", "hand-over wants host and port");
  State& state = *order.state;
  if (state.record.aim == "fenced" && state.record.term == order.term) co_return Done();
  if (state.record.aim != "primary" || state.record.pid != order.context.pid) {
    co_return Error::Conflict("not-primary", "{} is no primary", order.context.instance->name);
  }
  MUSTER_CO_TRY(const Client replica, co_await OpenOther(order.context, host, port_number, kConnectWithin));
  const std::string pause = std::to_string(Duration(kCatchUpWithin + kConnectWithin + kFencedWithin).count());
  const std::vector<Command> commands = {{"CLIENT", "PAUSE", pause, "WRITE"}, {"INFO", "replication"}};
  MUSTER_CO_TRY(const std::vector<net::resp::Value> answers,
                co_await order.client->Pipeline(commands, kConnectWithin));
  if (answers[0].is_error()) co_return net::resp::RefusedError(answers[0], "CLIENT PAUSE");
  MUSTER_CO_TRY(const redis::ServerInfo info, redis::ParseInfo(answers[1].text));
  const Status caught_up = co_await AwaitCaughtUp(order, replica, info.offset);
  if (!caught_up.ok()) {
    const Command unpause = {"CLIENT", "UNPAUSE"};
    (void)co_await order.client->Command(unpause, kConnectWithin);
    co_return caught_up.error();
  }
  co_return co_await Fence(order);
}

net::Task<Status> Carry(Ordered order, std::string verb, Values args) {
  if (verb == "promote") co_return co_await Promote(order, std::move(args));
  if (verb == "fence") co_return co_await Fence(order);
  if (verb == "follow") co_return co_await Follow(order, std::move(args));
  co_return co_await HandOver(order, std::move(args));
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
    Record record = state_->record;
    if (record.copy == 0 || HasData(context.folder)) co_return Done();
    record.copy = 0;
    record.was.clear();
    record.linked.clear();
    record.linked_pid = 0;
    co_return Remember(*state_, context, std::move(record), true);
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
    const int64_t term = redis::ParseNumber<int64_t>(Arg(args, "term")).value_or(0);
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
      const Ordered order{.state = state, .context = context, .client = client, .term = term};
      done = co_await Carry(order, verb, std::move(args));
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
    return context.pid > 0 && state_->facts_pid == context.pid ? state_->measures : Values();
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
