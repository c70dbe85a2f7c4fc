#include "recipes/common/variables.h"

#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "model/secret.h"
#include "model/template.h"
#include "model/words.h"
#include "recipes/common/placement.h"
#include "recipes/recipe.h"

namespace muster::common {
namespace {

constexpr std::string_view kOwn[] = {"instance", "service", "ordinal", "id", "host", "address", "cluster"};
constexpr std::string_view kPaths[] = {"artifact", "folder", "data", "logs"};

}  // namespace

Variables::Variables(const Service& service, const Cluster& cluster, const Placement& placement)
    : service_(service), cluster_(cluster), placement_(placement) {}

void Variables::Choose(const std::string& instance, const Place& place, const std::string& id,
                       const std::string& address) {
  instance_ = instance;
  place_ = &place;
  id_ = id;
  address_ = address;
}

std::optional<std::string> Variables::Lookup(std::string_view name) {
  if (name == "instance") return instance_;
  if (name == "service") return service_.name;
  if (name == "ordinal") return std::to_string(place_->ordinal);
  if (name == "id") return id_;
  if (name == "host") return place_->host;
  if (name == "address") return address_;
  if (name == "cluster") return cluster_.name;
  for (const std::string_view path : kPaths) {
    if (name == path) return PathMarker(path);
  }
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string head(name.substr(0, dot));
  std::string rest(name.substr(dot + 1));
  if (head == "secret") return SecretMarker(rest);
  if (head == "ports") {
    const bool last = rest.ends_with(".last");
    if (last) rest.resize(rest.size() - 5);
    const auto found = place_->ports.find(rest);
    if (found == place_->ports.end()) return std::nullopt;
    return std::to_string(found->second.first + (last ? found->second.count - 1 : 0));
  }
  // The rest is the same for all members.
  const auto known = shared_.find(name);
  if (known != shared_.end()) return known->second;
  std::optional<std::string> value;
  if (head == "peers") {
    value = Endpoints(cluster_, placement_, service_.name, rest);
  } else if (const Service* other = cluster_.FindService(head)) {
    const Recipe* recipe = FindRecipe(other->kind);
    if (recipe) value = recipe->layout->Export(rest, *other, cluster_, placement_);
  }
  shared_[std::string(name)] = value;
  return value;
}

std::string Variables::Expand(std::string_view text) {
  return SealWords(muster::Expand(text, [this](std::string_view name) { return Lookup(name); }));
}

namespace {

// As the server takes them.
bool IsSecretName(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
             std::string::npos;
}

bool IsKnown(const Known& known, const std::string& name) {
  for (const std::string_view own : kOwn) {
    if (name == own) return true;
  }
  if (name == "artifact") return known.artifact;
  for (const std::string_view path : kPaths) {
    if (name == path) return true;
  }
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return false;
  const std::string head = name.substr(0, dot);
  std::string rest = name.substr(dot + 1);
  if (head == "secret") return IsSecretName(rest);
  if (head == "ports" && rest.ends_with(".last")) rest.resize(rest.size() - 5);
  const auto ports_untold = [](const Service& service) {
    const Value* ports = service.settings.Find("ports");
    return ports && ports->stand_in;
  };
  if (head == "ports" || head == "peers") return known.ports.contains(rest) || ports_untold(*known.service);
  const Service* other = known.cluster->FindService(head);
  if (!other) return false;
  const Recipe* recipe = FindRecipe(other->kind);
  if (!recipe || ports_untold(*other)) return true;  // what is wrong there has been told
  static const Placement empty;
  return recipe->layout->Export(rest, *other, *known.cluster, empty).has_value();
}

// `told` findings have had one before it: comparing with all names takes its time, and where nearly
// everything is wrong the first are enough.
std::string Fix(const Known& known, const std::string& name, size_t told) {
  constexpr size_t kComparedMost = 2000, kListedMost = 20;
  if (name.empty()) return "close it with }}";
  if (name == "artifact") return "give the service an `artifact:`";
  if (name.starts_with("secret.")) return "a secret's name has letters, digits, _ and - only";
  const size_t names =
      std::size(kOwn) + std::size(kPaths) + known.ports.size() + known.cluster->services.size();
  if (told * names > kComparedMost) return "define it, or correct the name";
  std::vector<std::string> possible(std::begin(kOwn), std::end(kOwn));
  for (const std::string_view path : kPaths) possible.emplace_back(path);
  for (const auto& [port, range] : known.ports) {
    possible.push_back("ports." + port);
    possible.push_back("peers." + port);
  }
  for (const Service& service : known.cluster->services) possible.push_back(service.name + ".endpoints");
  const auto near = Nearest(name, possible);
  if (near) return fmt::format("did you mean {{{{{}}}}}?", *near);
  const std::string more =
      possible.size() > kListedMost ? fmt::format(" and {} more", possible.size() - kListedMost) : "";
  possible.resize(std::min(possible.size(), kListedMost));
  return "known are: " + Join(possible, ", ") + more;
}

}  // namespace

void CheckVariables(const Known& known, const Value& value, std::vector<Finding>& findings) {
  for (const Variable& variable : VariablesIn(value.text)) {
    if (!variable.name.empty() && IsKnown(known, variable.name)) continue;
    Mark mark = value.mark;
    const bool one_line = value.text.find('\n') == std::string::npos;
    if (one_line) mark.column += static_cast<int>(variable.offset) + (value.quoted ? 1 : 0);
    findings.push_back({.severity = Severity::kError,
                        .code = "unknown-variable",
                        .mark = mark,
                        .message = fmt::format("{{{{{}}}}} stands for nothing here", variable.name),
                        .fix = Fix(known, variable.name, findings.size()),
                        .file = ""});
  }
}

void CheckFileVariables(const Known& known, const std::string& path, const std::string& text, Mark mark,
                        std::vector<Finding>& findings) {
  for (const Variable& variable : VariablesIn(text)) {
    if (!variable.name.empty() && IsKnown(known, variable.name)) continue;
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(variable.offset), '\n');
    findings.push_back(
        {.severity = Severity::kError,
         .code = "unknown-variable",
         .mark = mark,
         .message = fmt::format("{{{{{}}}}} in line {} of {} stands for nothing", variable.name, line, path),
         .fix = Fix(known, variable.name, findings.size()),
         .file = ""});
  }
}

}  // namespace muster::common
