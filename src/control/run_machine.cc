#include "control/run_machine.h"

#include <algorithm>
#include <utility>

namespace muster::control {
namespace {

Step PutBackOf(const Step& step) {
  Step put_back = step;
  put_back.id = step.id + ".put-back";
  put_back.verb = step.put_back;
  put_back.put_back.clear();
  put_back.needs.clear();
  put_back.before.clear();
  put_back.after.clear();
  put_back.reason = "the run ended early";
  return put_back;
}

}  // namespace

RunMachine::RunMachine(Plan plan, int in_flight_per_host_most, const std::map<std::string, bool>& settled,
                       std::vector<Step> put_back)
    : plan_(std::move(plan)), in_flight_per_host_most_(in_flight_per_host_most) {
  progress_.assign(plan_.steps.size(), Progress::kWaiting);
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    index_[plan_.steps[i].id] = i;
    const auto known = settled.find(plan_.steps[i].id);
    if (known == settled.end()) continue;
    progress_[i] = known->second ? Progress::kDone : Progress::kFailed;
    done_ += known->second ? 1 : 0;
  }
  for (Step& step : put_back) put_backs_.emplace(step.id, std::move(step));
}

bool RunMachine::MaySend(const Step& step) const {
  if (paused_.contains(step.service)) return false;
  const auto busy = in_flight_.find(step.host);
  if (busy != in_flight_.end() && busy->second >= in_flight_per_host_most_) return false;
  return std::all_of(step.needs.begin(), step.needs.end(), [&](const std::string& need) {
    const auto found = index_.find(need);
    return found == index_.end() || progress_[found->second] == Progress::kDone;
  });
}

void RunMachine::SendReady(Actions& actions) {
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const Step& step = plan_.steps[i];
    if (progress_[i] != Progress::kWaiting || !MaySend(step)) continue;
    progress_[i] = Progress::kOpen;
    ++open_;
    ++in_flight_[step.host];
    actions.send.push_back(step);
    if (step.put_back.empty()) continue;
    Step put_back = PutBackOf(step);
    actions.remember_put_back.push_back(put_back);
    put_backs_.insert_or_assign(put_back.id, std::move(put_back));
  }
}

void RunMachine::SendPutBacks(Actions& actions) {
  for (const auto& [id, put_back] : put_backs_) {
    if (open_put_backs_.insert(id).second) actions.send.push_back(put_back);
  }
}

RunMachine::Actions RunMachine::Next() {
  Actions actions;
  if (finished_) return actions;
  if (!ending_) SendReady(actions);
  if (ending_ && open_ == 0) SendPutBacks(actions);
  std::vector<std::string> forget = std::exchange(forget_, {});
  actions.forget_put_back.insert(actions.forget_put_back.end(), forget.begin(), forget.end());

  const bool all_done = done_ == plan_.steps.size();
  const bool ended_early = ending_ && open_ == 0 && open_put_backs_.empty() && put_backs_.empty();
  if (!ended_early && !ending_ && open_ == 0 && !all_done && actions.send.empty() && paused_.empty()) {
    // Nothing is under way and nothing may go: a step needs one that failed in an earlier life of this run.
    Failed("", Error::Conflict("run-stuck", "steps are left that nothing leads to"));
    return Next();
  }
  if (ended_early || (!ending_ && all_done)) {
    finished_ = true;
    actions.finished = true;
    for (const auto& [id, step] : std::exchange(put_backs_, {})) actions.forget_put_back.push_back(id);
  }
  return actions;
}

void RunMachine::Settle(const std::string& step_id, Progress progress) {
  const auto found = index_.find(step_id);
  if (found == index_.end() || progress_[found->second] != Progress::kOpen) return;
  const Step& step = plan_.steps[found->second];
  progress_[found->second] = progress;
  --open_;
  --in_flight_[step.host];
  if (progress != Progress::kDone) {
    // Starting it once more would fail alike.
    std::erase_if(put_backs_, [&](const auto& entry) {
      if (step.verb != "start" || entry.second.verb != "start" || entry.second.instance != step.instance)
        return false;
      forget_.push_back(entry.first);
      return true;
    });
    return;
  }
  ++done_;
  // What takes back an earlier step's effect on the same instance settles its put-back.
  std::erase_if(put_backs_, [&](const auto& entry) {
    const Step& put_back = entry.second;
    if (put_back.verb != step.verb || put_back.instance != step.instance) return false;
    // Arguments that only one of them has (`ready`) tell how, not what.
    for (const auto& [name, value] : put_back.args) {
      const auto same = step.args.find(name);
      if (same != step.args.end() && same->second != value) return false;
    }
    forget_.push_back(entry.first);
    return true;
  });
}

void RunMachine::Succeeded(const std::string& step_id) {
  if (open_put_backs_.erase(step_id) > 0) {
    put_backs_.erase(step_id);
    forget_.push_back(step_id);
    return;
  }
  Settle(step_id, Progress::kDone);
}

void RunMachine::Failed(const std::string& step_id, Error error) {
  if (open_put_backs_.erase(step_id) > 0) {
    // Tried once: the journal keeps it no longer, the error says what is left to a person.
    put_backs_.erase(step_id);
    forget_.push_back(step_id);
    if (!error_ && error.code() != "cancelled") error_ = std::move(error).While("putting back {}", step_id);
    return;
  }
  Settle(step_id, Progress::kFailed);
  ending_ = true;
  if (cancelled_ && error.code() == "cancelled") return;  // what Cancel asked for
  if (!error_) error_ = std::move(error);
}

void RunMachine::Pause(const std::string& service, std::string reason) {
  paused_[service] = std::move(reason);
}
void RunMachine::Resume(const std::string& service) { paused_.erase(service); }

void RunMachine::Cancel() {
  cancelled_ = true;
  ending_ = true;
}

RunState RunMachine::state() const {
  if (finished_) {
    if (error_) return RunState::kFailed;
    return cancelled_ ? RunState::kCancelled : RunState::kDone;
  }
  if (ending_ && open_ == 0) return RunState::kPuttingBack;
  return open_ == 0 && !paused_.empty() ? RunState::kPaused : RunState::kRunning;
}

std::vector<std::string> RunMachine::open_steps() const {
  std::vector<std::string> open(open_put_backs_.begin(), open_put_backs_.end());
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (progress_[i] == Progress::kOpen) open.push_back(plan_.steps[i].id);
  }
  return open;
}

}  // namespace muster::control
