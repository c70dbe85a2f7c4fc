// How an instance takes over what runs in its place since before muster was there.
#include "agent/member.h"
#include "agent/take_over.h"
#include "base/fault.h"

namespace muster::agent {
namespace {

// What runs by settings that only a start can change is what no file says.
constexpr const char* kOtherHash = "taken-over";

}  // namespace

// Whether there is somebody, who is the instance's process then and has begun. On an error nothing has
// changed for whoever runs there.
net::Task<Result<bool>> Member::TakeOver() {
  auto self = shared_from_this();
  MUSTER_CO_TRY(const int pid, FindToTakeOver(remembered_->desired, user_));
  if (pid == 0) co_return false;
  std::string hash = remembered_->desired.hash;
  if (Held held = Hold(); held.recipe) {
    held.context.pid = pid;
    const auto waits = co_await held.recipe->TakeOver(held.context);
    if (!waits.ok()) co_return waits.error();
    if (!waits->empty() || hash.empty()) hash = kOtherHash;
  }
  // Somebody may want it stopped meanwhile; then it isn't muster's to stop.
  if (!remembered_ || process_ || supervisor_.state() != InstanceState::kStarting) co_return false;
  auto launch = MakeLaunch();
  if (!launch.ok()) co_return launch.error();
  launch->hash = hash;
  MUSTER_CO_TRY(std::unique_ptr<runtime::Process> process, runtime::Process::TakeOver(*launch, pid));
  MUSTER_FAULT("agent.taken-over");
  NoteStart(0, hash);
  Watch(std::move(process), true);
  Feed(Started{});
  host_->changed(Observe(false));
  StartProbing(true);
  co_return true;
}

}  // namespace muster::agent
