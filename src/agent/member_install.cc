// A member's files: written, and taken away. All of it on the pool.
#include "agent/member.h"
#include "base/fault.h"

namespace muster::agent {

net::Task<Status> Member::Install(const Step& step, Instance desired) {
  const Impact impact = step.impact;
  auto user = co_await FindUser(desired.user);
  if (!user.ok()) co_return user.error();
  const std::vector<std::string> missing = MissingBlobs(paths_, desired);
  for (const std::string& sha256 : missing) {
    const Status fetched = co_await host_->fetch_blob(sha256);
    if (!fetched.ok()) co_return fetched.error();
  }
  std::optional<Instance> before;
  if (remembered_) before = remembered_->desired;
  user_ = *user;
  Status written = co_await WriteFiles(desired, before);
  MUSTER_FAULT("agent.files-written");
  if (written.ok()) {
    Remembered next = remembered_ ? *remembered_ : Remembered{};
    next.desired = desired;
    if (!before) {
      next.since = WallNow();
      next.memory = supervisor_.memory();
    }
    remembered_ = std::move(next);
    const Held held = Hold();
    if (held.recipe) written = co_await held.recipe->Prepare(held.context);
    if (written.ok()) {
      // Waits for the disk. Those of ten instances share their waiting.
      std::function<Status()> write = [paths = paths_, wanted = remembered_->desired]() -> Status {
        MUSTER_DO(RememberFiles(paths, wanted));
        return WriteDesired(paths, wanted);
      };
      written = co_await host_->loop->Blocking(std::move(write));
    }
  }
  if (!written.ok()) {
    // The instance is as it was.
    if (before) {
      std::function<Status()> restore = [paths = paths_, was = *before, desired, user = user_] {
        (void)WriteInstance(paths, was, &desired, user);
        return RememberFiles(paths, was);
      };
      const Status back = co_await WithFiles(std::move(restore));
      (void)back;
      remembered_->desired = *before;
    } else {
      const Status gone = co_await RemoveFiles(false);
      (void)gone;
      remembered_.reset();
    }
    co_return written.error();
  }
  MUSTER_FAULT("agent.installed");
  const Instance& now = remembered_->desired;
  supervisor_.set_policy(SupervisorPolicy::Of(now));
  log_care_->set_policy(now.log);
  if (process_ && impact == Impact::kLive) {
    remembered_->running_hash = now.hash;
    StartProbing(false);
  }
  SaveState();
  host_->changed(Observe(false));
  co_return Done();
}

net::Task<Result<User>> Member::FindUser(std::string name) {
  std::function<Result<User>()> find = [name = std::move(name), cluster = host_->cluster] {
    return UserFor(name, cluster);
  };
  co_return co_await host_->loop->Blocking(std::move(find));
}

// No process is started meanwhile: it would read some files of before and some of now.
net::Task<Status> Member::WriteFiles(Instance wanted, std::optional<Instance> before) {
  std::function<Status()> write = [paths = paths_, wanted = std::move(wanted), before = std::move(before),
                                   user = user_]() -> Status {
    return WriteInstance(paths, wanted, before ? &*before : nullptr, user);
  };
  co_return co_await WithFiles(std::move(write));
}

net::Task<Status> Member::RemoveFiles(bool delete_data) {
  std::function<Status()> remove = [paths = paths_, delete_data] {
    return RemoveInstance(paths, delete_data);
  };
  co_return co_await WithFiles(std::move(remove));
}

net::Task<Status> Member::WithFiles(std::function<Status()> work) {
  files_change_ = true;
  Status done = co_await host_->loop->Blocking(std::move(work));
  files_change_ = false;
  for (const auto& waiting : std::exchange(files_settled_, {})) {
    host_->loop->Post([waiting] { waiting.Set(true); });
  }
  co_return done;
}

}  // namespace muster::agent
