// A member's files: written, and taken away. All of it on the pool.
#include <algorithm>

#include "agent/artifacts.h"
#include "agent/member.h"
#include "base/fault.h"

namespace muster::agent {

net::Task<Status> Member::Install(const Step& step, Instance desired) {
  const Impact impact = step.impact;
  auto user = co_await FindUser(desired.user);
  if (!user.ok()) co_return user.error();
  const Status brought = co_await BringBlobs(desired);
  if (!brought.ok()) co_return brought.error();
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
    next.live_hash = process_ && impact == Impact::kLive ? desired.hash : "";
    remembered_ = std::move(next);
    if (process_ && before && before->probe != desired.probe) Feed(ProbeChanging{});
    SaveState();
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
  if (process_ && before && before->probe != now.probe) Feed(ProbeChanged{});
  log_care_->set_policy(now.log);
  if (process_ && impact == Impact::kLive) {
    remembered_->running_hash = now.hash;
    GoOnProbing();
  }
  SaveState();
  host_->changed(Observe(false));
  co_return Done();
}

bool Member::UnsureOfBlobs(const Instance& instance) const {
  const std::vector<std::string> blobs = BlobsOf(instance);
  return std::any_of(blobs.begin(), blobs.end(), [&](const std::string& sha256) {
    return LookAtBlob(paths_, sha256) == Bytes::kUnknown;
  });
}

net::Task<Status> Member::CheckBlobs(Instance instance) {
  if (!UnsureOfBlobs(instance)) co_return Done();
  std::function<Status()> check = [paths = paths_, blobs = BlobsOf(instance)]() -> Status {
    for (const std::string& sha256 : blobs) (void)CheckBlob(paths, sha256);
    return Done();
  };
  co_return co_await host_->loop->Blocking(std::move(check));
}

net::Task<Status> Member::BringBlobs(Instance instance) {
  auto self = shared_from_this();
  MUSTER_CO_DO(co_await CheckBlobs(instance));
  const std::vector<std::string> missing = MissingBlobs(paths_, instance);
  for (const std::string& sha256 : missing) {
    Status fetched = co_await host_->fetch_blob(sha256);
    if (!fetched.ok()) co_return fetched.error();
  }
  co_return Done();
}

// Somebody may have put another program in its place since it was installed.
net::Task<Status> Member::PutArtifactRight() {
  auto self = shared_from_this();
  const Instance instance = remembered_->desired;
  if (!UnsureOfBlobs(instance) && LookAtArtifact(paths_, instance).empty()) co_return Done();
  MUSTER_CO_DO(co_await CheckBlobs(instance));
  const std::string what = LookAtArtifact(paths_, instance);
  if (what.empty()) co_return Done();
  Status right = co_await BringBlobs(instance);
  if (right.ok()) {
    std::function<Status()> link = [paths = paths_, instance] { return LinkArtifact(paths, instance); };
    right = co_await host_->loop->Blocking(std::move(link));
  }
  if (right.ok()) co_return Done();
  co_return Error::Unavailable("artifact-differs",
                               "the artifact {} of {} is not what was installed ({}), and "
                               "can't be put right: {}",
                               instance.artifact.name, instance.name, what, right.error().message())
      .Hint("muster up FILE brings it again");
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
