// What the parts of an adoption share. Internal to recipes/redis_cluster/adopt*.cc. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "recipes/redis_cluster/adopt.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster::adopting {

inline constexpr const char* kLoopback = "127.0.0.1";

// What the files in a member's data folder are called, where nobody says otherwise.
inline const std::map<std::string, std::string> kDataFiles = {{"cluster-config-file", "nodes.conf"},
                                                              {"dbfilename", "dump.rdb"},
                                                              {"appendfilename", "appendonly.aof"},
                                                              {"appenddirname", "appendonlydir"}};

struct Seat {
  const FoundMember* found = nullptr;
  const redis::ClusterNode* node = nullptr;  // its own line
  std::string name;                          // that it gets
  std::string host;                          // in the file
};

// All of it in the order of the file.
struct Picture {
  const FoundCluster* found = nullptr;
  std::string service;
  std::vector<Seat> seats;
  std::vector<std::pair<std::string, std::string>> hosts;  // name and address
  int masters = 0;                                         // that have slots
  int replicas = 0;                                        // of each, rounded up
  redis::ConfSettings settings;                            // for the file's `settings`
  std::string node_timeout;                                // "": muster's own
  std::string user;                                        // "": whoever muster takes
  bool password = false;

  const Seat* OfNode(const std::string& id) const;  // nullptr: nobody is
  std::vector<const Seat*> ReplicasOf(const Seat& master) const;
  int wanted() const { return masters * (1 + replicas); }
};

Picture PictureFrom(const FoundCluster& found, const std::string& service);
// The value that most members have, and the names of those that have another.
std::string MostHave(const Picture& picture, const std::string& setting, std::vector<std::string>* others);
// "" where the member doesn't tell it.
std::string SettingOf(const FoundMember& member, const std::string& name);
// Of redis.conf, where a cluster file says nothing.
std::string MustersOwn(const std::string& setting);
// Known, not muster's to write, and the same for all members.
bool IsCarried(const std::string& setting);
// As the file's `node_timeout` has it: "15s" of Redis' "15000".
std::string TimeoutText(const std::string& milliseconds);

std::string FileOf(const Picture& picture, const AdoptRequest& request);
std::vector<Finding> Differences(const Picture& picture);

}  // namespace muster::redis_cluster::adopting
