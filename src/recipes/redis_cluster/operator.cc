// What is done to a running member: asked how it is, set, and ordered about.
#include "recipes/redis_cluster/operator.h"

#include <fmt/format.h>
#include <signal.h>

#include <set>

#include "base/files.h"
#include "recipes/redis/secret_check.h"
#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/facts.h"
#include "recipes/redis_cluster/node.h"
#include "recipes/redis_cluster/verbs.h"
#include "recipes/redis_cluster/verify.h"

namespace muster::redis_cluster {
namespace {

using Client = std::shared_ptr<net::RespClient>;

constexpr Duration kConnectWithin = 5s;
constexpr Duration kRefreshWithin = 2s;
constexpr Duration kReloadWithin = 10s;
constexpr std::string_view kSetting = "set ";  // what settings begin with in Instance::extra

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
};
using SharedState = std::shared_ptr<State>;

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
      .Hint("end that process, or take another port");
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

// Asks for all that is told of it, and keeps that.
net::Task<Result<Answers>> Renew(SharedState state, Operator::Context context, Client client,
                                 Duration timeout) {
  const uint64_t number = ++state->asked;
  std::vector<net::resp::Command> questions = Questions();
  MUSTER_CO_TRY(const std::vector<net::resp::Value> values,
                co_await client->Pipeline(std::move(questions), timeout));
  MUSTER_CO_TRY(Answers answers, ReadAnswers(values));
  MUSTER_CO_DO(CheckOwn(context, answers.info));
  MUSTER_CO_DO(co_await FindDrained(client, answers, timeout));
  if (number < state->written) co_return answers;  // somebody has asked later and been quicker
  state->written = number;
  if (answers.loading && state->facts_pid == context.pid) {
    // Who it is doesn't change while it can't say so.
    for (const char* name : {"node", "primary"}) {
      const auto known = state->facts.find(name);
      if (known != state->facts.end()) answers.facts.insert(*known);
    }
  }
  state->facts = answers.facts;
  state->measures = answers.measures;
  state->facts_pid = context.pid;
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
  const std::string first(kSetting);
  for (auto at = instance.extra.lower_bound(first); at != instance.extra.end(); ++at) {
    if (!at->first.starts_with(kSetting)) break;
    state.settings.insert(at->first.substr(kSetting.size()));
  }
}

// Its settings as its files have them; those that they have no longer as Redis itself has them.
Values SettingsOf(const State& state, const Instance& instance) {
  Values settings;
  for (const std::string& name : state.settings) {
    const auto given = instance.extra.find(std::string(kSetting) + name);
    const redis::Setting* known = redis::FindSetting(name);
    if (given != instance.extra.end()) {
      settings[name] = given->second;
    } else if (known && known->cost == redis::Cost::kLive) {
      settings[name] = std::string(known->standard);
    }
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
  co_return client;
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
    // One of its own: what takes long isn't in health's way.
    MUSTER_CO_TRY(Client client, co_await Open(state, context, std::min(within, kConnectWithin)));
    Node node(*context.loop, client, SecretsOf(*state, AccessOf(*context.instance)), end);
    // Nobody else's data is touched.
    const Duration look_within = std::min(within, kRefreshWithin);
    MUSTER_CO_TRY(const Answers seen, co_await Renew(state, context, client, look_within));
    if (seen.loading && verb != "look") {
      co_return Error::Unavailable("redis-loading", "{} loads its data", context.instance->name);
    }
    auto values = co_await PerformVerb(node, context, verb, std::move(args));
    if (verb == "look") co_return values;
    if (client->closed()) {
      auto anew = co_await Open(state, context, kRefreshWithin);
      if (!anew.ok()) co_return values;
      client = std::move(anew).value();
    }
    (void)co_await Renew(state, context, client, kRefreshWithin);
    co_return values;
  }

  Values Facts(const Context& context) override {
    NoteSettings(*state_, *context.instance);
    return context.pid > 0 && state_->facts_pid == context.pid ? state_->facts : Values();
  }

  Values Measures(const Context& context) override {
    return context.pid > 0 && state_->facts_pid == context.pid ? state_->measures : Values();
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
  static std::vector<std::string> SecretsOf(const State& state, const Access& access) {
    return {access.password, state.password.value_or("")};
  }

  SharedState state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<Operator> MakeRedisClusterOperator() { return std::make_unique<RedisClusterOperator>(); }

}  // namespace muster::redis_cluster
