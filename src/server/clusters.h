// All clusters of this server, each with its controller, and cluster files on their way in. Loop thread only.
// Owned by RunServer; controllers are shared with the requests that still work on them.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "control/controller.h"
#include "model/finding.h"
#include "spec/spec.h"

namespace muster::server {

// A bundle as docs/api.md has it.
struct Incoming {
  std::string file_name;
  std::string text;
  bool rehearse = false;
  std::string files;  // JSON object by path
  std::string note;
};
// Codes "bad-message", "bad-json".
Result<Incoming> IncomingFrom(const nlohmann::json& json);

// What became of it: `bundle` only where there is no finding that is an error.
struct Accepted {
  std::shared_ptr<control::Controller> controller;
  control::Bundle bundle;
  std::vector<Finding> findings;
};

class Clusters {
 public:
  Clusters(control::Dependencies dependencies, std::string home);

  // Opens every cluster of the store and takes it over. What is wrong with one is told in the log and by its
  // status. Errors are the store's.
  Status TakeOverAll();

  std::shared_ptr<control::Controller> Find(const std::string& key);
  std::vector<std::shared_ptr<control::Controller>> All() const;
  // The cluster whose run `run` is, if it is under way.
  std::shared_ptr<control::Controller> WithRun(const std::string& run);

  // Reads and checks a file; its cluster's controller is made where there is none yet (kept once `Keep` is
  // called). Never writes. Blocks while the names of hosts are looked up. What is wrong in the file are
  // findings; codes: "bad-json", "bad-message", "no-block-free".
  Result<Accepted> Accept(const Incoming& incoming, const std::string& author);
  void Keep(const std::shared_ptr<control::Controller>& controller);
  void Forget(const std::string& key);

  // The current revision with another number of instances for `service`, or of what its kind counts
  // (recipes/size.h). Codes: "unknown-service",
  // "not-scalable", "bad-argument", and those of Controller::CurrentBundle.
  Result<Accepted> Scaled(const std::shared_ptr<control::Controller>& controller, const std::string& service,
                          const std::string& instances, const std::string& author);

  static const spec::Shapes& RecipeShapes();

 private:
  Result<Cluster> Read(const store::RevisionRow& revision, const store::ClusterRow& row) const;

  control::Dependencies dependencies_;
  std::string home_;
  std::map<std::string, std::shared_ptr<control::Controller>> controllers_;
};

}  // namespace muster::server
