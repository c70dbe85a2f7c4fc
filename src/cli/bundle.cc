#include "cli/bundle.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/digest.h"
#include "base/files.h"
#include "plan/plan.h"
#include "recipes/recipe.h"
#include "spec/spec.h"

namespace muster::cli {
namespace {

spec::Shapes RecipeShapes() {
  spec::Shapes shapes;
  for (const auto& [kind, recipe] : AllRecipes()) shapes.emplace(kind, recipe.layout->SettingsShape());
  return shapes;
}

bool IsText(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    const auto first = static_cast<unsigned char>(bytes[i]);
    if (first == 0) return false;
    const size_t length = first < 0x80    ? 1
                          : first >= 0xf5 ? 0
                          : first >= 0xf0 ? 4
                          : first >= 0xe0 ? 3
                          : first >= 0xc2 ? 2
                                          : 0;
    if (length == 0 || i + length > bytes.size()) return false;
    uint32_t point = length == 1 ? first : first & (0xffu >> (length + 1));
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3fu);
    }
    const bool too_long = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (too_long || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += length;
  }
  return true;
}

Finding FileFinding(const Bundle& bundle, const spec::FileReference& reference, const fs::path& path,
                    const std::string& what) {
  Finding finding;
  finding.code = "file-missing";
  finding.file = bundle.file_name;
  finding.mark = reference.mark;
  finding.message = "\"" + reference.path + "\" " + what;
  finding.fix = "put the file at " + path.lexically_normal().string() + ", or correct the path";
  return finding;
}

// Reads one file into the bundle; what keeps it from being read is a finding.
void AddFile(Bundle& bundle, const spec::FileReference& reference, const fs::path& folder) {
  if (bundle.cluster.files.count(reference.path)) return;
  const fs::path path =
      fs::path(reference.path).is_absolute() ? fs::path(reference.path) : folder / reference.path;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    bundle.findings.push_back(FileFinding(bundle, reference, path, "is a folder; a file is needed here"));
    return;
  }
  BundledFile file;
  file.size = static_cast<int64_t>(fs::file_size(path, error));
  const auto digest =
      error ? Result<std::string>(Error::NotFound("file-missing", "no such file")) : FileSha256(path);
  if (!digest.ok()) {
    const bool there = fs::exists(path, error);
    bundle.findings.push_back(FileFinding(bundle, reference, path, there ? "can't be read" : "is not there"));
    return;
  }
  file.sha256 = *digest;
  file.executable = access(path.c_str(), X_OK) == 0;
  if (file.size <= kInlineMaxBytes) {
    auto text = ReadFile(path);
    if (text.ok() && IsText(*text)) file.text = std::move(text).value();
  }
  if (reference.secret && !reference.open && !file.text.empty()) bundle.unsent.insert(reference.path);
  bundle.cluster.files[reference.path] = std::move(file);
  bundle.paths[reference.path] = path;
}

}  // namespace

Result<Bundle> LoadBundle(const fs::path& file, bool rehearse) {
  std::error_code error;
  if (fs::is_directory(file, error)) {
    return Error::Invalid("file-unreadable", "{} is a folder", file.string())
        .Hint("name the cluster file in it: {}", (file / "muster.yaml").string());
  }
  Bundle bundle;
  bundle.file_name = file.string();
  bundle.rehearse = rehearse;
  auto text = ReadFile(file);
  if (!text.ok()) {
    return std::move(text).error().Hint(
        "name the cluster file behind the command; without one it is ./muster.yaml");
  }
  bundle.text = std::move(text).value();
  const spec::Shapes shapes = RecipeShapes();
  spec::Parsed parsed = spec::ParseCluster(bundle.text, bundle.file_name, shapes);
  bundle.cluster = std::move(parsed.cluster);
  bundle.cluster.rehearsal = rehearse;  // some warnings have no meaning there
  bundle.findings = std::move(parsed.findings);
  for (const spec::FileReference& reference : spec::FilesIn(bundle.cluster, shapes)) {
    AddFile(bundle, reference, file.parent_path());
  }
  if (parsed.readable) {
    for (Finding& finding : plan::CheckCluster(bundle.cluster, WallNow())) {
      if (spec::FollowsFromShape(finding, parsed)) continue;
      const auto path = bundle.paths.find(finding.file);
      finding.file = path == bundle.paths.end() ? bundle.file_name : path->second.string();
      bundle.findings.push_back(std::move(finding));
    }
  }
  SortFindings(bundle.findings, bundle.file_name);
  // After the check: what the file says of its hosts is said with the addresses that it gives them.
  if (rehearse) spec::Rehearse(bundle.cluster, 1);
  return bundle;
}

void SortFindings(std::vector<Finding>& findings, const std::string& cluster_file) {
  const auto before = [&](const Finding& a, const Finding& b) {
    if (a.file == b.file) return std::tie(a.mark.line, a.mark.column) < std::tie(b.mark.line, b.mark.column);
    return std::pair(a.file != cluster_file, a.file) < std::pair(b.file != cluster_file, b.file);
  };
  std::stable_sort(findings.begin(), findings.end(), before);
}

nlohmann::json BundleJson(const Bundle& bundle) {
  nlohmann::json files = nlohmann::json::object();
  for (const auto& [path, file] : bundle.cluster.files) {
    files[path] = {{"sha256", file.sha256}, {"size", file.size}, {"executable", file.executable}};
    if (!file.text.empty() || file.size == 0) files[path]["text"] = file.text;
  }
  return {{"file_name", fs::path(bundle.file_name).filename().string()},
          {"text", bundle.text},
          {"rehearse", bundle.rehearse},
          {"files", std::move(files)}};
}

std::string ClusterNameIn(const fs::path& file) {
  const auto text = ReadFile(file);
  if (!text.ok()) return "";
  return spec::ParseCluster(*text, file.string(), RecipeShapes()).cluster.name;
}

}  // namespace muster::cli
