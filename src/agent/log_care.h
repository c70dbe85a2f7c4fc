// When an instance's log is looked after: about each second, and soon after it has been written to.
//
// No program is slowed down or stopped for its log, so a logs folder has no hard bound: it holds about
// (keep + 3) times the policy's size, and what the program writes until the agent comes to look, which is
// some milliseconds, or as long as a busy disk makes it wait. `yes`, at a gigabyte a second, makes that 20 to
// 60 MB as a rule, and has made it 210 MB for a moment; what writes 10 MB a second stays within (keep + 3)
// times.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/log_files.h"
#include "base/files.h"
#include "base/result.h"
#include "base/time.h"
#include "net/loop.h"

namespace muster::agent {

class LogCare;

// Tells that logs have been written to. One for all instances and all readers of an agent, since a user may
// have few inotify descriptors: 128 as a rule, for all programs that run as that user. Loop thread only.
class LogWaker {
 public:
  explicit LogWaker(net::Loop& loop);
  ~LogWaker();
  void WakeOnce(const std::string& path, std::weak_ptr<LogCare> care);  // at the next write

  using FollowId = uint64_t;
  // Calls `act` whenever a log in `folder` may have been written to, until Unfollow. A folder may be followed
  // any number of times. Code "os-error": the system has no inotify descriptor or watch left for this user.
  Result<FollowId> Follow(const std::string& folder, std::function<void()> act);
  void Unfollow(FollowId id);  // unknown ids are fine

 private:
  void Open();
  void OnReadable();
  void On(int watch, uint32_t mask);
  void WakeFollowers(int watch);

  net::Loop& loop_;
  Fd inotify_;
  net::Loop::WatchId watch_ = 0;
  std::map<int, std::weak_ptr<LogCare>> waiting_;
  struct Followed {
    int watch = -1;  // inotify's; those of one folder share it
    std::function<void()> act;
  };
  std::map<FollowId, Followed> following_;
  FollowId next_follow_ = 1;
};

// Loop thread only; what takes time, rotating, is done on the pool. Made by make_shared.
class LogCare : public std::enable_shared_from_this<LogCare> {
 public:
  LogCare(net::Loop& loop, std::shared_ptr<LogWaker> waker, std::string folder, LogPolicy policy);
  ~LogCare();

  void set_policy(LogPolicy policy) { policy_ = policy; }
  // While its process runs, and each second: it is looked at often enough that it can't fill the disk.
  void Look(WallTime now, bool runs);
  // Waits for a rotation under way; none begins before the next Look. To be called before the folder goes.
  static net::Task<void> LetGo(std::shared_ptr<LogCare> self);

 private:
  friend class LogWaker;
  void OnWritten();
  void LookSoon(Duration delay);
  static net::Task<void> Rotate(std::shared_ptr<LogCare> self);
  Duration Pause() const;

  net::Loop& loop_;
  const std::shared_ptr<LogWaker> waker_;
  const std::string path_;
  LogPolicy policy_;
  const std::shared_ptr<LogKeeper> keeper_;  // the pool's while `rotating_`
  bool rotating_ = false;
  std::vector<net::Promised<bool>> rotated_;  // who waits for it to end
  net::Loop::TimerId timer_ = 0;
};

}  // namespace muster::agent
