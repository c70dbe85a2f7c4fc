// One instance on its host: its files, its process, its probe, and the machine that decides over them.
// A step's errors are those of install.h, users.h, ports.h, Process::Start and the recipe's operator,
// StartSettled's, and "not-installed", "not-running", "unknown-break", "reload-failed", "health-wrong",
// "artifact-differs", "cancelled".
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/install.h"
#include "agent/log_care.h"
#include "agent/log_files.h"
#include "agent/probe.h"
#include "agent/records.h"
#include "agent/supervisor.h"
#include "model/plan.h"
#include "net/loop.h"
#include "recipes/recipe.h"
#include "runtime/process.h"

namespace muster::agent {

// What members share. Outlives them.
struct HostContext {
  net::Loop* loop = nullptr;
  std::string cluster;  // key
  std::string host;     // its name
  std::string folder;   // $MUSTER_HOME/hosts/CLUSTER/HOST
  // A member's state has changed.
  std::function<void(const Observed&)> changed;
  // Brings a blob from the server into artifacts/. Codes: the server's, "server-gone".
  std::function<net::Task<Status>(std::string sha256)> fetch_blob;
  int installing = 0;  // members whose files are being written: their artifacts aren't used by anybody yet
  // Artifacts that no member uses any more may go.
  std::function<void()> clean_artifacts;
  std::weak_ptr<LogWaker> log_waker = {};  // the members' common one
  // Asks the server whether it takes this host for present; what it answers shows in `heard`: when the last
  // question that it has answered was asked, Time::min() before the first.
  std::function<void()> ask_server = [] {};
  std::function<Time()> heard = [] { return Time::min(); };
  // The number of the connection to the server, and whether it answers by that very one that it still waits
  // for this order.
  std::function<uint64_t()> connection = [] { return uint64_t{0}; };
  std::function<net::Task<bool>(uint64_t connection, std::string order)> answers = {};
};

using Values = std::map<std::string, std::string>;

// How long a start or a reload has to stay ready for its step to be done.
Duration MinReady(const Step& step);

// Loop thread only. Owned by the agent through a shared_ptr, since its tasks hold it while they run.
class Member : public std::enable_shared_from_this<Member> {
 public:
  Member(HostContext* host, const std::string& name);
  ~Member();

  // After a start of the agent: what is recorded is read, what runs is adopted, what should run is started.
  void Restore();

  // Performs one step. install, start, stop, reload and remove go one after the other; the recipe's own verbs
  // may run beside each other. Repeating a step is harmless.
  // `order` is its id, by which the server knows it. `given_up`, if any, may become true at any time: a start
  // that hasn't begun then ends as "cancelled". An order that comes while an earlier one still waits for it
  // to be ready, to stay so or to pass a changed probe ends that wait: only the newest counts.
  net::Task<Result<Values>> Perform(Step step, std::optional<Instance> desired,
                                    std::shared_ptr<const bool> given_up = nullptr, std::string order = "");

  // Whoever waits for it to be ready, to stay so, or for a proof waits no more; it goes on as it can. Code
  // "cancelled".
  void GiveUpStart();

  // How it is now; with `drift` its files are looked at.
  Observed Observe(bool drift);

  // Reads what a look at its artifact would otherwise know nothing of. Seldom: once it is seen, it is known.
  net::Task<Status> CheckBlobs(Instance instance);
  bool UnsureOfBlobs(const Instance& instance) const;

  // About each second: logs are looked after.
  void Tick(WallTime now);

  // What its recipe tries, where it is ready and nobody else has its ports; else that it isn't so.
  net::Task<Result<std::vector<Check>>> Verify(Values args);

  // A first or another install is under way: what it has fetched is needed though nothing names it yet.
  bool installing() const { return installing_; }
  bool installed() const { return remembered_.has_value(); }
  const Instance* desired() const { return remembered_ ? &remembered_->desired : nullptr; }
  const Paths& paths() const { return paths_; }
  // What `muster exec` and command probes run in.
  std::map<std::string, std::string> Environment() const;
  const User& user() const { return user_; }
  std::string working_folder() const;
  // Where these enter its cgroup; none where it doesn't run.
  std::vector<std::string> Joins() const;

 private:
  Status NobodyWaits() const;
  bool nobody_waits() const;
  net::Task<Status> Install(const Step& step, Instance desired);
  net::Task<Status> Start(const Step& step);
  net::Task<Status> MayStop(const Step& step);
  net::Task<Status> Stop();
  net::Task<Status> StaysReady(Duration min_ready);
  net::Task<Status> Reload(Step step);
  net::Task<Status> LivesOn(net::Promised<Status> proven, Step step);
  void SettleReload(Status status);
  net::Task<Status> PassesItsProbe(Step step);
  void BeginHealthProof();
  void EndProof(const Status& status);
  int PassesWanted() const;
  bool OnProofPassed();
  void OnProofLate();
  void OnProofFailed(const std::string& why);
  Error HealthWrong() const;
  net::Task<Status> Remove(bool delete_data);
  net::Task<Status> BringBlobs(Instance instance);
  net::Task<Status> PutArtifactRight();
  // On the pool, one at a time.
  net::Task<Result<User>> FindUser(std::string name);
  net::Task<Status> WriteFiles(Instance wanted, std::optional<Instance> before);
  net::Task<Status> RemoveFiles(bool delete_data);
  net::Task<Status> WithFiles(std::function<Status()> work);

  Status Break(const std::string& how);
  void Feed(const Event& event);
  void Obey(const std::vector<Action>& actions);
  void SetWake();
  void Spawn();
  net::Task<void> PrepareAndSpawn();
  void Watch(std::unique_ptr<runtime::Process> process, bool adopted);
  void OnEnded();
  bool stops_its_own() const;
  void Ask();
  void AwaitOthers(Duration pause);
  void Bury();
  std::unique_ptr<runtime::Process> EndLeftover(std::unique_ptr<runtime::Process> left) const;
  void KillStrays() const;
  net::Task<Result<bool>> TakeOver();
  void NoteStart(int64_t log_end, const std::string& hash);
  void FailStart(const Error& error, bool for_good);
  Prober::Target ProbeTarget();
  void StartProbing(bool eager, int passes = 1);
  void GoOnProbing();
  void GuardSoon();
  net::Task<void> Guard();
  net::Task<Status> AskHealth();
  static net::Task<Status> AskOperator(std::weak_ptr<Member> member);
  Values FactsBy(Operator& recipe);  // all that are told of what it asks
  void TellFacts();
  net::Task<Status> HasUdp(int port);
  void Report();
  void SaveState();
  Result<runtime::Launch> MakeLaunch() const;
  // What a recipe's operator works with while it waits: the instance may be removed meanwhile.
  struct Held {
    std::shared_ptr<Operator> recipe;  // nullptr: this kind has none
    std::shared_ptr<const Instance> instance;
    Operator::Context context;
  };
  Held Hold();
  Operator* GetOperator();
  Operator::Context OperatorContext() const;
  std::optional<Error> CauseOfDeath() const;
  std::vector<std::string> Evidence(size_t lines) const;
  std::vector<std::string> WhyFailed() const;
  Error WithEvidence(Error error) const;

  HostContext* host_;
  Paths paths_;
  std::optional<Remembered> remembered_;
  User user_;
  Supervisor supervisor_;
  std::unique_ptr<runtime::Process> process_;
  net::Loop::WatchId watch_ = 0;
  bool given_up_ = false;  // it had its time to end
  net::Loop::TimerId wake_timer_ = 0;
  std::shared_ptr<Prober> prober_;
  net::Loop::TimerId guard_timer_ = 0;
  bool guarding_ = false;  // its operator looks just now
  std::shared_ptr<Operator> operator_;
  std::string operator_kind_;
  std::shared_ptr<LogCare> log_care_;
  DriftWatch drift_watch_;
  bool not_asked_ = false;  // it ran when this agent came, and no probe of it has ended since
  Values told_facts_;       // its operator's, with the last report
  Values told_measures_;
  Time measures_told_at_{};
  InstanceState reported_ = InstanceState::kAbsent;
  std::pair<std::string, std::string> saved_hashes_;  // running and live one, as state.json has them
  int starts_ = 0;
  std::optional<Error> start_failure_;  // of the last start, where it came to no process
  bool installing_ = false;
  bool files_change_ = false;  // the pool writes or removes them
  std::vector<net::Promised<bool>> files_settled_;

  bool nobody_waits_ = false;                       // for the outcome of the order under way
  std::vector<net::Promised<Status>> starting_;     // who waits for StartSettled
  std::optional<net::Promised<bool>> staying_;      // who waits for it to stay ready; false: nobody any more
  std::optional<net::Promised<Status>> reloading_;  // who waits for it to live on after a reload
  std::string reload_failure_;                      // the last probe's, meanwhile
  bool proves_health_ = false;                      // … or for it to pass a probe that was changed
  bool was_reloaded_ = false;                       // … after a reload that came with it
  int health_failures_ = 0, health_passes_ = 0;
  Time health_wrong_from_{};
  std::vector<net::Promised<bool>> stopping_;  // … for StopSettled
  bool busy_ = false;                          // a step other than the recipe's own is under way
  std::vector<net::Promised<bool>> lane_;
};

}  // namespace muster::agent
