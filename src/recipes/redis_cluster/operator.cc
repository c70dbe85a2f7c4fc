// What is done to a running member: asked how it is, set, and ordered about.
#include "recipes/redis_cluster/operator.h"

#include <fmt/format.h>
#include <signal.h>

#include <set>

#include "base/files.h"
#include "base/text.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis/member_layout.h"
#include "recipes/redis/secret_check.h"
#include "recipes/redis/settings.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/facts.h"
#include "recipes/redis_cluster/last_seen.h"
#include "recipes/redis_cluster/newcomer.h"
#include "recipes/redis_cluster/node.h"
#include "recipes/redis_cluster/verbs.h"
#include "recipes/redis_cluster/verify.h"

namespace muster::redis_cluster {
namespace {

using Client = std::shared_ptr<net::RespClient>;

constexpr Duration kConnectWithin = 5s;
constexpr Duration kRefreshWithin = 2s;
constexpr Duration kReloadWithin = 10s;
constexpr Duration kAskAgain = 500ms;  // whether an order is still wanted, while it is carried out
constexpr Duration kTurn = 5ms;
constexpr size_t kNodesKept = 4;
constexpr Duration kToldWithin = 100ms;
constexpr Duration kHearsOfIt = 2s;  // that others have its slots

// What is known of one member between calls. Shared with those under way.
struct State {
  Client kept;  // for health
  int kept_pid = 0;
  std::optional<std::string> password;  // the one that was taken last
  Values facts, measures;
  int facts_pid = 0;               // whose they are
  uint64_t asked = 0;              // so many times
  uint64_t written = 0;            // which of them the facts are from
  std::set<std::string> settings;  // that its files have or have had
  std::string ready_run;           // the process that was ready once
  bool loaded = false;             // `ready_run`, from an earlier agent's record
  std::vector<FormerNode> nodes;   // that it has been, the last one now
  bool nodes_loaded = false;       // from an earlier agent's record
  bool had_keys = false;           // see HadKeys
  bool had_keys_loaded = false;    // from an earlier agent's record
  int looked_pid = 0;              // whose `withholds` is known
  bool withholds = false;          // see newcomer.h
  uint64_t orders = 0;             // so many have come; the last is the one that counts
  bool at_work = false;            // an order is being carried out
  LastSeen last;
  int ended_pid = 0;      // whose end was met
  bool recorded = false;  // it stands in the records
  bool restored = false;  // it was looked for there
};
using SharedState = std::shared_ptr<State>;

// One order at a time.
class Turn {
 public:
  explicit Turn(SharedState state) : state_(std::move(state)) { state_->at_work = true; }
  ~Turn() { state_->at_work = false; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  SharedState state_;
};

// Whether this order is the last that has come, and is still waited for. The server is asked again only after
// a while.
net::Task<bool> IsWanted(SharedState state, uint64_t number, std::shared_ptr<Time> asked,
                         std::function<net::Task<bool>()> ask) {
  if (number != state->orders) co_return false;
  const Time now = Now();
  if (!ask || now - *asked < kAskAgain) co_return true;
  const bool wanted = co_await ask();
  if (wanted) *asked = now;
  co_return wanted&& number == state->orders;
}

Error NotRunning(const Operator::Context& context) {
  return Error::Conflict("not-running", "{} does not run", context.instance->name);
}

// Lets nobody in who isn't let do anything.
net::Task<Result<Client>> OpenWith(Operator::Context context, std::string password, Duration timeout) {
  const Access access = AccessOf(*context.instance);
  net::RespOptions options;
  options.password = password;
  MUSTER_CO_TRY(Client client,
                co_await net::RespClient::Connect(*context.loop, access.host, access.port, options, timeout));
  if (!password.empty()) co_return client;
  const net::resp::Command ping = {"PING"};
  MUSTER_CO_TRY(const net::resp::Value pong, co_await client->Command(ping, timeout));
  if (pong.error_code() == "NOAUTH") co_return net::resp::RefusedError(pong, "PING");
  co_return client;
}

// With the password of its files or, while those are newer than what runs, with the one that it took before.
net::Task<Result<Client>> Open(SharedState state, Operator::Context context, Duration timeout) {
  const Time end = Now() + timeout;
  const std::string password = AccessOf(*context.instance).password;
  auto client = co_await OpenWith(context, password, timeout);
  if (client.ok()) {
    state->password = password;
  } else if (client.error().code() == "redis-denied" && state->password && *state->password != password) {
    const Duration left = std::max(end - Now(), Duration(1));
    auto before = co_await OpenWith(context, *state->password, left);
    if (before.ok()) co_return before;
  }
  co_return client;
}

// Who answers on its port must be its own process.
Status CheckOwn(const Operator::Context& context, const redis::ServerInfo& info) {
  const int pid = static_cast<int>(info.pid);
  if (IsBelow(pid, context.pid)) return Done();
  const Access access = AccessOf(*context.instance);
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    return Error::Unavailable("redis-closed", "the redis that answered at {}:{} has ended", access.host,
                              access.port);
  }
  return Error::Conflict("port-taken", "another redis answers at {}:{}: pid {}, not {}", access.host,
                         access.port, pid, context.pid)
      .Hint("end that process where it is no instance of muster's, or take another port");
}

// Which slots it migrates and has no keys of any more: they can be claimed.
net::Task<Status> FindDrained(Client client, Answers& answers, Duration timeout) {
  const redis::ClusterNode* myself = answers.view.myself();
  if (!myself || myself->migrating.empty()) co_return Done();
  std::vector<net::resp::Command> commands;
  for (const auto& [slot, to] : myself->migrating) {
    commands.push_back({"CLUSTER", "COUNTKEYSINSLOT", std::to_string(slot)});
  }
  MUSTER_CO_TRY(const std::vector<net::resp::Value> counts,
                co_await client->Pipeline(std::move(commands), timeout));
  redis::SlotSet drained;
  size_t at = 0;
  for (const auto& [slot, to] : myself->migrating) {
    if (counts[at++].AsInteger() == 0) drained.Add(slot);
  }
  if (!drained.empty()) answers.facts["drained"] = drained.Text();
  co_return Done();
}

std::string NodesPath(const Operator::Context& context) { return context.records + "/redis-nodes"; }

// A member that loses its data is another node from then on; whose keys the one before had is told on. The
// nodes that it was, as the fact `was`.
std::string RememberNode(State& state, const Operator::Context& context, const Values& facts) {
  if (!std::exchange(state.nodes_loaded, true) && !context.records.empty()) {
    if (const auto recorded = ReadFile(NodesPath(context)); recorded.ok())
      state.nodes = ReadFormerNodes(*recorded);
  }
  const FormerNode now{redis::TextAt(facts, "node"), redis::TextAt(facts, "primary")};
  std::vector<FormerNode> former = state.nodes;
  std::erase_if(former, [&](const FormerNode& node) { return node.node == now.node; });
  if (now.node.empty()) {  // it has yet to say who it is
    if (!former.empty()) former.pop_back();
  } else if (state.nodes.empty() || !(state.nodes.back() == now)) {
    if (former.size() > kNodesKept) former.erase(former.begin());
    state.nodes = former;
    state.nodes.push_back(now);
    if (!context.records.empty())
      (void)WriteFile(NodesPath(context), FormerNodesText(state.nodes), {.mode = 0600});
  }
  return FormerNodesText(former);
}

std::string KeysPath(const Operator::Context& context) { return context.records + "/redis-keys"; }

void LoadHadKeys(State& state, const Operator::Context& context) {
  if (std::exchange(state.had_keys_loaded, true) || context.records.empty()) return;
  const auto recorded = ReadFile(KeysPath(context));
  state.had_keys = recorded.ok() && recorded->starts_with("yes");
}

void NoteHadKeys(State& state, const Operator::Context& context, bool had_keys) {
  LoadHadKeys(state, context);
  if (std::exchange(state.had_keys, had_keys) == had_keys || context.records.empty()) return;
  (void)WriteFile(KeysPath(context), had_keys ? "yes\n" : "no\n", {.mode = 0600});
}

std::string LastPath(const Operator::Context& context) { return context.records + "/redis-last"; }

// What an earlier process was seen as last is of no use once this one serves.
void ForgetRecord(State& state, const Operator::Context& context) {
  if (state.restored && !std::exchange(state.recorded, false)) return;
  state.restored = true;
  if (!context.records.empty()) (void)RemoveTree(LastPath(context));
}

// An agent that starts after the end of its process has to read what it was seen as; one that meets the end
// writes it down, though not before that is told.
void NoteEnd(const SharedState& state, const Operator::Context& context) {
  if (context.records.empty()) return;
  if (state->facts_pid == 0) {
    if (std::exchange(state->restored, true)) return;
    if (const auto recorded = ReadFile(LastPath(context)); recorded.ok()) {
      state->last.Restore(*recorded, Now(), MomentNow());
      state->recorded = true;
    }
    return;
  }
  if (context.pid == state->facts_pid ||
      std::exchange(state->ended_pid, state->facts_pid) == state->facts_pid)
    return;
  state->last.Ended(Now());
  const std::string record = state->last.Record(Now(), MomentNow());
  if (record.empty()) return;
  state->recorded = true;
  context.loop->After(kToldWithin, [state, path = LastPath(context), record] {
    if (state->recorded) (void)WriteFile(path, record, {.mode = 0600});
  });
}

// The process may have been started by an earlier agent.
net::Task<Status> FindWithheld(SharedState state, Operator::Context context, Client client,
                               Duration timeout) {
  if (state->looked_pid == context.pid) co_return Done();
  const net::resp::Command question = {"CONFIG", "GET", "repl-diskless-sync-delay"};
  MUSTER_CO_TRY(const net::resp::Value answer, co_await client->Command(question, timeout));
  const auto pairs = answer.AsPairs();
  state->withholds = pairs && !pairs->empty() && pairs->front().second == kWithheldDelay;
  state->looked_pid = context.pid;
  co_return Done();
}

// Where it may: a newcomer gives its data to who asks from then on.
net::Task<Status> GiveData(SharedState state, Operator::Context context, Client client, Answers& answers,
                           Duration timeout) {
  if (!state->withholds) co_return Done();
  if (MayGive(answers)) {
    Node node(*context.loop, client, {}, Now() + timeout);
    Values settings = GivingSettings(*context.instance, answers.info.version);
    MUSTER_CO_DO(co_await SetAll(node, std::move(settings)));
    state->withholds = false;
  } else if (const auto strangers = Strangers(answers); !strangers.empty()) {
    answers.facts["withheld"] = Join(strangers, " ");
  }
  co_return Done();
}

// Asks for all that is told of it, and keeps that.
net::Task<Result<Answers>> Renew(SharedState state, Operator::Context context, Client client,
                                 Duration timeout) {
  const uint64_t number = ++state->asked;
  const Time asked = Now();
  std::vector<net::resp::Command> questions = Questions();
  MUSTER_CO_TRY(const std::vector<net::resp::Value> values,
                co_await client->Pipeline(std::move(questions), timeout));
  MUSTER_CO_TRY(Answers answers, ReadAnswers(values));
  MUSTER_CO_DO(CheckOwn(context, answers.info));
  MUSTER_CO_DO(co_await FindDrained(client, answers, timeout));
  MUSTER_CO_DO(co_await FindWithheld(state, context, client, timeout));
  MUSTER_CO_DO(co_await GiveData(state, context, client, answers, timeout));
  if (number < state->written) co_return answers;  // somebody has asked later and been quicker
  state->written = number;
  if (answers.loading && state->facts_pid == context.pid) {
    // Who it is doesn't change while it can't say so.
    for (const char* name : {"node", "primary"}) {
      const auto known = state->facts.find(name);
      if (known != state->facts.end()) answers.facts.insert(*known);
    }
  }
  if (const std::string was = RememberNode(*state, context, answers.facts); !was.empty())
    answers.facts["was"] = was;
  LoadHadKeys(*state, context);
  NoteHadKeys(*state, context, HadKeys(state->had_keys, answers));
  // What is kept in memory only is no loss to ask about.
  if (HasLostKeys(state->had_keys, answers) && !redis::KeepsNothing(*context.instance))
    answers.facts["lost"] = "yes";
  state->facts = answers.facts;
  state->measures = answers.measures;
  state->facts_pid = context.pid;
  state->last.Answered(answers, asked, Now());
  if (!answers.loading) ForgetRecord(*state, context);
  co_return answers;
}

std::string ReadyPath(const Operator::Context& context) { return context.records + "/redis-ready"; }

// A member that takes over its master's data anew is as alive as before; an agent that starts then must know.
bool WasReady(State& state, const Operator::Context& context, const std::string& run) {
  if (!std::exchange(state.loaded, true) && !context.records.empty()) {
    if (const auto recorded = ReadFile(ReadyPath(context)); recorded.ok()) state.ready_run = *recorded;
  }
  return state.ready_run == run;
}

void RememberReady(State& state, const Operator::Context& context, const std::string& run) {
  if (WasReady(state, context, run)) return;
  state.ready_run = run;
  if (!context.records.empty()) (void)WriteFile(ReadyPath(context), run, {.mode = 0600});
}

void NoteSettings(State& state, const Instance& instance) {
  for (const auto& [name, value] : redis::SettingsIn(instance)) state.settings.insert(name);
}

// Its settings as its files have them; those that they have no longer as Redis itself has them.
Values SettingsOf(const State& state, const Instance& instance) {
  Values settings = redis::SettingsIn(instance);
  for (const std::string& name : state.settings) {
    const redis::Setting* known = redis::FindSetting(name);
    if (!settings.contains(name) && known && known->cost == redis::Cost::kLive)
      settings[name] = std::string(known->standard);
  }
  return settings;
}

// Of a server that somebody else has started. Its password may be none yet.
net::Task<Result<Client>> OpenStranger(Operator::Context context) {
  const std::string password = AccessOf(*context.instance).password;
  auto client = co_await OpenWith(context, password, kConnectWithin);
  if (client.ok() || password.empty() || client.error().code() != "redis-denied") co_return client;
  auto open = co_await OpenWith(context, "", kConnectWithin);
  if (open.ok()) co_return open;
  co_return std::move(client).error().Hint(
      "it has another password than the file's secret: muster secret set NAME with its own, then bring it up "
      "again");
}

// Whether muster would start it on the same files: with others it would have no data.
net::Task<Status> CheckFiles(Node& node, Operator::Context context) {
  static const std::map<std::string, std::string> kStandard = {{"cluster-config-file", "nodes.conf"},
                                                               {"dbfilename", "dump.rdb"},
                                                               {"appendfilename", "appendonly.aof"},
                                                               {"appenddirname", "appendonlydir"}};
  for (const auto& [name, standard] : kStandard) {
    const net::resp::Command question = {"CONFIG", "GET", name};
    MUSTER_CO_TRY(const net::resp::Value answer, co_await node.Ask(question));
    if (answer.is_error()) co_return node.Refused(answer, "CONFIG GET " + name);
    const auto pairs = answer.AsPairs();
    if (!pairs || pairs->empty()) continue;  // a release without it
    const auto& extra = context.instance->extra;
    const auto given = extra.find("file " + name);
    const std::string wanted = given == extra.end() ? standard : given->second;
    if (pairs->front().second == wanted) continue;
    co_return Error::Refused("take-over-differs", "pid {}, which {} is to take over, has the {} {}, not {}",
                             context.pid, context.instance->name, name, pairs->front().second, wanted)
        .Hint("write files: {{ {}: {} }} for it in members, or run muster adopt anew", name,
              pairs->front().second);
  }
  co_return Done();
}

// What only a start can set, and isn't as the file says.
net::Task<Result<std::vector<std::string>>> WaitsForStart(Node& node, Values settings) {
  std::vector<std::string> waits;
  for (const auto& [name, value] : settings) {
    const redis::Setting* known = redis::FindSetting(name);
    if (!known || known->cost != redis::Cost::kRestart) continue;
    const net::resp::Command question = {"CONFIG", "GET", name};
    MUSTER_CO_TRY(const net::resp::Value answer, co_await node.Ask(question));
    const auto pairs = answer.AsPairs();
    if (pairs && !pairs->empty() && pairs->front().second != value) waits.push_back(name);
  }
  co_return waits;
}

class RedisClusterOperator : public Operator {
 public:
  net::Task<Status> Health(Context context) override {
    const SharedState state = state_;
    if (context.pid <= 0) co_return NotRunning(context);
    const Time end = Now() + context.instance->probe.timeout;
    if (!state->kept || state->kept->closed() || state->kept_pid != context.pid) {
      MUSTER_CO_TRY(state->kept, co_await Open(state, context, context.instance->probe.timeout));
      state->kept_pid = context.pid;
    }
    const Client client = state->kept;
    const Duration left = std::max(end - Now(), Duration(1));
    auto answers = co_await Renew(state, context, client, left);
    if (!answers.ok()) {
      // A stranger's connection isn't kept, nor one that was opened before there was a password.
      if (state->kept == client) state->kept.reset();
      co_return answers.error();
    }
    const std::string& run = answers->info.run_id;
    if (answers->loading && !WasReady(*state, context, run)) {
      const int64_t eta = answers->info.loading_eta_s;
      co_return Error::Unavailable("redis-loading", "{} loads its data{}", context.instance->name,
                                   eta > 0 ? fmt::format(", for about {} s more", eta) : "");
    }
    if (!answers->loading) RememberReady(*state, context, run);
    co_return Done();
  }

  net::Task<Status> Prepare(Context context) override { co_return redis::CheckSecrets(*context.instance); }

  std::vector<std::string> StartWords(const Context& context) override {
    return StartsAsNewcomer(context) ? WithholdingWords(*context.instance) : std::vector<std::string>();
  }

  net::Task<Status> MayStop(Context context) override {
    const SharedState state = state_;
    const Time end = Now() + kHearsOfIt;
    auto client = co_await Open(state, context, kHearsOfIt);
    if (!client.ok()) co_return Done();  // who doesn't answer serves nobody
    Node node(*context.loop, *client, SecretsOf(*state, AccessOf(*context.instance)), end);
    while (true) {
      const auto view = co_await node.View();
      const redis::ClusterNode* myself = view.ok() ? view->myself() : nullptr;
      if (!myself || myself->slots.empty()) co_return Done();
      if (Now() + kTurn >= end) {
        co_return Error::Conflict(
            "owns-slots", "{} had handed over what it had, and is master of {} again: it isn't stopped",
            context.instance->name, myself->slots.Text())
            .Hint("the same command again hands over before it stops anything");
      }
      co_await context.loop->Sleep(kTurn);
    }
  }

  net::Task<Status> Reload(Context context) override {
    const SharedState state = state_;
    if (context.pid <= 0) co_return NotRunning(context);
    const Access access = AccessOf(*context.instance);
    // A connection that was let in with the password before stays so.
    Client client = state->kept;
    if (!client || client->closed() || state->kept_pid != context.pid) {
      MUSTER_CO_TRY(client, co_await Open(state, context, kConnectWithin));
    }
    Node node(*context.loop, client, SecretsOf(*state, access), Now() + kReloadWithin);
    NoteSettings(*state, *context.instance);
    Values settings = SettingsOf(*state, *context.instance);
    // Its own first: it must get on with its master though others have the new one already.
    Values passwords = {{"masterauth", access.password}};
    MUSTER_CO_DO(co_await SetAll(node, std::move(passwords)));
    settings["requirepass"] = access.password;
    MUSTER_CO_DO(co_await FindWithheld(state, context, client, kConnectWithin));
    if (state->withholds) {
      for (const auto& [name, value] : GivingSettings(*context.instance, "")) settings.erase(name);
    }
    MUSTER_CO_DO(co_await SetAll(node, std::move(settings)));
    state->password = access.password;
    (void)co_await Renew(state, context, client, kRefreshWithin);
    co_return Done();
  }

  net::Task<Result<std::vector<std::string>>> TakeOver(Context context) override {
    const SharedState state = state_;
    const Access access = AccessOf(*context.instance);
    MUSTER_CO_TRY(const Client client, co_await OpenStranger(context));
    MUSTER_CO_TRY(const Answers seen, co_await Renew(state, context, client, kConnectWithin));
    if (seen.loading) {
      co_return Error::Unavailable("redis-loading", "{}, which is to be taken over, loads its data",
                                   context.instance->name);
    }
    Node node(*context.loop, client, SecretsOf(*state, access), Now() + kReloadWithin);
    MUSTER_CO_DO(co_await CheckFiles(node, context));
    NoteSettings(*state, *context.instance);
    Values settings = SettingsOf(*state, *context.instance);
    const Values wanted = settings;
    Values passwords = {{"masterauth", access.password}};
    MUSTER_CO_DO(co_await SetAll(node, std::move(passwords)));
    settings["requirepass"] = access.password;
    MUSTER_CO_DO(co_await SetAll(node, std::move(settings)));
    state->password = access.password;
    co_return co_await WaitsForStart(node, wanted);
  }

  net::Task<Result<Values>> Perform(Context context, std::string verb, Values args) override {
    const SharedState state = state_;
    if (context.pid <= 0) co_return NotRunning(context);
    const Duration within = WithinOf(verb, args);
    const Time end = Now() + within;
    if (verb == "look") co_return co_await Carry(state, context, verb, std::move(args), end);
    // One that comes from a server after another's may find that one's at work: it ends between two rounds.
    const uint64_t number = ++state->orders;
    while (state->at_work && number == state->orders && Now() < end) co_await context.loop->Sleep(kTurn);
    if (number != state->orders) co_return Overtaken(context);
    if (state->at_work) {
      co_return Error::Conflict("busy", "{} is still at an order before this one", context.instance->name);
    }
    const Turn turn(state);
    const auto asked = std::make_shared<Time>(Time());
    context.still_wanted = [state, number, asked, ask = context.still_wanted] {
      return IsWanted(state, number, asked, ask);
    };
    co_return co_await Carry(state, context, verb, std::move(args), end);
  }

  Values Facts(const Context& context) override {
    NoteSettings(*state_, *context.instance);
    NoteEnd(state_, context);
    return context.pid > 0 && state_->facts_pid == context.pid ? state_->facts : Values();
  }

  Values Measures(const Context& context) override {
    const bool runs = context.pid > 0 && state_->facts_pid == context.pid;
    Values measures = runs ? state_->measures : Values();
    state_->last.Tell(runs, runs && !state_->facts.contains("loading"), Now(), measures);
    return measures;
  }

  net::Task<std::vector<Check>> Verify(Context context, Values) override {
    const SharedState state = state_;
    const Access access = AccessOf(*context.instance);
    VerifyInput input{.loop = context.loop,
                      .instance = context.instance->name,
                      .host = access.host,
                      .port = access.port,
                      .password = access.password};
    co_return co_await VerifyMember(std::move(input));
  }

 private:
  static Error Overtaken(const Context& context) {
    return Error::Conflict("order-stale", "a newer order to {} has come", context.instance->name)
        .Hint("nothing: the newer one counts");
  }

  static net::Task<Result<Values>> Carry(SharedState state, Context context, std::string verb, Values args,
                                         Time end) {
    const Duration connect_within = std::max(std::min(end - Now(), kConnectWithin), Duration(1));
    // One of its own: what takes long isn't in health's way.
    MUSTER_CO_TRY(Client client, co_await Open(state, context, connect_within));
    Node node(*context.loop, client, SecretsOf(*state, AccessOf(*context.instance)), end);
    // Nobody else's data is touched.
    const Duration look_within = std::max(std::min(end - Now(), kRefreshWithin), Duration(1));
    MUSTER_CO_TRY(const Answers seen, co_await Renew(state, context, client, look_within));
    if (seen.loading && verb != "look") {
      co_return Error::Unavailable("redis-loading", "{} loads its data", context.instance->name);
    }
    const bool looked = verb == "look" && !WaitsForLink(verb, args);
    auto values = co_await PerformVerb(node, context, verb, std::move(args));
    if (looked) co_return values;
    // What it was told to give up isn't lost.
    if (values.ok() && verb == "leave") NoteHadKeys(*state, context, false);
    if (client->closed()) {
      auto anew = co_await Open(state, context, kRefreshWithin);
      if (!anew.ok()) co_return values;
      client = std::move(anew).value();
    }
    (void)co_await Renew(state, context, client, kRefreshWithin);
    co_return values;
  }

  static std::vector<std::string> SecretsOf(const State& state, const Access& access) {
    return {access.password, state.password.value_or("")};
  }

  SharedState state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<Operator> MakeRedisClusterOperator() { return std::make_unique<RedisClusterOperator>(); }

}  // namespace muster::redis_cluster
