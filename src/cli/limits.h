// Which limits of instances this user can set on this machine: runtime/ leaves out silently what it can't, so
// somebody has to say it beforehand. Looks into /sys/fs/cgroup and writes nothing; blocks, short, any thread.
#pragma once

#include <string>

namespace muster::cli {

struct LimitSupport {
  bool memory = true;
  bool cpus = true;
  int version = 2;  // of cgroups; 0: none are there
  std::string why;  // where one of both is false: "no cgroup can be written here"
  std::string fix;
};
LimitSupport LookAtLimits(const std::string& root = "/sys/fs/cgroup");

}  // namespace muster::cli
