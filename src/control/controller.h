// Everything that happens to one cluster, one thing after the other: planning, runs, mending.
// Errors that aren't named below are those of the store, of plan/plan.h and of agents.h, and "cluster-down",
// "unknown-instance", "unknown-revision", "secret-missing".
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "control/agents.h"
#include "control/incidents.h"
#include "control/kept.h"
#include "model/cluster.h"
#include "model/plan.h"
#include "net/loop.h"
#include "plan/plan.h"
#include "recipes/recipe.h"
#include "store/store.h"

namespace muster::control {

class RunMachine;

constexpr int kRunsLookedAt = 100;  // the latest, when the last of some sort is looked for

// A run as the API shows it.
struct RunProgress {
  store::RunRow row;
  size_t done = 0, total = 0;
  std::vector<std::string> open;              // step ids
  std::map<std::string, std::string> paused;  // service -> why
  bool cancelling = false;                    // what is open ends, and nothing new begins
};

// A version of the cluster file on its way to become a revision.
struct Bundle {
  Cluster cluster;
  std::string text;
  std::string file_name;
  std::string files;  // JSON as in store::RevisionRow::bundle
  std::string author;
  std::string note;
  std::string action = "up";  // what brings it: up, scale, rollback, resume
  int64_t rollback_to = 0;    // the revision that it is again; 0 where nobody goes back
  bool goes_back = false;     // of a resume: what it resumes goes back by itself, should it fail
  std::optional<RunProgress> instead_of = {};  // brought by muster itself: the run that failed
  std::string scales = {};  // the service that it gives another number of instances; the rest stays as it is
};

struct PlanOptions {
  bool refresh = false;
  std::set<std::string> restart;             // instance names
  std::optional<std::set<std::string>> act;  // only these instances are stopped, started or restarted
  bool as_installed =
      false;  // with `act`: nothing is installed, so that nothing need be known but what stands
  bool remove_all = false;
  bool delete_data = false;
  bool plan_only = false;  // decide, but write and start nothing
};

struct StartedRun {
  std::string run;  // "" where there was nothing to do
  Plan plan;
  bool goes_back = false;  // to what stood before, by itself, should it fail
};

// What `muster drill` is asked for, and what came of it.
struct DrillOptions {
  std::string service;   // "": the first that can be drilled
  std::string how;       // kill, freeze, cut
  std::string instance;  // "": the first primary
  Duration most = 60s;   // so long it may take until all is well again
};
struct DrillReport {
  struct Deed {
    Duration after;  // the break
    Order order;
    std::optional<Error> error;
  };
  std::string service, how, instance, host;
  std::vector<DrillRange> ranges;
  std::vector<Deed> deeds;  // notable orders of the mender
  std::optional<Duration>
      green_after;  // the break, and settled and whole; for a cut: after it was healed, too
  std::optional<Duration> healed_after;  // of a cut
  std::string state;                     // at the end: "green", or what is wrong
  std::vector<std::string> plan;         // steps that `muster plan` would have then; empty is as it should be
  std::vector<std::string> failures;     // why it counts as failed
};

struct ServiceStatus {
  std::string name, kind;
  ServiceHealth health;
  int ready = 0, wanted = 0;
};

struct Dependencies {
  net::Loop* loop;
  store::Store* store;
  Agents* agents;
  // A revision as a Cluster. Given by the server, since only it knows spec.
  std::function<Result<Cluster>(const store::RevisionRow&, const store::ClusterRow&)> read_revision;
  // Hands an event to whoever listens: `data` is JSON.
  std::function<void(const std::string& cluster, const std::string& name, const std::string& data)> publish;
  // A run has ended (or, after a restart of the server, is paused).
  std::function<void(const std::string& cluster, const RunProgress& progress)> finished;
  // All hosts of the cluster were left and its data is to go: removes their folders. Code "host-unreachable"
  // where an agent still stands on one of them.
  std::function<net::Task<Status>(std::string cluster)> remove_hosts;
  // The cluster is in the store no more.
  std::function<void(const std::string& cluster)> forget;
  // Takes the link of a rehearsed host down, or up again. Codes "cut-impossible", "host-network-failed".
  std::function<net::Task<Status>(Agents::Wanted host, bool cut)> cut_link;
  // How long whoever wants to change something waits while a run is settled that a stop of the server left.
  Duration settle_within = 30s;
  Duration reach_within = 10s;    // an agent that is to tell what stands on its host
  Duration observe_within = 12s;  // with the time it takes to reach it
  Duration proves_itself = 5s;    // so long a member that died after its release has to be ready again
  Duration silent_after = 3s;     // so long an agent may be away before it is told of
  Duration down_again = 5s;       // between two looks at hosts that were silent while the cluster went down
};

// One cluster. Loop thread only. Lives as long as the server, or until its data is deleted.
class Controller : public std::enable_shared_from_this<Controller> {
 public:
  Controller(Dependencies dependencies, store::ClusterRow row);
  ~Controller();

  // After a start of the server: wants the agents and looks around, raises the epoch, settles what a run left
  // open. Where the store can't be written (a full disk), what runs is seen all the same; acts are refused
  // with that error, and it is tried again by itself.
  Status TakeOver();

  // For a server that isn't the newest any more and is to be obeyed all the same, as its store was brought
  // back from a backup: raises the epoch above all that agents have seen. Codes: "not-replaced" where none
  // has seen a newer one, those of the store.
  Status RuleAgain(const std::string& author);

  // Waits until what a run left open is settled, at most `settle_within`.
  net::Task<void> Settled();

  // Waits until all agents have told once what stands on their hosts, at most `timeout`: before that nothing
  // is known of the instances, though they may be well.
  net::Task<void> FirstLook(Duration timeout);

  // What would be done. Writes nothing and starts nothing.
  net::Task<Result<Plan>> MakePlan(Bundle bundle, PlanOptions options);
  // Accepts the revision and starts its run. Codes: "run-active" names the run in the way (one that is only
  // settled after a stop of the server is waited for); "plan-moved" where `plan_id` is given and is not what
  // would be done now.
  net::Task<Result<StartedRun>> Up(Bundle bundle, std::string plan_id, PlanOptions options);
  // stop, start, restart of instances or whole services (names of either; empty: all), and down. A down
  // cancels what is under way; where that is a down with the same options, it is the one that is answered
  // with, and one that deletes the data isn't cancelled for one that keeps it: "run-active".
  net::Task<Result<StartedRun>> Act(std::string action, std::vector<std::string> names, PlanOptions options,
                                    std::string author);
  // Nothing new is sent, starts and proofs that still wait are given up, and what was taken away is put back.
  Status Cancel(const std::string& run);
  // Cancels what is under way and waits for its end, at most `timeout`; where it has ended by then, that it
  // was for `why`.
  net::Task<void> CancelAndWait(Error why, Duration timeout);

  // Cuts a rehearsed host off from all others, from the machine and from the server, or heals it. It stays
  // cut, through restarts of the server too, until it is healed or the cluster goes down. Codes
  // "not-a-rehearsal", "unknown-host", "host-unused", "cut-impossible", "host-network-failed".
  net::Task<Status> CutHost(std::string host, bool cut, std::string author);
  const std::set<std::string>& cut_hosts() const { return kept_.cut; }

  // Breaks a member while a client writes, waits until all is well again, and tells what it came to. `tell`
  // is called with what goes on, for people; once `given_up` is true nothing new is begun, what was broken is
  // put right and what was written removed. Codes: "unknown-service", "unknown-instance", "nothing-to-drill",
  // "unknown-break", "drill-active", "run-active", "drill-unwell", "nobody-elsewhere", "drill-client",
  // "cluster-down", those of CutHost and the agent's own.
  net::Task<Result<DrillReport>> Drill(DrillOptions options, std::string author,
                                       std::function<void(const std::string& text)> tell,
                                       std::shared_ptr<const bool> given_up);

  // Goes on with what the last run was about.
  net::Task<Result<StartedRun>> Resume(std::string author);

  // Asks the mender of a service for something beside runs (Recipe::takes), and waits until it has come to
  // that. Codes "unknown-service", "no-primary" where its kind takes no such request, "unknown-instance" of
  // the argument `to`, "run-active", "epoch-old", "not-settled", and the mender's own.
  net::Task<Status> Ask(std::string verb, std::string service, std::map<std::string, std::string> args,
                        std::string author);

  // The current revision as a bundle, to be changed (scale).
  Result<Bundle> CurrentBundle() const;
  Result<Bundle> BundleOf(int64_t revision) const;

  const store::ClusterRow& row() const { return row_; }
  const std::map<std::string, Observed>& observed() const { return observed_; }
  const std::vector<Instance>& desired() const { return desired_.instances; }
  std::vector<ServiceStatus> ServiceStates() const;
  std::map<std::string, std::string> Roles() const;  // as Recipe::roles, of all services
  std::string active_run() const { return run_.id; }
  bool idle() const { return run_.id.empty() && !deciding_; }
  std::optional<RunProgress> ActiveRun() const;
  const Cluster& cluster() const { return cluster_; }
  const std::map<std::string, std::string>& held() const { return held_; }
  bool Wants(const std::string& host) const { return hosts_.contains(host); }
  bool connected(const std::string& host) const { return deps_.agents->connected(row_.key, host); }
  bool down() const { return kept_.down; }
  // `down` was asked for, and hosts that were silent still have instances. It goes on once they answer.
  bool going_down() const { return kept_.going_down.has_value(); }

  void OnChanged(const Observed& observed);
  void OnConnected(const std::string& host, bool connected);

  // What each instance's recipe tries; `service` empty: all. Paired with the service's name.
  net::Task<Result<std::vector<std::pair<std::string, api::CheckResult>>>> Verify(std::string service);

 private:
  struct Unwell {
    uint64_t number = 0;  // one for each time that it falls ill
    uint64_t turn = 0;    // goes up with each change of its state
    int deaths = 0;
  };
  struct Run {
    std::string id;
    store::RunRow row;
    std::unique_ptr<RunMachine> machine;
    PlanOptions options;
    bool cancelled = false;                              // by somebody
    std::optional<Error> cancelled_for;                  // by whom and for what
    std::vector<std::string> silent;                     // hosts that it goes on without
    std::unordered_map<std::string, int64_t> put_backs;  // rows of the store, by the put-back's id
    std::map<std::string, Unwell> unwell;                // instances that hold it back
  };
  struct Awaited {
    Step step;
    net::Promised<Status> settled;
    std::string why;   // not yet
    std::string told;  // of that, to whoever follows the run
    Time told_at{};
  };
  struct Verification;
  struct SettledStep {
    Step step;
    WallTime intent;
    std::optional<Error> error;
  };

  Error InTheWay() const;
  int64_t EpochSeen() const;              // the newest that an agent has told of
  std::optional<Error> Replaced() const;  // by a server of a newer epoch, as agents tell: "epoch-old"
  Status BeginToRule();
  Status Rule();
  void RuleSoon();
  void Keep(Kept kept);  // in row_, too, to be written with it
  void KeepLeftOut(std::set<std::string> hosts);
  void KeepHosts();
  Status Adopt(Cluster cluster);  // the model that desired_ is laid out from
  plan::SecretDigests Digests() const;
  Result<Instance> Reveal(const Instance& instance) const;  // secrets in place of markers
  Agents::Wanted WantedFor(const Host& host) const;
  std::set<std::string> HostsInUse(const plan::Desired& desired) const;
  Result<Placement> Places() const;
  Status BringBack(const Cluster& cluster, const Placement& so_far, const plan::SecretDigests& digests,
                   plan::Desired& desired) const;
  bool IsAwaited(const Instance& returning) const;
  void LetLeave();
  net::Task<void> LookAround();
  void WantHosts(const std::set<std::string>& hosts);
  void ReleaseIdleHosts();
  net::Task<std::set<std::string>> ObserveAll();  // returns hosts that don't answer
  net::Task<bool> ObserveHost(std::string host, Time until);
  void LookAtHealth(const Observed& observed);
  void LookForIncidents(const Observed& observed);
  void LookForSilence(const std::string& host);
  void AskWhatStands(const std::string& host);
  void AskAgain(const std::string& host);
  void Tell(const std::vector<Incident>& incidents);  // in the audit
  void ProvesItself(const std::string& instance, uint64_t turn);
  void IsWellAgain(const std::string& instance);
  net::Task<void> GiveUpOn(std::string instance, uint64_t number, Duration waited);
  net::Task<std::vector<std::string>> LastLines(std::string instance, std::string host);
  net::Task<bool> VerifyNext(std::shared_ptr<Verification> work);
  bool IsCurrent(const Bundle& bundle) const;
  // Whether the revision that stands has been brought up to its end: only then does a difference come from
  // how muster writes it, and not from what is still to be done.
  bool IsBroughtUp() const;
  Result<Plan> Decide(const Bundle& bundle, const PlanOptions& options, std::set<std::string> unreachable,
                      int64_t revision, plan::Desired* desired, bool* partial = nullptr) const;
  net::Task<Result<StartedRun>> Begin(Bundle bundle, std::string action, std::string plan_id,
                                      PlanOptions options);
  Status Record(const Bundle& bundle, nlohmann::json plan, const std::string& action, bool same_revision);

  void Converge(const std::string& host);
  void ConvergeBecause(std::string why);
  void GoOnByItself(const store::RunRow& last);
  Result<PlanOptions> OptionsToResume(const store::RunRow& row) const;
  void KeepRun(const store::RunRow& row);
  void Drive();
  void Send(const Step& step);
  net::Task<void> Perform(Step step, std::string run);
  void PublishStep(const std::string& run, const Step& step, std::string_view state, const Error* error);
  void Flush();
  void Finish();
  void RevisionIsGood();
  void EndPausedRun();
  void ForgetAbsent();
  bool GoesBackFrom(const Bundle& bundle, const std::string& action) const;
  bool ResumedGoesBack() const;
  net::Task<void> GoBack(RunProgress failed);
  void GoBackWhereLeft();
  void AfterDown();
  void Forget();
  std::optional<Error> LeftByDown() const;
  Result<StartedRun> GoingDown() const;
  Error CancelledBy(const std::string& author) const;
  void RememberGoingDown();
  void DownAgainSoon();
  net::Task<void> DownAgain();
  net::Task<Status> DeleteData();
  net::Task<void> Recover(store::RunRow row);
  net::Task<void> PutBackWhatIsLeft(std::string run);

  Status KeepCut(const std::string& host, bool cut);
  std::optional<Error> WhyNoCutDrill(const Service& service) const;
  std::optional<Error> WhyNotCut(const std::string& host) const;
  net::Task<void> CutLinkAgain(Agents::Wanted host);
  void CutAgain();
  net::Task<void> HealAll(std::string author);

  struct Drilling;
  Result<std::shared_ptr<Drilling>> ChooseDrill(DrillOptions options) const;
  Result<std::shared_ptr<DrillClient>> MakeDrillClient(const std::string& service, Duration most) const;
  std::string WhyUnwell(const std::string& service) const;
  net::Task<Status> BreakMember(std::shared_ptr<Drilling> drilling, std::string how, std::string author);
  net::Task<void> AwaitWell(std::shared_ptr<Drilling> drilling, std::string author);
  net::Task<void> PutRight(std::shared_ptr<Drilling> drilling, std::string author);
  net::Task<void> Conclude(std::shared_ptr<Drilling> drilling);

  net::Task<Status> Await(Step step);
  void TellWaiting(Awaited& awaited);
  void SettleAwaited(const std::string& id, Status status);
  void GiveUpAwaited();
  void MendSoon();
  void Mend();
  void Mend(const Service& service, const std::vector<std::string>& busy);
  void MendAgainAfter(Duration pause);
  std::set<std::string> Missing() const;
  net::Task<void> PerformOrder(Order order);
  void ForgetHeldElsewhere();
  void ForgetFormer();
  bool CanGoBack() const;  // whether `muster rollback` has somewhere to go
  void SetDesired(plan::Desired desired);
  const Instance* FindDesired(const std::string& name) const;  // guests, too
  std::vector<Instance> MembersOf(const Service& service) const;

  Dependencies deps_;
  store::ClusterRow row_;
  Kept kept_;  // row_.extra
  Cluster cluster_;
  plan::Desired desired_;
  std::unordered_map<std::string, const Instance*> desired_by_name_;  // into desired_
  std::map<std::string, Observed> observed_;
  std::map<std::string, std::string> held_;
  std::map<std::string, std::unique_ptr<Mender>> menders_;  // by service
  std::set<std::string> mending_;                           // instances under an order
  struct Stuck {
    std::string service, verb, why;
    Time at;
  };
  std::map<std::string, Stuck> stuck_;           // by instance: orders that a person must help
  std::set<std::string> away_;                   // hosts whose agent is not connected
  std::set<std::string> told_;                   // hosts whose agent has told what stands there
  std::set<std::string> heard_;                  // those that have since they are connected
  std::map<std::string, Agents::Wanted> hosts_;  // those whose agents are wanted
  Run run_;
  std::optional<Error> trouble_;             // why the revision that stands could not be taken over
  bool rules_ = true;                        // false from TakeOver until the raised epoch is written
  std::optional<Error> unruled_;             // why it could not be
  std::vector<net::Promised<bool>> ending_;  // who waits for the run's end
  bool looked_ = true;                       // false from TakeOver until the first look around has ended
  std::vector<net::Promised<bool>> looking_;
  bool deciding_ = false;
  bool recovering_ = false;                    // deciding, too
  std::vector<net::Promised<bool>> settling_;  // who waits for the end of Recover
  std::string deciding_who_;
  std::vector<SettledStep> settled_;
  bool flush_posted_ = false;
  std::shared_ptr<Drilling> drilling_;      // while a drill is under way
  std::map<std::string, Awaited> awaited_;  // steps that wait for a mender, by id
  uint64_t requests_ = 0;
  std::map<std::string, std::vector<std::string>> said_;  // by menders, by service
  std::map<std::string, Time> silent_since_;              // of hosts whose agent isn't connected
  bool mend_posted_ = false;
  net::Loop::TimerId mend_timer_ = 0;
  Time mend_at_{};  // of mend_timer_
  bool down_again_posted_ = false;
  Incidents incidents_;
};

}  // namespace muster::control
