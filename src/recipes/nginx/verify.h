// `muster verify` for nginx: each route's rule is tried by asking nginx. On the agent's loop thread; what
// fails is a Check that hasn't passed, never an error.
#pragma once

#include "recipes/nginx/tries.h"
#include "recipes/recipe.h"

namespace muster::net {
class Loop;
}

namespace muster::nginx {

// A file that nginx is to serve, below the instance's folder.
struct ServedFile {
  std::string path;
  std::string sha256;  // of what was sent along
};

struct VerifyInput {
  net::Loop* loop = nullptr;
  std::string instance, service;
  std::string address;  // where nginx listens
  std::string folder;
  std::string token;  // makes nginx tell where a request went
  std::vector<Try> tries;
  std::vector<ServedFile> files;
  std::vector<Upstream> upstreams;
  std::set<std::string> out;  // members that are expected to get nothing
};
net::Task<std::vector<Check>> VerifyRoutes(VerifyInput input);

}  // namespace muster::nginx
