// One run as a machine: which steps may go now, when it has failed, what is to be put back.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "model/plan.h"

namespace muster::control {

enum class RunState { kRunning, kPaused, kPuttingBack, kDone, kFailed, kCancelled };

// Put-backs go in turns: those of one turn side by side, the next when they are settled. What was taken away
// comes back before its guests are dismissed, and those are dismissed before they are removed.
int PutBackTurn(std::string_view verb);

// Whether an order of this verb carries the whole desired instance.
bool NeedsInstance(std::string_view verb);

// Fed with the outcomes of steps, answers with steps to send. Pure: no clock, no store, no agent; the
// controller journals each answer before it obeys.
//
// A step that fails stops the run: nothing new is sent, what is under way ends, then what the run had taken
// away for its own use (drained members) is put back, what it had brought (guests) goes once that is done,
// and only then the run has failed. Putting a member back that is not ready is harmless: a balancer lets it
// in once it is.
//
// A member that has again what it had handed over isn't stopped ("owns-slots"): the run goes back to the
// step-down that the stop waited for, a few times, and fails only then.
//
// Each step is looked at a few times in the whole run, however many there are.
class RunMachine {
 public:
  explicit RunMachine(Plan plan, int in_flight_per_host_most = 64,
                      const std::map<std::string, bool>& settled = {}, std::vector<Step> put_back = {});

  struct Actions {
    std::vector<Step> send;               // to journal as intents, then to send; put-backs are "ID.put-back"
    std::vector<Step> remember_put_back;  // to journal with the intents
    std::vector<std::string> forget_put_back;  // ids of put-backs that are settled
    bool finished = false;                     // state() tells how; true once
  };
  // What to do now. Call after construction and after each event.
  Actions Next();

  void Succeeded(const std::string& step_id);
  void Failed(const std::string& step_id, Error error);
  void Cancel();
  // Whether Failed with this would send the run back, and how often it has gone back from this step.
  bool GoesBack(const std::string& step_id, const Error& error) const;
  int times_back(const std::string& step_id) const;

  // An instance is unwell, and no step made it so: until it Recovers, no other instance of its service is
  // begun with. What the run has begun with goes on (a stopped member is started again), and so does whatever
  // it has for the unwell one itself, which may be its cure.
  void Pause(const std::string& service, const std::string& instance, std::string reason);
  void Recovers(const std::string& instance);
  // Whoever waits has waited long enough: the run fails with `error`. Nothing happens where the instance has
  // recovered, or where the run has nothing left to do for its service and hasn't started this one itself.
  void GiveUpOn(const std::string& instance, Error error);

  RunState state() const;
  const std::optional<Error>& error() const { return error_; }
  std::map<std::string, std::string> paused() const;  // service -> reason
  bool HasStarted(const std::string& instance) const { return started_.contains(instance); }
  bool Concerns(const std::string& instance) const;   // a step of it is under way, not counting awaited ones
  bool WillGetTo(const std::string& instance) const;  // one of it is still to come
  size_t steps_done() const { return done_; }
  size_t steps_total() const { return plan_.steps.size(); }
  std::vector<std::string> open_steps() const;
  std::set<std::string> busy() const;  // instances with a step under way; one that is awaited is none
  size_t looked_at() const { return looked_at_; }  // how often a step was, for tests and benchmarks

 private:
  enum class Progress { kWaiting, kOpen, kDone, kFailed };
  struct Sick {
    std::string service, reason;
  };

  bool Waits(size_t step) const;
  std::optional<size_t> StepDownOf(size_t stop) const;
  void Reopen(size_t step);
  void GoBack(size_t stop, size_t step_down);
  bool StartedOnesAreWell() const;
  void Settle(const std::string& step_id, Progress progress);
  void SendReady(Actions& actions);
  void SendPutBacks(Actions& actions);
  void LetGo(std::set<size_t>& held, size_t most);
  void Remember(Step put_back);
  void Forget(const std::string& put_back);
  void ForgetWhere(const Step& step, const std::function<bool(const Step& put_back)>& settled);

  Plan plan_;
  int in_flight_per_host_most_;
  std::unordered_map<std::string, size_t> index_;  // step id -> place in plan_.steps
  // Beside plan_.steps:
  std::vector<Progress> progress_;
  std::vector<size_t> needs_;  // how many steps it still waits for
  std::vector<std::vector<size_t>> followers_;
  std::vector<std::string> subject_;  // the instance it is about: of a drain, the member
  std::vector<std::string> service_;  // the subject's

  std::set<size_t> ready_;                                       // wait for nothing but to be looked at
  std::unordered_map<std::string, std::set<size_t>> host_full_;  // could go, but for their host
  std::unordered_map<std::string, std::set<size_t>>
      held_back_;  // could go, but for who is unwell in the service
  std::set<size_t> open_;
  std::unordered_map<std::string, int> in_flight_;  // by host
  std::unordered_map<std::string, size_t> left_;    // steps that wait, by service
  std::unordered_map<std::string, int> open_of_;    // by instance
  std::unordered_set<std::string> begun_;           // subjects
  std::unordered_set<std::string> started_;         // instances that live by what it brought
  std::map<std::string, Sick> sick_;                // by instance
  std::map<std::string, Step> put_backs_;           // by id: to be done if the run ends early
  std::unordered_map<std::string, std::set<std::string>> put_backs_of_;  // their ids, by who they are about
  std::set<std::string> open_put_backs_;
  std::vector<std::string> forget_;
  std::map<size_t, int> back_;  // how often it went back, by step
  std::optional<Error> error_;
  size_t done_ = 0;
  size_t looked_at_ = 0;
  bool ending_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
};

}  // namespace muster::control
