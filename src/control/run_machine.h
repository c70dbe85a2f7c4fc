// One run as a machine: which steps may go now, when it has failed, what is to be put back.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/plan.h"

namespace muster::control {

enum class RunState { kRunning, kPaused, kPuttingBack, kDone, kFailed, kCancelled };

// Fed with the outcomes of steps, answers with steps to send. Pure: no clock, no store, no agent; the
// controller journals each answer before it obeys.
//
// A step that fails stops the run: nothing new is sent, what is under way ends, then what the run had taken
// away for its own use (drained members) is put back, and only then the run has failed. Putting a member back
// that is not ready is harmless: a balancer lets it in once it is.
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
  void Pause(const std::string& service, std::string reason);  // nothing new for this service until Resume
  void Resume(const std::string& service);
  void Cancel();

  RunState state() const;
  const std::optional<Error>& error() const { return error_; }
  const std::map<std::string, std::string>& paused() const { return paused_; }  // service -> reason
  size_t steps_done() const { return done_; }
  size_t steps_total() const { return plan_.steps.size(); }
  std::vector<std::string> open_steps() const;

 private:
  enum class Progress { kWaiting, kOpen, kDone, kFailed };

  bool MaySend(const Step& step) const;
  void Settle(const std::string& step_id, Progress progress);
  void SendReady(Actions& actions);
  void SendPutBacks(Actions& actions);

  Plan plan_;
  int in_flight_per_host_most_;
  std::map<std::string, size_t> index_;    // step id -> place in plan_.steps
  std::vector<Progress> progress_;         // beside plan_.steps
  std::map<std::string, int> in_flight_;   // by host
  std::map<std::string, Step> put_backs_;  // by id: to be done if the run ends early
  std::set<std::string> open_put_backs_;
  std::vector<std::string> forget_;
  std::map<std::string, std::string> paused_;
  std::optional<Error> error_;
  size_t done_ = 0;
  size_t open_ = 0;
  bool ending_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
};

}  // namespace muster::control
