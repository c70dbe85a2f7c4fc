// What muster knows of one kind of service, in parts: Layout, Change and Mender are pure and run in the
// server; Operator has the effects and runs in an agent. A recipe is a folder here and one line in
// recipes/list.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"
#include "model/plan.h"
#include "model/shape.h"
#include "recipes/drill.h"

namespace muster {

// Ports that are or may be in use: address, whether UDP, number.
using UsedPorts = std::set<std::tuple<std::string, bool, int>>;

// The describing half: what one kind of service puts on its hosts.
//
// A layout only describes. It reads the cluster and returns values; it opens nothing, remembers nothing, and
// may be called from any thread.
class Layout {
 public:
  virtual ~Layout() = default;

  // The word after `kind:` in cluster files. Unique, never renamed.
  virtual std::string_view kind() const = 0;

  // The keys of its own that a service of this kind may have (a kObject), beside the ones all services have.
  virtual Shape SettingsShape() const = 0;

  // Everything in the file that would keep this service from working, not only the first. The shape has been
  // checked before. `now` is whoever asks's, for what has a day on which it ends.
  virtual std::vector<Finding> Check(const Service& service, const Cluster& cluster, WallTime now) const = 0;

  // The places of all its instances: those that `so_far` knows keep host and ports; new ones are added,
  // surplus ones are left out (highest ordinals first). `so_far` holds all services of the cluster, so that
  // ports don't collide.
  virtual Result<Placement> PlaceMembers(const Service& service, const Cluster& cluster,
                                         const Placement& so_far) const = 0;

  // The members as they should be. `placement` is whole: it has the places of every service of the cluster.
  // Secrets appear as markers. Leaves `hash` and `parts` to plan.
  virtual Result<std::vector<Instance>> LayOut(const Service& service, const Cluster& cluster,
                                               const Placement& placement) const = 0;

  // Places for guests: members that stand in while others are replaced (`max_surge`), and are removed then.
  // At most `number`, fewer where there is no room beside `used`, none where members of this kind can't have
  // any. They stand on hosts where `placement` has members, and are named as common::GuestName says.
  virtual Placement PlaceGuests(const Service& /*service*/, const Cluster& /*cluster*/,
                                const Placement& /*placement*/, const UsedPorts& /*used*/,
                                int /*number*/) const {
    return {};
  }

  // Of a load balancer: the arguments that an `admit` of this guest, or a `restore` of a member that moved to
  // other ports, needs beside `member`; empty where it sends nothing to its service.
  virtual std::map<std::string, std::string> AdmissionOf(const Service& /*service*/,
                                                         const Cluster& /*cluster*/,
                                                         const Instance& /*instance*/) const {
    return {};
  }

  // What {{SERVICE.WORD}} in other services stands for ("endpoints": "host:port,host:port"); nullopt: unknown
  // word.
  virtual std::optional<std::string> Export(std::string_view word, const Service& service,
                                            const Cluster& cluster, const Placement& placement) const = 0;

  // What a change of one part of an instance costs. `part` as in Instance::parts.
  virtual Impact ImpactOf(std::string_view part) const;
};

// The ordering half: from members as they should be and as they are to steps. Pure.
//
// plan/ adds what crosses services: order by `uses:`, taking members out of load balancers, reload merging.
class Change {
 public:
  struct Input {
    const Service* service;
    const Cluster* cluster;
    const std::vector<Instance>* desired;             // members of this service
    const std::map<std::string, Observed>* observed;  // by instance name, all services
    std::vector<Instance> guests;                     // that may stand in while members are replaced
    std::map<std::string, std::string> held;          // instance -> "stopped" for those stopped by hand
    std::vector<std::string> unreachable;             // host names
    std::vector<std::string> restart;                 // instances to restart though nothing changed
    bool refresh = false;                             // apply renderer-only differences too
    bool same_file = false;   // the file is the one that stands: what differs comes from the renderer
    bool unfinished = false;  // what stands was never brought up to its end
    bool act = false;         // on some instances, which is to change nothing else
  };
  struct Output {
    std::vector<Step> steps;
    std::vector<std::string> notes;
    std::vector<std::string> outages;
    int renderer_only = 0;
  };
  virtual ~Change() = default;
  virtual Output StepsFor(const Input& input) const = 0;
};

// One order of a mender to one instance, outside of any run.
struct Order {
  std::string instance;
  std::string verb;
  std::map<std::string, std::string> args;
  std::string reason;
  Duration deadline = 30s;
  bool notable = false;  // people want to know of it afterwards: it goes into the audit
  bool operator==(const Order&) const = default;
};

// What a mender wants done, and what has come of the steps that wait for it.
struct Mending {
  // In the order in which they matter. Of several to one instance the first is sent; those to an instance
  // that has one under way are dropped, and are due again once it has ended.
  std::vector<Order> orders;
  // Of each step in Input::awaited: nothing where it has come to what it waits for, else why not yet, for
  // people. A step that isn't named waits on.
  std::map<std::string, std::optional<std::string>> waits;
  // Steps that can't come to what they wait for.
  std::map<std::string, Error> refused;
  // Why it leaves undone what is due, for people, with the one command that a person can give. They stand
  // among the reasons of the service's health until the next answer.
  std::vector<std::string> says = {};
  Duration again = 0ms;  // think again after this long though nothing is heard; 0: only when something is
};

// Keeps one service well, between runs and during them: fed with observations, answers with orders. Pure;
// reads no clock. Lives with the server and knows nothing after its restart that isn't observed, so it must
// come to the same from any state half-way.
class Mender {
 public:
  struct Input {
    const Service* service;
    const Cluster* cluster;
    const std::vector<Instance>* desired;             // members of this service
    const std::map<std::string, Observed>* observed;  // all services of the cluster
    std::vector<std::string> busy;                    // instances under a step or an order: leave alone
    std::set<std::string> missing;  // known not to be there, though nobody has observed them
    std::set<std::string> held;     // stopped by hand
    std::set<std::string>
        silent;  // hosts whose agent isn't heard, or hasn't told yet: what is known of them is old
    // Since when, by the server's clock: what they asked the server later than that it has not answered.
    std::map<std::string, Time> silent_since;
    int64_t epoch = 0;  // the cluster's; higher than that of any server before
    // Steps that wait for this mender (Step::awaited): of the run under way, and what people ask for beside
    // runs (Recipe::takes).
    std::vector<const Step*> awaited;
    Time now;
  };
  virtual ~Mender() = default;
  virtual Mending On(const Input& input) = 0;
};

// Green, yellow or red with reasons.
struct ServiceHealth {
  Health health = Health::kGreen;
  std::vector<std::string> reasons;
  // Why its members don't all tell the same yet though it serves; empty where they do, or where a kind has
  // nothing to agree on.
  std::vector<std::string> unsettled = {};
};

// The check that `muster verify` runs from one host against running members.
struct Check {
  std::string name;  // "edge: / reaches gateway"
  bool passed = false;
  std::vector<std::string> evidence;
  std::string hint;
  bool skipped = false;  // it couldn't be tried, and `evidence` says why; `passed` is true then
};

namespace net {
class Loop;
template <class T>
class Task;
}  // namespace net

// What `muster adopt` is asked for: a running service that was set up by hand, found by one of its members.
struct AdoptRequest {
  std::string host;
  int port = 0;
  std::string password;          // "": none
  std::string cluster, service;  // what they are to be called
};

// What it finds.
struct Adoption {
  struct Member {
    std::string name;  // that it gets
    std::string address;
    int port = 0;
    std::string role;  // "primary of 0-5460"
    int pid = 0;
    std::string data;  // its folder
  };
  std::string file;  // a cluster file for it
  std::vector<Member> members;
  std::vector<Finding> findings;  // what differs from what muster would have done
  // That the file needs, with their values: not to be shown.
  std::map<std::string, std::string> secrets;
};

// The doing half: effects on one instance of the agent's own host. Lives on the agent's loop thread and must
// not block it; owned by the instance's Member, which also keeps what Context points to until the task has
// ended.
class Operator {
 public:
  struct Context {
    net::Loop* loop;
    const Instance* instance;  // as installed; its paths are still words (model/words.h)
    std::string folder;        // absolute; conf, data and logs lie below. Its user's: see base/within.h
    std::string records;       // absolute; the agent's own, for what the operator must remember
    int pid = 0;               // 0: not running
    uid_t uid = 0;             // what it runs as
    gid_t gid = 0;
    // For Verify; valid until the instance is removed. Asks its health once, as supervision does.
    std::function<net::Task<Status>()> ask_health = {};
    // Whether one of its own processes has this UDP port open. Codes: "port-closed"; "port-taken" naming who
    // has it instead.
    std::function<net::Task<Status>(int port)> has_udp = {};
    // The server certainly took this host for present at that time, or later; Time::min(): nobody knows.
    std::function<Time()> heard = {};
    // Of an order: whether the server, asked now, still waits for it and answers by the connection that it
    // came by. Where not, the order may be older than what has been decided since.
    std::function<net::Task<bool>()> still_wanted = {};
  };
  virtual ~Operator() = default;

  // Called after files are written and before start or reload: renders what is the operator's own, tests the
  // configuration (`nginx -t`). An error keeps the instance as it is.
  virtual net::Task<Status> Prepare(Context context);
  // Words that the command line of the start which comes has behind those of the instance. They are no part
  // of what is installed. Asked right before it, after Prepare.
  virtual std::vector<std::string> StartWords(const Context& context);
  virtual net::Task<Status> Reload(Context context);
  // Of a stop with the argument `only` = handed-over, right before it: "owns-slots" where it has again what
  // it had handed over, and its stop would cost that: the run goes back to the awaited step that the stop
  // needs.
  virtual net::Task<Status> MayStop(Context context);
  // A process that somebody else has started, `context.pid`, is about to be taken over as this instance: it
  // has its port and works in its data folder (kDataElsewhere). An error where it isn't the one that is meant
  // leaves it as it was. Else it is brought to what is installed, as far as that goes while it runs; returned
  // are the names of what has to wait for a restart.
  virtual net::Task<Result<std::vector<std::string>>> TakeOver(Context context);
  // A verb of the recipe's own. Code "unknown-verb" for any other.
  virtual net::Task<Result<std::map<std::string, std::string>>> Perform(
      Context context, std::string verb, std::map<std::string, std::string> args);
  // Of a probe by operator: whether this instance serves, as far as it alone can tell. Asked as often as the
  // probe says, and takes no longer than its timeout. A place to renew what Facts tells.
  virtual net::Task<Status> Health(Context context);
  // How often Guard is called while it runs; 0: never.
  virtual Duration GuardEvery(const Instance& instance);
  // Sees to it that an instance which may not go on as what it is (the primary, on a host that is cut off)
  // doesn't. Never two at a time.
  virtual net::Task<void> Guard(Context context);
  // What the recipe knows of the running instance (role, who is out). Cheap; asked with each report. A change
  // that a probe or a verb has brought is reported at once.
  virtual std::map<std::string, std::string> Facts(const Context& context);
  // Like Facts, of what changes all the time (offsets, keys): told with each report, and every two seconds
  // where nothing else is the reason for one.
  virtual std::map<std::string, std::string> Measures(const Context& context);
  // `muster verify`: what the guides tell the reader to try. Asked only of an instance that is ready and
  // whose ports nobody else listens on.
  virtual net::Task<std::vector<Check>> Verify(Context context, std::map<std::string, std::string> args);
};

// All of one kind. Stateless; shared by everyone.
struct Recipe {
  std::unique_ptr<Layout> layout;
  std::unique_ptr<Change> change;
  std::unique_ptr<Mender> (*make_mender)() = nullptr;  // nullptr: nothing to mend between runs
  ServiceHealth (*health)(const std::vector<Instance>& desired,
                          const std::map<std::string, Observed>& observed);
  std::unique_ptr<Operator> (*make_operator)() = nullptr;  // one per instance, on its agent
  // What each member is at the moment, for people, by its name: "primary of 0-5460", "replica of cache-1, 0 B
  // behind". Only those that there is something to say of. nullptr: members of this kind have no roles.
  std::map<std::string, std::string> (*roles)(const std::vector<Instance>& desired,
                                              const std::map<std::string, Observed>& observed) = nullptr;
  // Its ports may be worth a browser's while.
  bool for_browsers = true;
  // `muster drill`; without a client there is none for this kind.
  DrillRecipe drill = {};
  // Reads a service that runs and changes nothing. Ends before `loop` does. Codes: the kind's own. nullptr:
  // those of this kind can't be adopted.
  net::Task<Result<Adoption>> (*adopt)(net::Loop& loop, AdoptRequest request) = nullptr;
  // What people may ask of its mender beside runs, as an awaited step of the service: "switchover" (another
  // primary: the instance in the argument `to`, or the mender's choice), "failover" (the primary is gone;
  // `force` = yes: though it isn't certain, or costs writes; `accept_loss` = yes: what nobody has is given
  // up).
  std::set<std::string, std::less<>> takes = {};
  // Its program ends its own processes: it alone is asked to stop. Else all processes of an instance are.
  bool stops_its_own = false;
  // Its program may refuse to stop for a while and forget that it was asked: asked again so often; 0: once.
  Duration asks_again{};
  // One that was frozen goes on as if it hadn't been, though others may have its place since: it is killed
  // rather than thawed to hear that it is to stop.
  bool never_thawed = false;
  // Who leaves gives what only it may have to others first.
  bool gives_before_it_leaves = false;
};

// Every recipe, by kind. Made once.
const std::map<std::string, Recipe, std::less<>>& AllRecipes();
const Recipe* FindRecipe(std::string_view kind);

}  // namespace muster
