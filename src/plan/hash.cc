#include "plan/hash.h"

#include "base/digest.h"
#include "model/secret.h"

namespace muster::plan {
namespace {

constexpr size_t kPartDigits = 16;

class Hasher {
 public:
  Hasher(Instance& instance, const SecretDigests& secrets, std::set<std::string>& unset)
      : instance_(instance), secrets_(secrets), unset_(unset) {}

  std::string WithDigests(const std::string& text) {
    if (text.find('\x01') == std::string::npos) return text;
    return ReplaceSecrets(text, [this](std::string_view name) -> std::string {
      const auto found = secrets_.find(std::string(name));
      if (found != secrets_.end()) return found->second;
      if (const auto any = secrets_.find(kAnySecret); any != secrets_.end()) return any->second;
      unset_.emplace(name);
      return "";
    });
  }

  void Set(const std::string& part, Digest digest) {
    instance_.parts[part] = digest.Hex().substr(0, kPartDigits);
  }

 private:
  Instance& instance_;
  const SecretDigests& secrets_;
  std::set<std::string>& unset_;
};

}  // namespace

void SetHashes(Instance& instance, const SecretDigests& secrets, std::set<std::string>& unset) {
  instance.parts.clear();
  Hasher hasher(instance, secrets, unset);
  {
    Digest digest;
    for (const std::string& word : instance.argv) digest.Add(word);
    hasher.Set("command", std::move(digest));
  }
  {
    Digest digest;
    for (const auto& [name, value] : instance.env) digest.Add(name).Add(hasher.WithDigests(value));
    hasher.Set("env", std::move(digest));
  }
  {
    Digest digest;
    for (const auto& [name, range] : instance.ports) {
      digest.Add(name).Add(int64_t{range.first}).Add(int64_t{range.count}).Add(int64_t{range.udp});
    }
    hasher.Set("ports", std::move(digest));
  }
  {
    Digest digest;
    digest.Add(instance.address);
    hasher.Set("address", std::move(digest));
  }
  if (!instance.user.empty()) hasher.Set("user", std::move(Digest().Add(instance.user)));
  if (!instance.working_folder.empty()) {
    hasher.Set("working_folder", std::move(Digest().Add(instance.working_folder)));
  }
  for (const InstanceFile& file : instance.files) {
    Digest digest;
    digest.Add(hasher.WithDigests(file.content)).Add(file.blob).Add(int64_t{file.mode});
    hasher.Set("file:" + file.path, std::move(digest));
  }
  if (!instance.data_folders.empty()) {
    Digest digest;
    for (const std::string& folder : instance.data_folders) digest.Add(folder);
    hasher.Set("data", std::move(digest));
  }
  if (!instance.artifact.name.empty()) {
    Digest digest;
    digest.Add(instance.artifact.name)
        .Add(instance.artifact.sha256)
        .Add(int64_t{instance.artifact.executable});
    hasher.Set("artifact", std::move(digest));
  }
  {
    const Probe& probe = instance.probe;
    Digest digest;
    digest.Add(static_cast<int64_t>(probe.kind))
        .Add(probe.target)
        .Add(int64_t{probe.port})
        .Add(int64_t{probe.tls});
    digest.Add(int64_t{probe.status_min}).Add(int64_t{probe.status_max}).Add(probe.every.count());
    digest.Add(probe.timeout.count()).Add(int64_t{probe.fail_after}).Add(int64_t{probe.kill_when_hung});
    hasher.Set("probe", std::move(digest));
  }
  hasher.Set("stop",
             std::move(Digest().Add(int64_t{instance.stop_signal}).Add(instance.stop_timeout.count())));
  // Whoever starts it waits so long, and so does its agent after a crash.
  if (instance.ready_within != Instance{}.ready_within) {
    hasher.Set("ready_within", std::move(Digest().Add(instance.ready_within.count())));
  }
  if (instance.limits != Limits{}) {
    Digest digest;
    digest.Add(instance.limits.memory_bytes).Add(fmt::format("{}", instance.limits.cpus));
    digest.Add(instance.limits.open_files);
    hasher.Set("limits", std::move(digest));
  }
  if (instance.restart != RestartPolicy{}) {
    const RestartPolicy& restart = instance.restart;
    Digest digest;
    digest.Add(restart.backoff_first.count()).Add(restart.backoff_most.count());
    digest.Add(restart.healthy_after.count()).Add(int64_t{restart.crashes_most});
    hasher.Set("restart", std::move(digest));
  }
  if (instance.log != LogPolicy{}) {
    hasher.Set("log", std::move(Digest().Add(instance.log.rotate_bytes).Add(int64_t{instance.log.keep})));
  }
  for (const auto& [key, value] : instance.extra) hasher.Set("extra:" + key, std::move(Digest().Add(value)));
  Digest whole;
  for (const auto& [part, hash] : instance.parts) whole.Add(part).Add(hash);
  instance.hash = whole.Hex().substr(0, 32);
}

}  // namespace muster::plan
