#include "cli/render.h"

#include <set>

#include "base/files.h"
#include "base/text.h"
#include "model/secret.h"
#include "model/words.h"
#include "recipes/app/layout.h"

namespace muster::cli {
namespace {

constexpr const char* kHidden = "(not shown: it is of the env_file)";
constexpr const char* kNotShown = "(not shown: the file holds a secret)\n";

// Paths of a cluster file are the recipes' own, but a folder of the user's is not the place to trust that.
bool IsBelow(const fs::path& relative) {
  if (relative.is_absolute()) return false;
  for (const fs::path& part : relative) {
    if (part == "..") return false;
  }
  return !relative.empty();
}

// As its agent would have it, but for paths, which only an agent knows, and secrets.
std::string Shown(const std::string& text) {
  return MaskMarkers(FillWords(text, [](std::string_view) { return std::nullopt; }));
}

// The variables that only the service's env_file gives: their values are shown nowhere.
std::set<std::string> HiddenEnv(const Cluster& cluster, const Instance& instance) {
  std::set<std::string> hidden;
  const Service* service = cluster.FindService(instance.service);
  const Value* setting = service ? service->settings.Find("env_file") : nullptr;
  const auto file = setting ? cluster.files.find(setting->text) : cluster.files.end();
  if (file == cluster.files.end()) return hidden;
  for (const auto& [name, value] : app::ParseEnvFile(file->second.text)) hidden.insert(name);
  if (const Value* env = service->settings.Find("env")) {
    for (const Value::Entry& entry : env->entries) hidden.erase(entry.key);  // it wins
  }
  return hidden;
}

Result<std::string> ContentOf(const Bundle& bundle, const InstanceFile& file) {
  if (file.blob.empty()) return Shown(file.content);
  for (const auto& [path, bundled] : bundle.cluster.files) {
    if (bundled.sha256 == file.blob) return ReadFile(bundle.paths.at(path), 512u << 20);
  }
  return Error::NotFound("file-missing", "the file {} has no content", file.path);
}

}  // namespace

plan::SecretDigests MaskedSecrets() { return {{plan::kAnySecret, "masked"}}; }

Result<size_t> RenderToFiles(const Bundle& bundle, const std::vector<Instance>& instances,
                             const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_empty(folder, error)) {
    return Error::Conflict("folder-not-empty", "{} is not empty", folder.string())
        .Hint("name another with --out, or empty it");
  }
  size_t written = 0;
  for (const Instance& instance : instances) {
    const fs::path home = folder / instance.host / instance.name;
    MUSTER_DO(MakeFolder(home));
    std::string env;
    const std::set<std::string> hidden = HiddenEnv(bundle.cluster, instance);
    for (const auto& [name, value] : instance.env) {
      env += name + "=" + (hidden.contains(name) ? kHidden : Shown(value)) + "\n";
    }
    std::vector<std::string> argv;
    for (const std::string& word : instance.argv) argv.push_back(Shown(word));
    MUSTER_DO(WriteFile(home / "command", ShellLine(argv) + "\n"));
    MUSTER_DO(WriteFile(home / "env", env, {.mode = 0600}));
    written += 2;
    for (const InstanceFile& file : instance.files) {
      if (!IsBelow(file.path)) {
        return Error::Invalid("bad-path", "{} of {} leads out of its folder", file.path, instance.name);
      }
      // A folder that was rendered is looked at, compared and sent around.
      MUSTER_TRY(const std::string content,
                 file.secret ? Result<std::string>(std::string(kNotShown)) : ContentOf(bundle, file));
      MUSTER_DO(MakeFolder((home / file.path).parent_path()));
      WriteOptions options;
      options.mode = static_cast<mode_t>(file.mode);
      MUSTER_DO(WriteFile(home / file.path, content, options));
      ++written;
    }
  }
  return written;
}

}  // namespace muster::cli
