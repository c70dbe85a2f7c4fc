// How an instance's processes end.
#include <poll.h>
#include <signal.h>

#include <algorithm>

#include "agent/member.h"
#include "base/fault.h"

namespace muster::agent {
namespace {

constexpr Duration kOthersMost = 50ms;
constexpr Duration kLeftoverMost = 200ms;

}  // namespace

// See docs/decisions/0007-who-is-asked-to-stop.md.
bool Member::stops_its_own() const {
  const Recipe* recipe = FindRecipe(remembered_->desired.kind);
  return recipe && recipe->stops_its_own;
}

void Member::Ask() {
  if (!process_) return;
  const Recipe* recipe = FindRecipe(remembered_->desired.kind);
  if (recipe && recipe->never_thawed && process_->frozen()) return process_->KillAll();
  const int signal_number = remembered_->desired.stop_signal;
  if (!stops_its_own()) return process_->AskToStop(signal_number);
  process_->Signal(signal_number);
  process_->Signal(SIGCONT);
}

// Where it was asked to stop, all of it was, and all of it has the same time for that.
void Member::AwaitOthers(Duration pause) {
  if (!process_) return;
  const bool asked = supervisor_.state() == InstanceState::kStopping && !given_up_ && !stops_its_own();
  if (!asked || !process_->AnyLeft()) return Bury();
  host_->loop->After(pause, [weak = weak_from_this(), next = std::min(pause * 2, kOthersMost)] {
    if (auto self = weak.lock()) self->AwaitOthers(next);
  });
}

void Member::Bury() {
  process_->KillAll();  // children that it left would keep its ports
  if (!process_->in_group()) KillStrays();
  const std::string how = process_->Reap();
  if (proves_health_ && !was_reloaded_) {
    SettleReload(Error::Unavailable("health-wrong", "{} died before it passed its changed health check ({})",
                                    paths_.name, how)
                     .Hint("its log tells why: muster logs {}", paths_.name));
  }
  SettleReload(Error::Unavailable("reload-failed", "{} died when it was to reload ({})", paths_.name, how)
                   .Hint("`on_change: restart` does without, `reload: USR1` asks by another signal; its log "
                         "may tell more: muster logs {}",
                         paths_.name));
  process_.reset();
  remembered_->running_hash.clear();
  log_care_->Look(WallNow(), false);
  Feed(Exited{.how = how, .cause = CauseOfDeath()});
}

// The main process died while no agent looked, and left others. They are killed as they would have been then;
// nullptr where that is done, and what still lives where the kernel takes its time.
std::unique_ptr<runtime::Process> Member::EndLeftover(std::unique_ptr<runtime::Process> left) const {
  left->KillAll();
  if (!left->in_group()) KillStrays();
  pollfd ended{left->pidfd(), POLLIN, 0};
  if (::poll(&ended, 1, static_cast<int>(kLeftoverMost.count())) != 1) return left;
  left->Reap();
  return nullptr;
}

std::vector<std::string> Member::Joins() const {
  return process_ ? process_->JoinFiles() : std::vector<std::string>();
}

// What a probe or a command left in the background, in no group since there were none or nothing ran: by what
// it was started with, which no other instance has.
void Member::KillStrays() const {
  const auto env = Environment();
  std::vector<std::string> words;
  for (const char* name : {"HOME", "MUSTER_CLUSTER", "MUSTER_INSTANCE"}) {
    const auto found = env.find(name);
    if (found != env.end()) words.push_back(std::string(name) + "=" + found->second);
  }
  const bool own = env.at("HOME") == paths_.folder;  // else there may be a stranger that has the same
  if (own && words.size() == 3) runtime::KillMarked(words);
}

net::Task<Status> Member::MayStop(const Step& step) {
  const auto only = step.args.find("only");
  if (only == step.args.end() || only->second != "handed-over" || !process_) co_return Done();
  const Held held = Hold();
  if (!held.recipe) co_return Done();
  co_return co_await held.recipe->MayStop(held.context);
}

net::Task<Status> Member::Stop() {
  if (!remembered_) co_return Done();
  const net::Promised<bool> stopped;
  stopping_.push_back(stopped);
  Feed(StopWanted{});
  co_await stopped;
  MUSTER_FAULT("agent.stopped");
  co_return Done();
}

}  // namespace muster::agent
