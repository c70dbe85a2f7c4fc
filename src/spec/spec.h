// The cluster file: YAML text to model, with findings that carry line and column. Pure, from any thread: no
// file is opened, and what is wrong is a finding, never an error.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "model/shape.h"

namespace muster::spec {

// The settings shape of each kind, from the recipes.
using Shapes = std::map<std::string, Shape>;

struct Parsed {
  Cluster cluster;                // as much as could be read
  std::vector<Finding> findings;  // all of them, in the file's order
  bool shape_ok = false;          // YAML and shape are right (what `muster schema` accepts too)
  bool readable = false;   // it is YAML and a map; where the shape is wrong, `cluster` is what was meant
  std::vector<Mark> told;  // where the shape is wrong, in order
};

// Is the finding one that may only follow from a shape that is wrong there?
bool FollowsFromShape(const Finding& finding, const Parsed& parsed);

// Never throws, whatever the text. `file_name` goes into the findings.
Parsed ParseCluster(std::string_view text, std::string_view file_name, const Shapes& shapes);

// The paths that the file refers to (values of shape kFile), with their marks: what the bundle must carry.
struct FileReference {
  std::string path;
  Mark mark;
  bool secret = false;  // of a secret shape in one place at least
  bool open = false;    // in one place at least it isn't
};
std::vector<FileReference> FilesIn(const Cluster& cluster, const Shapes& shapes);

// A JSON Schema (draft 2020-12) that accepts what the shape stage accepts and rejects what it rejects.
std::string SchemaText(const Shapes& shapes);

// Rewrites host addresses to 127.77.BLOCK.H and marks the cluster as rehearsed. H is what `numbers` has for
// the host; those it doesn't know get the lowest that are free, in the file's order. So a host keeps its
// address wherever it stands in the file, and whatever comes and goes beside it.
void Rehearse(Cluster& cluster, int block, const std::map<std::string, int>& numbers = {});

}  // namespace muster::spec
