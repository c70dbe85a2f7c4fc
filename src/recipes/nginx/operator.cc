// What is done to a running nginx: its upstreams are rendered, tested and reloaded.
#include <fmt/format.h>

#include <optional>
#include <set>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "base/within.h"
#include "model/words.h"
#include "recipes/nginx/config.h"
#include "recipes/nginx/layout.h"
#include "recipes/nginx/reload.h"
#include "recipes/nginx/targets.h"
#include "recipes/nginx/verify.h"

namespace muster::nginx {
namespace {

using Names = std::set<std::string>;
using Facts = std::map<std::string, std::string>;

constexpr Duration kGather = 20ms;         // reloads asked for within this share one
constexpr Duration kFinishWithin = 500ms;  // requests under way when a member is drained

std::string Listed(const Names& names) { return Join({names.begin(), names.end()}, ","); }

Names Listed(std::string_view text) {
  Names names;
  for (const std::string& name : Split(text, ',')) {
    if (!name.empty()) names.insert(name);
  }
  return names;
}

// A worker that was told to end: it takes no new requests.
struct Replaced {
  std::optional<Names> served;  // members that it sent requests to; nullopt: not known, it may be anybody
  Time at;
};

// One nginx as its operator knows it. Shared with the reloads under way.
struct State {
  bool loaded = false;
  Names run, health;                          // who is out, by whom
  std::map<std::string, std::string> guests;  // who stands in for a while, and where
  std::map<std::string, std::string> moved;   // members that stand elsewhere than in `moved_in`, and where
  std::string moved_in;                       // the digest of the desired upstreams that this is about
  std::string token;                          // who knows it is shown where requests go
  std::string applied;                        // the upstreams that the running nginx has; "" : not known
  // It has not what it should have, as far as is known, and nothing is under way that would change that: told
  // to the mender, which orders until it is so.
  bool stale = false;
  bool adopted = false;                 // `applied` was looked for where nginx ran already
  std::optional<std::string> recorded;  // the digest of what was applied, by an earlier agent's record
  int reloads = 0;
  std::map<int, Replaced> replaced;  // workers that were told to end, by pid

  std::string records;  // the agent's folder for this instance
  Running running;
  Duration reload_within{};
  std::string upstreams;  // as in the desired state
  bool forced = false;    // the rest of the configuration has changed, too
  bool reloading = false;
  std::vector<net::Promised<Status>> waiting;

  Names out() const {
    Names both = run;
    both.insert(health.begin(), health.end());
    return both;
  }
  std::vector<Upstream> Members() const {
    std::vector<Upstream> members = ParseUpstreams(upstreams);
    // A new list of members knows where they are.
    if (!moved.empty() && moved_in == Sha256Hex(upstreams)) members = WithMoved(std::move(members), moved);
    return WithGuests(std::move(members), guests);
  }
  void Move(const std::string& member, const std::string& seats) {
    const std::string in = Sha256Hex(upstreams);
    if (std::exchange(moved_in, in) != in) moved.clear();
    moved[member] = seats;
  }
  // Those that really are marked.
  Names marked() const {
    Names marked;
    for (const Upstream& upstream : Members()) marked.merge(MarkedIn(upstream, out()));
    return marked;
  }
  void Replace(const Workers& before, const std::optional<Names>& served) {
    std::erase_if(replaced, [&](const auto& worker) { return !before.leaving.contains(worker.first); });
    for (const int worker : before.serving) replaced[worker] = {.served = served, .at = Now()};
  }
  // Who may still have requests to a member that is out, and until when they may take. Those that the last
  // reload replaced aren't all: a slow request outlives more reloads than one. Nobody waits for a worker that
  // had its time before: what it has left takes longer, as WebSockets do.
  std::map<int, Time> Carrying(const std::string& member, Duration within) {
    std::map<int, Time> carrying;
    if (running.pid <= 0) return carrying;
    for (const int worker : WorkersOf(running.pid).leaving) {
      const Replaced& known = replaced.try_emplace(worker, Replaced{.served = {}, .at = Now()}).first->second;
      if (!known.served || known.served->contains(member)) carrying[worker] = known.at + within;
    }
    return carrying;
  }
  std::string Rendered() const { return RenderUpstreams(Members(), out(), token); }
  // Where what is wanted turns out to be what nginx has.
  void Settle() {
    if (stale && !applied.empty() && Rendered() == applied) stale = false;
  }
};
using SharedState = std::shared_ptr<State>;

Status WriteUpstreams(const Running& running, const std::string& content) {
  Owner owner;
  if (geteuid() == 0) owner = {.uid = running.uid, .gid = running.gid};
  return WriteWithin(running.folder, std::string(kUpstreamsFile), content, 0640, owner);
}

// Beside the instance's folder: nginx has no business with it.
std::string StatePath(const State& state) { return state.records + "/upstreams.state"; }

Status Save(const State& state) {
  std::string text =
      fmt::format("token {}\nrun {}\nhealth {}\n", state.token, Listed(state.run), Listed(state.health));
  text += fmt::format("applied {}\n", state.applied.empty() ? "" : Sha256Hex(state.applied));
  for (const auto& [name, seats] : state.guests) text += fmt::format("guest {} {}\n", name, seats);
  if (!state.moved.empty()) text += fmt::format("moved-in {}\n", state.moved_in);
  for (const auto& [name, seats] : state.moved) text += fmt::format("moved {} {}\n", name, seats);
  return WriteFile(StatePath(state), text, {.mode = 0600});
}

void Load(State& state) {
  if (state.loaded) return;
  state.loaded = true;
  const auto text = ReadFile(StatePath(state));
  if (text.ok()) {
    for (const std::string& line : Split(*text, '\n')) {
      if (line.starts_with("token ")) state.token = line.substr(6);
      if (line.starts_with("run ")) state.run = Listed(std::string_view(line).substr(4));
      if (line.starts_with("applied ")) state.recorded = line.substr(8);
      if (line.starts_with("health ")) state.health = Listed(std::string_view(line).substr(7));
      const std::vector<std::string> words = Split(line, ' ');
      if (words.size() == 3 && words[0] == "guest") state.guests[words[1]] = words[2];
      if (words.size() == 3 && words[0] == "moved") state.moved[words[1]] = words[2];
      if (line.starts_with("moved-in ")) state.moved_in = line.substr(9);
    }
  }
  if (state.token.empty()) state.token = RandomHex(16);
}

// An agent that finds nginx running has only the record of an earlier one, which may have ended halfway. One
// of an earlier release tells nothing: there the file has to do.
void Adopt(State& state) {
  if (state.running.pid <= 0 || std::exchange(state.adopted, true)) return;
  const std::string wanted = state.Rendered();
  const auto file = ReadWithin(state.running.folder, std::string(kUpstreamsFile));
  // The same members as an earlier release wrote them are no reason for a reload.
  const std::set<std::string> same = {wanted, AsEarlier(wanted)};
  const std::set<std::string> digests = {Sha256Hex(wanted), Sha256Hex(AsEarlier(wanted))};
  if (file.ok() && same.contains(*file) && digests.contains(state.recorded.value_or(Sha256Hex(wanted)))) {
    state.applied = wanted;
  } else {
    state.stale = true;
  }
}

void Take(State& state, const Operator::Context& context) {
  state.running.loop = context.loop;
  state.records = context.records;
  state.running.folder = context.folder;
  state.running.pid = context.pid;
  state.running.uid = context.uid;
  state.running.gid = context.gid;
  const auto text = [&](const char* key) {
    const auto found = context.instance->extra.find(key);
    return found == context.instance->extra.end() ? std::string() : found->second;
  };
  state.running.low_ports = text("bind_low_ports") == "yes";
  state.upstreams = text("upstreams");
  if (!context.instance->argv.empty()) state.running.program = context.instance->argv.front();
  Load(state);
  Adopt(state);
}

// Members that left the service would otherwise come back as out.
bool Forget(State& state) {
  Names known;
  for (const Upstream& upstream : state.Members()) {
    for (const Member& member : upstream.members) known.insert(member.instance);
  }
  const auto unknown = [&](const std::string& name) { return !known.contains(name); };
  const auto nowhere = [&](const auto& guest) { return !known.contains(guest.first); };
  return std::erase_if(state.run, unknown) + std::erase_if(state.health, unknown) +
             std::erase_if(state.guests, nowhere) >
         0;
}

// Writes the upstreams and tests all of the configuration. Where nginx doesn't like it, the file is as
// before, unless somebody else has written it meanwhile.
net::Task<Status> WriteAndTest(SharedState state, std::string content) {
  const auto before = ReadWithin(state->running.folder, std::string(kUpstreamsFile));
  if (!before.ok() || *before != content) MUSTER_CO_DO(WriteUpstreams(state->running, content));
  Status tested = co_await TestConfig(state->running);
  if (!tested.ok() && before.ok()) {
    const auto now = ReadWithin(state->running.folder, std::string(kUpstreamsFile));
    if (now.ok() && *now == content) (void)WriteUpstreams(state->running, *before);
  }
  co_return tested;
}

// Not running: it starts from what is written, unless its start has read the file just before.
Status WriteForItsStart(State& state, const std::string& content) {
  state.applied.clear();
  state.stale = true;
  MUSTER_DO(Save(state));
  return WriteUpstreams(state.running, content);
}

net::Task<Status> TestAndReload(SharedState state, std::string content) {
  const int pid = state->running.pid;
  MUSTER_CO_DO(co_await WriteAndTest(state, content));
  if (state->running.pid <= 0) co_return WriteForItsStart(*state, content);
  // From the signal on nobody knows what it has until it is seen to have it: it may take up its files long
  // after it was given up on, and an agent may end before that.
  std::optional<Names> served;
  if (!state->applied.empty()) served = ServedIn(state->applied);
  state->applied.clear();
  MUSTER_CO_DO(Save(*state));
  MUSTER_CO_TRY(const Workers before, co_await ReloadMaster(state->running, state->reload_within));
  state->Replace(before, served);
  ++state->reloads;
  if (state->running.pid == pid) {  // else it was started anew, from what Prepare knows
    state->applied = content;
    state->stale = false;
    (void)Save(*state);  // without it the next agent reloads once more
  }
  co_return Done();
}

net::Task<Status> Apply(SharedState state) {
  const bool forced = std::exchange(state->forced, false);
  const std::string content = state->Rendered();
  if (state->running.pid <= 0) co_return WriteForItsStart(*state, content);
  if (!forced && content == state->applied) co_return Done();
  Status status = co_await TestAndReload(state, content);
  if (!status.ok()) state->stale = true;
  co_return status;
}

// One reload for all that ask for one now, and another for those that ask while it is under way.
net::Task<void> ReloadInRounds(SharedState state) {
  while (!state->waiting.empty()) {
    co_await state->running.loop->Sleep(kGather);
    const std::vector<net::Promised<Status>> waiting = std::exchange(state->waiting, {});
    const Status status = co_await Apply(state);
    for (const net::Promised<Status>& one : waiting) one.Set(status);
  }
  state->reloading = false;
}

net::Task<Status> Reloaded(SharedState state) {
  const net::Promised<Status> done;
  state->waiting.push_back(done);
  if (!std::exchange(state->reloading, true)) net::Spawn(ReloadInRounds(state));
  co_return co_await done;
}

class NginxOperator : public Operator {
 public:
  explicit NginxOperator(Duration reload_within) { state_->reload_within = reload_within; }

  net::Task<Status> Prepare(Context context) override {
    const SharedState state = state_;
    Take(*state, context);
    Forget(*state);
    const std::string content = state->Rendered();
    if (context.pid == 0) {  // It starts from this, unless a verb writes something else before it does.
      state->adopted = true;
      state->applied = content;
      state->stale = false;
    }
    MUSTER_CO_DO(Save(*state));
    MUSTER_CO_DO(co_await WriteAndTest(state, content));
    if (!state->moved.empty() && state->moved_in != Sha256Hex(state->upstreams)) {
      state->moved.clear();  // it must not come back with a list of members that is as an earlier one was
      co_return Save(*state);
    }
    co_return Done();
  }

  net::Task<Status> Reload(Context context) override {
    const SharedState state = state_;
    Take(*state, context);
    if (Forget(*state)) MUSTER_CO_DO(Save(*state));
    state->forced = true;
    co_return co_await Reloaded(state);
  }

  net::Task<Result<nginx::Facts>> Perform(Context context, std::string verb, nginx::Facts args) override {
    const SharedState state = state_;
    Take(*state, context);
    // What fails is taken back only where it leads away from the service as it should be, and only as far as
    // it was this verb that did it: others go on meanwhile. The rest is done once nginx can.
    bool drained = false, admitted = false;
    if (verb == "drain" || verb == "restore") {
      const std::string member = args["member"];
      if (member.empty()) co_return Error::Invalid("bad-args", "{} needs a member", verb);
      Names& names = args["by"] == "health" ? state->health : state->run;
      if (verb == "drain") {
        drained = names.insert(member).second;
      } else {
        names.erase(member);
        if (!args["at"].empty()) state->Move(member, args["at"]);
        // Who says ready=yes has just seen it so. Otherwise it stays out until the mender finds it well.
        if (args["ready"] == "yes") {
          state->health.erase(member);
        } else if (args["by"] != "health") {
          state->health.insert(member);
        }
      }
    } else if (verb == "admit" || verb == "dismiss") {
      const std::string guest = args["member"];
      if (guest.empty() || (verb == "admit" && args["at"].empty())) {
        co_return Error::Invalid("bad-args", "{} needs a member and where it stands", verb);
      }
      state->guests.erase(guest);
      if (verb == "admit") {
        state->guests[guest] = args["at"];
        admitted = true;
      }
      // It is a stranger before and after: what was known of its health is another's.
      state->run.erase(guest);
      state->health.erase(guest);
    } else if (verb == "backends") {
      state->health = Listed(args["out"]);
    } else {
      co_return Error::Invalid("unknown-verb", "{} knows no verb {}", context.instance->name, verb);
    }
    MUSTER_CO_DO(Save(*state));
    if (state->reloading || state->running.pid <= 0 || state->Rendered() != state->applied) {
      const Status reloaded = co_await Reloaded(state);
      if (!reloaded.ok()) {
        if (drained) (args["by"] == "health" ? state->health : state->run).erase(args["member"]);
        if (admitted && state->guests[args["member"]] == args["at"]) state->guests.erase(args["member"]);
        (void)Save(*state);
        co_return reloaded.error();
      }
    }
    // Also where it was out already: it may be so for a moment only.
    if (verb == "drain" || verb == "dismiss") {
      const Duration within =
          args["within_ms"].empty() ? kFinishWithin : Duration(std::atoll(args["within_ms"].c_str()));
      const std::map<int, Time> carrying = state->Carrying(args["member"], within);
      co_await WaitUntilGone(context.loop, carrying);
    }
    co_return Told(*state);
  }

  nginx::Facts Facts(const Context& context) override {
    Take(*state_, context);
    return Told(*state_);
  }

  net::Task<std::vector<Check>> Verify(Context context, nginx::Facts) override {
    const SharedState state = state_;
    Take(*state, context);
    const auto tries = context.instance->extra.find("tries");
    VerifyInput input{.loop = context.loop,
                      .instance = context.instance->name,
                      .service = context.instance->service,
                      .address = context.instance->address,
                      .folder = context.folder,
                      .token = state->token,
                      .upstreams = state->Members(),
                      .out = state->out()};
    if (tries != context.instance->extra.end()) input.tries = ParseTries(tries->second);
    for (const InstanceFile& file : context.instance->files) {
      if (!file.path.starts_with("www/")) continue;
      const auto as_it_stands = [](std::string_view) { return std::optional<std::string>(); };
      const std::string digest =
          file.blob.empty() ? Sha256Hex(FillWords(file.content, as_it_stands)) : file.blob;
      input.files.push_back({.path = file.path, .sha256 = digest});
    }
    co_return co_await VerifyRoutes(input);
  }

 private:
  static nginx::Facts Told(State& state) {
    state.Settle();
    nginx::Facts facts{{"out", Listed(state.marked())},
                       {"run", Listed(state.run)},
                       {"health", Listed(state.health)},
                       {"reloads", std::to_string(state.reloads)}};
    Names guests;
    for (const auto& [name, seats] : state.guests) guests.insert(name);
    if (!guests.empty()) facts["guests"] = Listed(guests);
    if (state.stale && state.running.pid > 0) facts["stale"] = "yes";
    return facts;
  }

  SharedState state_ = std::make_shared<State>();
};

}  // namespace

std::unique_ptr<Operator> MakeOperator() { return MakeOperatorFor(15s); }
std::unique_ptr<Operator> MakeOperatorFor(Duration reload_within) {
  return std::make_unique<NginxOperator>(reload_within);
}

}  // namespace muster::nginx
