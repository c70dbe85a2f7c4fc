#include "plan/secrets.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "model/secret.h"
#include "model/template.h"

namespace muster::plan {
namespace {

constexpr std::string_view kSecret = "secret.";
constexpr std::string_view kNamesOne = "_secret";  // settings that are a secret's name: key_secret
constexpr size_t kPlacesMost = 4;                  // named in one finding

struct Place {
  std::string file;
  Mark mark;

  bool operator==(const Place&) const = default;
};
using Places = std::map<std::string, std::vector<Place>>;

class Collector {
 public:
  explicit Collector(const Cluster& cluster) : cluster_(cluster) {
    for (const Service& service : cluster.services) Walk(service.settings);
  }

  Places places;

 private:
  void Walk(const Value& value) {
    for (const Variable& variable : VariablesIn(value.text)) {
      Mark mark = value.mark;
      // Of a text over several lines only the beginning is known.
      const bool one_line = value.text.find('\n') == std::string::npos;
      if (one_line) mark.column += static_cast<int>(variable.offset) + (value.quoted ? 1 : 0);
      Add(variable, {.file = "", .mark = mark});
    }
    if (const auto file = cluster_.files.find(value.text); file != cluster_.files.end()) {
      WalkFile(file->first, file->second.text);
    }
    for (const Value& item : value.items) Walk(item);
    for (const Value::Entry& entry : value.entries) {
      // A variable of an environment may be called so too: it matters only where its value is a missing name.
      if (entry.key.ends_with(kNamesOne) && entry.value.is_scalar()) {
        AddName(entry.value.text, {.file = "", .mark = entry.value.mark});
      }
      Walk(entry.value);
    }
  }

  void WalkFile(const std::string& path, std::string_view text) {
    Mark mark{.line = 1, .column = 1};
    size_t done = 0;
    for (const Variable& variable : VariablesIn(text)) {
      for (; done < variable.offset; ++done) {
        mark = text[done] == '\n' ? Mark{.line = mark.line + 1, .column = 1}
                                  : Mark{.line = mark.line, .column = mark.column + 1};
      }
      Add(variable, {.file = path, .mark = mark});
    }
  }

  void Add(const Variable& variable, Place place) {
    if (variable.name.starts_with(kSecret)) AddName(variable.name.substr(kSecret.size()), std::move(place));
  }

  void AddName(const std::string& name, Place place) {
    std::vector<Place>& known = places[name];
    if (std::find(known.begin(), known.end(), place) == known.end()) known.push_back(std::move(place));
  }

  const Cluster& cluster_;
};

std::string Text(const Place& place) {
  const std::string spot = fmt::format("{}:{}", place.mark.line, place.mark.column);
  return place.file.empty() ? spot : place.file + ":" + spot;
}

}  // namespace

std::string SetSecretCommand(const std::string& name, const std::string& cluster) {
  return fmt::format("muster secret set {} -c {}", name, cluster);
}

Error WithSecretNamed(Error error, const Instance& instance, const std::string& cluster) {
  constexpr std::string_view kNobodys = "muster secret set NAME";
  std::string hint = error.hint();
  const size_t at = hint.find(kNobodys);
  std::set<std::string> names;
  for (const InstanceFile& file : instance.files) {
    for (const std::string& name : SecretNamesIn(file.content)) names.insert(name);
  }
  if (at == std::string::npos || names.size() != 1) return error;
  hint.replace(at, kNobodys.size(), SetSecretCommand(*names.begin(), cluster));
  return std::move(error).Hint("{}", hint);
}

std::set<std::string> UnsetSecrets(const std::vector<Instance>& instances, const SecretDigests& secrets) {
  std::set<std::string> unset;
  const auto look = [&](const std::string& text) {
    if (text.find('\x01') == std::string::npos) return;
    for (const std::string& name : SecretNamesIn(text)) {
      if (!secrets.contains(name) && !secrets.contains(kAnySecret)) unset.insert(name);
    }
  };
  for (const Instance& instance : instances) {
    for (const auto& [name, value] : instance.env) look(value);
    for (const InstanceFile& file : instance.files) look(file.content);
  }
  return unset;
}

std::vector<Finding> SecretFindings(const Cluster& cluster, const std::set<std::string>& unset,
                                    const std::vector<std::string>& set) {
  const Collector collector(cluster);
  std::vector<Finding> findings;
  for (const std::string& name : unset) {
    Finding finding{.severity = Severity::kError,
                    .code = "secret-missing",
                    .mark = {},
                    .message = fmt::format("the secret {} of {} is not set", name, cluster.key()),
                    .fix = SetSecretCommand(name, cluster.key()),
                    .file = ""};
    if (const auto near = Nearest(name, set)) {
      finding.fix = fmt::format("did you mean {{{{secret.{}}}}}? If not: {}", *near, finding.fix);
    }
    if (const auto found = collector.places.find(name); found != collector.places.end()) {
      const std::vector<Place>& places = found->second;
      finding.mark = places[0].mark;
      finding.file = places[0].file;
      std::vector<std::string> others;
      for (size_t i = 1; i < std::min(places.size(), kPlacesMost); ++i) others.push_back(Text(places[i]));
      if (places.size() > kPlacesMost) others.push_back(fmt::format("{} more", places.size() - kPlacesMost));
      if (!others.empty()) finding.message += "; it is needed at " + Join(others, ", ") + " too";
    }
    findings.push_back(std::move(finding));
  }
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.file, a.mark.line, a.mark.column) < std::tie(b.file, b.mark.line, b.mark.column);
  });
  return findings;
}

Error SecretsMissing(const Cluster& cluster, const std::set<std::string>& unset) {
  std::vector<std::string> commands, evidence;
  for (const Finding& finding : SecretFindings(cluster, unset)) {
    commands.push_back(finding.fix);
    evidence.push_back(finding.mark.line > 0
                           ? Text({.file = finding.file, .mark = finding.mark}) + ": " + finding.message
                           : finding.message);
  }
  const std::string what = unset.size() == 1 ? fmt::format("the secret {}, which is not set", *unset.begin())
                                             : fmt::format("{} secrets that are not set: {}", unset.size(),
                                                           Join({unset.begin(), unset.end()}, ", "));
  return Error::NotFound("secret-missing", "{} needs {}", cluster.key(), what)
      .Hint("{}", Join(commands, "; "))
      .Evidence(std::move(evidence));
}

}  // namespace muster::plan
