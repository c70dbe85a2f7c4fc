// A cluster file with everything it refers to, read from disk: what `check`, `plan` and `up` start from.
// What opens files blocks, LoadBundle for as long as it takes to digest all of them, on the command's one
// thread; the rest is pure. Sizes are bytes.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/cluster.h"
#include "model/finding.h"

namespace muster::cli {

struct Bundle {
  std::string file_name;  // as the user wrote it
  std::string text;
  Cluster cluster;                // parsed, with `files` filled in
  std::vector<Finding> findings;  // in the file's order
  bool rehearse = false;
  std::map<std::string, std::filesystem::path> paths;  // of each file, by the path as written
  std::set<std::string> unsent;  // those that are no blobs: secret, and sealed where they arrive
};

// Texts of at most this size travel inside requests; others are uploaded as blobs.
constexpr int64_t kInlineMaxBytes = 256 << 10;

// Reads and checks `file`. An error only where the file itself can't be read, with the codes of ReadFile;
// what is wrong in it are findings. With `rehearse` the cluster's addresses are those of the first block: the
// server may choose another.
Result<Bundle> LoadBundle(const std::filesystem::path& file, bool rehearse);

// In the order of the cluster file; what stands in other files comes after it.
void SortFindings(std::vector<Finding>& findings, const std::string& cluster_file);

// The bundle as docs/api.md has it.
nlohmann::json BundleJson(const Bundle& bundle);

// The `cluster:` of a file, or "" where it can't be told.
std::string ClusterNameIn(const std::filesystem::path& file);

}  // namespace muster::cli
