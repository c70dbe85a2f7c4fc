#include "plan/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "model/template.h"
#include "recipes/recipe.h"

namespace muster::plan {
namespace {

constexpr size_t kNamesMost = 6;  // of each kind
constexpr std::string_view kEnv = "env";

std::string Named(const std::vector<std::string>& names, std::string_view what) {
  std::vector<std::string> first(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kNamesMost)));
  const size_t more = names.size() - first.size();
  return Join(first, ", ") + (more > 0 ? fmt::format(" and {} more", more) : "") + " " + std::string(what);
}

std::string PartOf(const std::map<std::string, std::string>& parts) {
  const auto found = parts.find(std::string(kEnv));
  return found == parts.end() ? "" : found->second;
}

bool SaysEnvChanged(const std::string& reason) {
  constexpr std::string_view kChanged = " changed";
  if (!reason.ends_with(kChanged)) return false;
  const auto parts = Split(reason.substr(0, reason.size() - kChanged.size()), ',');
  return std::any_of(parts.begin(), parts.end(), [](const auto& part) { return Trim(part) == kEnv; });
}

const Value* EnvOf(const Cluster& cluster, const std::string& service) {
  const Service* found = cluster.FindService(service);
  return found ? found->settings.Find("env") : nullptr;
}

// Variables for which both files have the same words, with the services that those name.
std::map<std::string, std::string> Follows(const LaidOut& before, const LaidOut& after,
                                           const std::string& service) {
  std::map<std::string, std::string> follows;
  const Value* old = EnvOf(*before.cluster, service);
  const Value* wanted = EnvOf(*after.cluster, service);
  if (!old || !wanted) return follows;
  for (const Value::Entry& entry : wanted->entries) {
    const Value* same = old->Find(entry.key);
    if (!same || same->text != entry.value.text) continue;
    std::vector<std::string> named;
    for (const Variable& variable : VariablesIn(entry.value.text)) {
      std::string other = variable.name.substr(0, variable.name.find('.'));
      const bool known = other != variable.name && after.cluster->FindService(other);
      if (known && std::find(named.begin(), named.end(), other) == named.end())
        named.push_back(std::move(other));
    }
    if (!named.empty()) follows[entry.key] = Join(named, " and ");
  }
  return follows;
}

}  // namespace

std::string ChangesOfEnv(const Instance& before, const Instance& after,
                         const std::map<std::string, std::string>& follows) {
  std::vector<std::string> changed, added, removed, same;
  std::map<std::string, std::vector<std::string>> following;  // by the services
  for (const auto& [name, value] : after.env) {
    const auto old = before.env.find(name);
    if (old == before.env.end()) {
      added.push_back(name);
    } else if (const auto other = follows.find(name); old->second != value && other != follows.end()) {
      following[other->second].push_back(name);
    } else if (old->second != value) {
      changed.push_back(name);
    } else if (value.find('\x01') != std::string::npos) {
      same.push_back(name);
    }
  }
  for (const auto& [name, value] : before.env) {
    if (!after.env.contains(name)) removed.push_back(name);
  }
  if (changed.empty() && added.empty() && removed.empty() && following.empty()) {
    return same.empty() ? "" : "a secret in " + Named(same, "changed");
  }
  std::vector<std::string> texts;
  if (!changed.empty()) texts.push_back(Named(changed, "changed"));
  for (const auto& [services, names] : following) {
    texts.push_back(Named(names, (names.size() == 1 ? "follows " : "follow ") + services));
  }
  if (!added.empty()) texts.push_back(Named(added, "added"));
  if (!removed.empty()) texts.push_back(Named(removed, "removed"));
  return Join(texts, ", ");
}

std::vector<Drift> ShownDrift(const Instance* desired, std::vector<Drift> drifts) {
  const auto open = [&](const Drift& drift) {
    if (!desired) return false;
    return std::none_of(desired->files.begin(), desired->files.end(), [&](const InstanceFile& file) {
      return file.path == drift.path && (file.secret || (file.mode & 077) == 0);
    });
  };
  for (Drift& drift : drifts) {
    if (drift.what == "changed" && !drift.difference.empty() && !open(drift))
      drift.difference = {"(not shown: the file holds a secret)"};
  }
  return drifts;
}

namespace {

// Whoever renames a service may take it for the same one.
void NoteServicesGone(const Cluster& before, const Cluster& after, Plan& plan) {
  for (const Service& service : before.services) {
    const Recipe* recipe = FindRecipe(service.kind);
    if (!recipe || !recipe->gives_before_it_leaves || after.FindService(service.name)) continue;
    plan.notes.push_back(fmt::format(
        "{} has no place in the file any more, and gives what it has to nobody: its data folders stay, and "
        "only a service of that name finds them again",
        service.name));
  }
}

}  // namespace

void ExplainChanges(LaidOut before, LaidOut after, const std::map<std::string, Observed>& observed,
                    Plan& plan) {
  std::unordered_map<std::string_view, const Instance*> old, wanted;
  for (const Instance& instance : *before.instances) old[instance.name] = &instance;
  for (const Instance& instance : *after.instances) wanted[instance.name] = &instance;
  if (!plan.steps.empty()) NoteServicesGone(*before.cluster, *after.cluster, plan);
  for (Step& step : plan.steps) {
    if (!SaysEnvChanged(step.reason)) continue;
    const auto member = step.args.find("member");
    const std::string& name = member == step.args.end() ? step.instance : member->second;
    const auto from = old.find(name), to = wanted.find(name);
    const auto stands = observed.find(name);
    if (from == old.end() || to == wanted.end() || stands == observed.end()) continue;
    if (PartOf(stands->second.parts) != PartOf(from->second->parts)) continue;  // of another revision yet
    const std::string changes =
        ChangesOfEnv(*from->second, *to->second, Follows(before, after, to->second->service));
    if (changes.empty()) continue;
    step.reason = step.reason == "env changed" ? "env: " + changes : step.reason + "; env: " + changes;
  }
}

}  // namespace muster::plan
