#include "agent/log_care.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace muster::agent {
namespace {

// What a program may write in a second at most, about: so much of the log is free until the next look.
constexpr int64_t kBytesPerMs = 1 << 19;
constexpr Duration kPauseLeast = 2ms;  // for logs of a megabyte
constexpr Duration kPauseMost = 50ms;
constexpr Duration kRestMost = 5ms;  // between two rotations, for others who want the pool

}  // namespace

LogWaker::LogWaker(net::Loop& loop) : loop_(loop) { Open(); }

void LogWaker::Open() {
  if (inotify_.valid()) return;
  inotify_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  // Without one, each second has to do for the logs' size.
  if (inotify_.valid()) watch_ = loop_.WatchReadable(inotify_.get(), [this] { OnReadable(); });
}

LogWaker::~LogWaker() {
  if (watch_) loop_.Unwatch(watch_);
}

void LogWaker::WakeOnce(const std::string& path, std::weak_ptr<LogCare> care) {
  if (!inotify_.valid()) return;
  const int id = ::inotify_add_watch(inotify_.get(), path.c_str(), IN_MODIFY | IN_ONESHOT | IN_DONT_FOLLOW);
  if (id >= 0) waiting_[id] = std::move(care);
}

void LogWaker::OnReadable() {
  alignas(inotify_event) char bytes[4096];
  ssize_t got;
  while ((got = ::read(inotify_.get(), bytes, sizeof bytes)) > 0) {
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, bytes + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      On(event.wd, event.mask);
    }
  }
}

void LogWaker::On(int watch, uint32_t mask) {
  if (mask & IN_Q_OVERFLOW) return WakeFollowers(-1);  // whose events were lost nobody knows
  const auto found = waiting_.find(watch);
  if (found == waiting_.end()) return WakeFollowers(watch);
  const auto care = found->second.lock();
  waiting_.erase(found);
  if (care) care->OnWritten();
}

// All of them for -1.
void LogWaker::WakeFollowers(int watch) {
  std::vector<FollowId> ids;  // what one of them does may end another
  for (const auto& [id, one] : following_) {
    if (watch < 0 || one.watch == watch) ids.push_back(id);
  }
  for (const FollowId id : ids) {
    const auto found = following_.find(id);
    if (found == following_.end()) continue;
    const std::function<void()> act = found->second.act;
    act();
  }
}

Result<LogWaker::FollowId> LogWaker::Follow(const std::string& folder, std::function<void()> act) {
  Open();
  if (!inotify_.valid()) {
    return Error(Error::Os("follow a log", errno).Hint("raise fs.inotify.max_user_instances (sysctl)"));
  }
  const uint32_t events = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DONT_FOLLOW | IN_ONLYDIR;
  const int watch = ::inotify_add_watch(inotify_.get(), folder.c_str(), events);
  if (watch < 0) {
    Error error = Error::Os("follow " + folder, errno);
    if (errno == ENOSPC) return Error(std::move(error).Hint("raise fs.inotify.max_user_watches (sysctl)"));
    return error;
  }
  const FollowId id = next_follow_++;
  following_[id] = {.watch = watch, .act = std::move(act)};
  return id;
}

void LogWaker::Unfollow(FollowId id) {
  const auto found = following_.find(id);
  if (found == following_.end()) return;
  const int watch = found->second.watch;
  following_.erase(found);
  for (const auto& [other, one] : following_) {
    if (one.watch == watch) return;
  }
  (void)::inotify_rm_watch(inotify_.get(), watch);
}

LogCare::LogCare(net::Loop& loop, std::shared_ptr<LogWaker> waker, std::string folder, LogPolicy policy)
    : loop_(loop),
      waker_(std::move(waker)),
      path_(folder + "/current.log"),
      policy_(policy),
      keeper_(std::make_shared<LogKeeper>(std::move(folder), policy)) {}

LogCare::~LogCare() { loop_.Cancel(timer_); }

Duration LogCare::Pause() const {
  return std::clamp(Duration(policy_.rotate_bytes / kBytesPerMs), kPauseLeast, kPauseMost);
}

void LogCare::Look(WallTime now, bool runs) {
  if (runs && timer_ == 0) waker_->WakeOnce(path_, weak_from_this());
  if (rotating_) return;
  keeper_->set_policy(policy_);
  if (keeper_->WantsRotation()) {
    net::Spawn(Rotate(shared_from_this()));
  } else {
    (void)keeper_->Note(now);
  }
}

void LogCare::OnWritten() { LookSoon(Pause()); }

void LogCare::LookSoon(Duration delay) {
  loop_.Cancel(timer_);
  timer_ = loop_.After(delay, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->timer_ = 0;
    if (self->rotating_) return;  // looks again by itself
    self->keeper_->set_policy(self->policy_);
    self->waker_->WakeOnce(self->path_, weak);
    if (self->keeper_->WantsRotation()) net::Spawn(Rotate(self));
  });
}

net::Task<void> LogCare::Rotate(std::shared_ptr<LogCare> self) {
  self->rotating_ = true;
  const Time begun = Now();
  std::function<Status()> look = [keeper = self->keeper_] { return keeper->Look(WallNow()); };
  const Status rotated = co_await self->loop_.Blocking(std::move(look));
  self->rotating_ = false;
  const auto waiting = std::exchange(self->rotated_, {});
  for (const net::Promised<bool>& one : waiting) one.Set(true);
  if (!waiting.empty()) co_return;
  if (rotated.ok()) {
    self->LookSoon(std::clamp<Duration>(Now() - begun, kPauseLeast, kRestMost));
  } else if (rotated.error().code() == "locked") {
    self->LookSoon(kPauseMost);  // a program may lock its own log for as long as it runs
  }  // else there is no room, as a rule, nor will there be in a moment: the next second's look tries again
}

net::Task<void> LogCare::LetGo(std::shared_ptr<LogCare> self) {
  self->loop_.Cancel(self->timer_);
  self->timer_ = 0;
  if (!self->rotating_) co_return;
  const net::Promised<bool> rotated;
  self->rotated_.push_back(rotated);
  co_await rotated;
}

}  // namespace muster::agent
