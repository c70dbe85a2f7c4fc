#include "control/run_machine.h"

#include <algorithm>
#include <climits>
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

constexpr int kBackMost = 2;
constexpr std::string_view kOwnsAgain = "owns-slots";  // see Operator::MayStop

// The instance it is about: of a drain, the member.
const std::string& SubjectOf(const Step& step) {
  const auto member = step.args.find("member");
  return member == step.args.end() ? step.instance : member->second;
}

}  // namespace

int PutBackTurn(std::string_view verb) { return verb == "remove" ? 2 : verb == "dismiss" ? 1 : 0; }

bool NeedsInstance(std::string_view verb) { return verb == "install" || verb == "start" || verb == "reload"; }

RunMachine::RunMachine(Plan plan, int in_flight_per_host_most, const std::map<std::string, bool>& settled,
                       std::vector<Step> put_back)
    : plan_(std::move(plan)), in_flight_per_host_most_(in_flight_per_host_most) {
  const size_t steps = plan_.steps.size();
  progress_.assign(steps, Progress::kWaiting);
  needs_.assign(steps, 0);
  followers_.resize(steps);
  std::unordered_map<std::string, const std::string*> service_of;
  for (size_t i = 0; i < steps; ++i) {
    const Step& step = plan_.steps[i];
    index_[step.id] = i;
    if (!step.args.contains("member")) service_of[step.instance] = &step.service;
    const auto known = settled.find(step.id);
    if (known == settled.end()) continue;
    progress_[i] = known->second ? Progress::kDone : Progress::kFailed;
    done_ += known->second ? 1 : 0;
  }
  for (size_t i = 0; i < steps; ++i) {
    const Step& step = plan_.steps[i];
    subject_.push_back(SubjectOf(step));
    const auto service = service_of.find(subject_.back());
    service_.push_back(service == service_of.end() ? step.service : *service->second);
    if (progress_[i] != Progress::kWaiting) {
      begun_.insert(subject_[i]);
      continue;
    }
    ++left_[service_[i]];
    for (const std::string& need : step.needs) {
      const auto found = index_.find(need);
      if (found == index_.end() || progress_[found->second] == Progress::kDone) continue;
      ++needs_[i];
      followers_[found->second].push_back(i);
    }
    if (needs_[i] == 0) ready_.insert(i);
  }
  for (Step& step : put_back) Remember(std::move(step));
}

void RunMachine::Remember(Step put_back) {
  put_backs_of_[SubjectOf(put_back)].insert(put_back.id);
  put_backs_.insert_or_assign(put_back.id, put_back);
}

void RunMachine::Forget(const std::string& put_back) {
  const auto found = put_backs_.find(put_back);
  if (found == put_backs_.end()) return;
  const auto others = put_backs_of_.find(SubjectOf(found->second));
  others->second.erase(put_back);
  if (others->second.empty()) put_backs_of_.erase(others);
  put_backs_.erase(found);
  forget_.push_back(put_back);
}

// Forgets the put-backs of whom `step` is about that `settled` says it settles.
void RunMachine::ForgetWhere(const Step& step, const std::function<bool(const Step& put_back)>& settled) {
  const auto found = put_backs_of_.find(SubjectOf(step));
  if (found == put_backs_of_.end()) return;
  const std::set<std::string> ids = found->second;
  for (const std::string& id : ids) {
    if (settled(put_backs_.at(id))) Forget(id);
  }
}

// Whether somebody of its service is unwell and it is about another, whom the run hasn't begun with.
bool RunMachine::Waits(size_t step) const {
  if (sick_.empty() || sick_.contains(subject_[step]) || begun_.contains(subject_[step])) return false;
  return std::any_of(sick_.begin(), sick_.end(),
                     [&](const auto& sick) { return sick.second.service == service_[step]; });
}

// What a run has brought must live when it says that it is done.
bool RunMachine::StartedOnesAreWell() const {
  return std::none_of(sick_.begin(), sick_.end(),
                      [&](const auto& sick) { return started_.contains(sick.first); });
}

// At most `most` of `held` are looked at again, in the plan's order.
void RunMachine::LetGo(std::set<size_t>& held, size_t most) {
  while (most-- > 0 && !held.empty()) ready_.insert(held.extract(held.begin()));
}

void RunMachine::SendReady(Actions& actions) {
  while (!ready_.empty()) {
    const size_t i = ready_.extract(ready_.begin()).value();
    const Step& step = plan_.steps[i];
    ++looked_at_;
    const bool full = in_flight_[step.host] >= in_flight_per_host_most_;
    if (Waits(i)) {
      held_back_[service_[i]].insert(i);
      if (!full) LetGo(host_full_[step.host], 1);  // what it was let go for is left to another
      continue;
    }
    if (full) {
      host_full_[step.host].insert(i);
      continue;
    }
    progress_[i] = Progress::kOpen;
    open_.insert(i);
    begun_.insert(subject_[i]);
    ++in_flight_[step.host];
    if (!step.awaited) ++open_of_[step.instance];
    --left_[service_[i]];
    actions.send.push_back(step);
    if (step.put_back.empty()) continue;
    Step put_back = PutBackOf(step);
    actions.remember_put_back.push_back(put_back);
    Remember(std::move(put_back));
  }
}

void RunMachine::SendPutBacks(Actions& actions) {
  int turn = INT_MAX;
  for (const auto& [id, put_back] : put_backs_) turn = std::min(turn, PutBackTurn(put_back.verb));
  for (const auto& [id, put_back] : put_backs_) {
    if (PutBackTurn(put_back.verb) == turn && open_put_backs_.insert(id).second)
      actions.send.push_back(put_back);
  }
}

RunMachine::Actions RunMachine::Next() {
  Actions actions;
  if (finished_) return actions;
  if (!ending_) SendReady(actions);
  if (ending_ && open_.empty()) SendPutBacks(actions);
  std::vector<std::string> forget = std::exchange(forget_, {});
  actions.forget_put_back.insert(actions.forget_put_back.end(), forget.begin(), forget.end());

  const bool all_done = done_ == plan_.steps.size() && (ending_ || StartedOnesAreWell());
  const bool ended_early = ending_ && open_.empty() && open_put_backs_.empty() && put_backs_.empty();
  if (!ended_early && !ending_ && open_.empty() && !all_done && actions.send.empty() && sick_.empty()) {
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
  open_.erase(found->second);
  --in_flight_[step.host];
  if (!step.awaited && --open_of_[step.instance] == 0) open_of_.erase(step.instance);
  if (const auto full = host_full_.find(step.host); full != host_full_.end()) LetGo(full->second, 1);
  if (progress != Progress::kDone) {
    // Starting it once more would fail alike.
    ForgetWhere(step, [&](const Step& put_back) {
      return step.verb == "start" && put_back.verb == "start" && put_back.instance == step.instance;
    });
    return;
  }
  ++done_;
  // What was reloaded, or is asked by another health check, lives by what the run has brought, as what was
  // started does.
  const bool proven = step.verb == "install" && step.args.contains("prove");
  if (step.verb == "start" || step.verb == "reload" || proven) started_.insert(step.instance);
  for (const size_t follower : followers_[found->second]) {
    if (--needs_[follower] == 0) ready_.insert(follower);
  }
  // What takes back an earlier step's effect on the same instance settles its put-back.
  ForgetWhere(step, [&](const Step& put_back) {
    if (put_back.verb != step.verb || put_back.instance != step.instance) return false;
    // Arguments that only one of them has (`ready`) tell how, not what.
    return std::all_of(put_back.args.begin(), put_back.args.end(), [&](const auto& arg) {
      const auto same = step.args.find(arg.first);
      return same == step.args.end() || same->second == arg.second;
    });
  });
}

void RunMachine::Succeeded(const std::string& step_id) {
  if (open_put_backs_.erase(step_id) > 0) {
    Forget(step_id);
    return;
  }
  Settle(step_id, Progress::kDone);
}

void RunMachine::Failed(const std::string& step_id, Error error) {
  if (open_put_backs_.erase(step_id) > 0) {
    // Tried once: the journal keeps it no longer, the error says what is left to a person.
    Forget(step_id);
    if (!error_ && error.code() != "cancelled") error_ = std::move(error).While("putting back {}", step_id);
    return;
  }
  if (GoesBack(step_id, error)) {
    const size_t stop = index_.at(step_id);
    return GoBack(stop, *StepDownOf(stop));
  }
  Settle(step_id, Progress::kFailed);
  ending_ = true;
  if (cancelled_ && error.code() == "cancelled") return;  // what Cancel asked for
  if (!error_) error_ = std::move(error);
}

// What a stop of one that has handed over waited for, of its own.
std::optional<size_t> RunMachine::StepDownOf(size_t stop) const {
  for (const std::string& need : plan_.steps[stop].needs) {
    const auto found = index_.find(need);
    if (found == index_.end()) continue;
    const Step& step = plan_.steps[found->second];
    if (step.awaited && step.instance == plan_.steps[stop].instance) return found->second;
  }
  return std::nullopt;
}

int RunMachine::times_back(const std::string& step_id) const {
  const auto found = index_.find(step_id);
  const auto times = found == index_.end() ? back_.end() : back_.find(found->second);
  return times == back_.end() ? 0 : times->second;
}

bool RunMachine::GoesBack(const std::string& step_id, const Error& error) const {
  const auto found = index_.find(step_id);
  if (ending_ || error.code() != kOwnsAgain || found == index_.end()) return false;
  if (progress_[found->second] != Progress::kOpen || times_back(step_id) >= kBackMost) return false;
  const auto step_down = StepDownOf(found->second);
  return step_down && progress_[*step_down] == Progress::kDone;
}

// It is as if it had not been begun with.
void RunMachine::Reopen(size_t step) {
  progress_[step] = Progress::kWaiting;
  ++left_[service_[step]];
}

void RunMachine::GoBack(size_t stop, size_t step_down) {
  const Step& step = plan_.steps[stop];
  ++back_[stop];
  open_.erase(stop);
  --in_flight_[step.host];
  if (--open_of_[step.instance] == 0) open_of_.erase(step.instance);
  if (const auto full = host_full_.find(step.host); full != host_full_.end()) LetGo(full->second, 1);
  Forget(step.id + ".put-back");  // nothing was taken away
  Reopen(stop);
  Reopen(step_down);
  --done_;
  for (const size_t follower : followers_[step_down]) {
    if (progress_[follower] != Progress::kWaiting) continue;
    ++needs_[follower];
    ready_.erase(follower);
    for (auto& [host, held] : host_full_) held.erase(follower);
    for (auto& [service, held] : held_back_) held.erase(follower);
  }
  ready_.insert(step_down);
}

void RunMachine::Pause(const std::string& service, const std::string& instance, std::string reason) {
  sick_[instance] = {.service = service, .reason = std::move(reason)};
  if (const auto held = held_back_.find(service); held != held_back_.end()) {
    LetGo(held->second, held->second.size());  // its own steps may go now
  }
}

void RunMachine::Recovers(const std::string& instance) {
  const auto sick = sick_.find(instance);
  if (sick == sick_.end()) return;
  if (const auto held = held_back_.find(sick->second.service); held != held_back_.end()) {
    LetGo(held->second, held->second.size());
  }
  sick_.erase(sick);
}

void RunMachine::GiveUpOn(const std::string& instance, Error error) {
  const auto sick = sick_.find(instance);
  if (sick == sick_.end() || (left_[sick->second.service] == 0 && !started_.contains(instance))) return;
  ending_ = true;
  if (!error_) error_ = std::move(error);
}

std::map<std::string, std::string> RunMachine::paused() const {
  std::map<std::string, std::string> paused;
  for (const auto& [instance, sick] : sick_) {
    std::string& reason = paused[sick.service];
    reason += (reason.empty() ? "" : ", ") + sick.reason;
  }
  return paused;
}

bool RunMachine::Concerns(const std::string& instance) const {
  if (open_of_.contains(instance)) return true;
  return std::any_of(open_put_backs_.begin(), open_put_backs_.end(), [&](const std::string& id) {
    const auto put_back = put_backs_.find(id);
    return put_back != put_backs_.end() && put_back->second.instance == instance;
  });
}

bool RunMachine::WillGetTo(const std::string& instance) const {
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (progress_[i] == Progress::kWaiting && plan_.steps[i].instance == instance) return true;
  }
  return false;
}

void RunMachine::Cancel() {
  cancelled_ = true;
  ending_ = true;
}

RunState RunMachine::state() const {
  if (finished_) {
    if (error_) return RunState::kFailed;
    return cancelled_ ? RunState::kCancelled : RunState::kDone;
  }
  if (ending_ && open_.empty()) return RunState::kPuttingBack;
  return open_.empty() && !sick_.empty() ? RunState::kPaused : RunState::kRunning;
}

std::vector<std::string> RunMachine::open_steps() const {
  std::vector<std::string> open(open_put_backs_.begin(), open_put_backs_.end());
  for (const size_t step : open_) open.push_back(plan_.steps[step].id);
  return open;
}

std::set<std::string> RunMachine::busy() const {
  std::set<std::string> busy;
  for (const size_t step : open_) {
    if (!plan_.steps[step].awaited) busy.insert(plan_.steps[step].instance);
  }
  for (const std::string& id : open_put_backs_) {
    const auto put_back = put_backs_.find(id);
    if (put_back != put_backs_.end()) busy.insert(put_back->second.instance);
  }
  return busy;
}

}  // namespace muster::control
