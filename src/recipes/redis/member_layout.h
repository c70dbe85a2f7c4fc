// What members of all kinds of Redis have alike, as it is laid out and as it is found in a cluster file.
// Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/finding.h"
#include "recipes/common/variables.h"
#include "recipes/recipe.h"
#include "recipes/redis/conf.h"

namespace muster::redis {

inline constexpr const char* kConfigFile = "redis.conf";
inline constexpr const char* kSecretFile =
    "secret.conf";  // requirepass and masterauth; included by the other
// "set NAME" in Instance::extra: a setting of redis.conf as CONFIG GET would tell it, so that each is a part
// of its own, with a cost of its own.
inline constexpr std::string_view kSetting = "set ";

// The keys that each kind has: password, settings, program, artifact, health, limits, stop, restart, log.
std::vector<Shape::Field> MemberKeys();

// `settings:` of the service over `own`, by today's names.
ConfSettings SettingsOver(ConfSettings own, const Service& service);

// What all members of the service have in common: process, limits, settings as parts, times.
Instance CommonPart(const Service& service, const Cluster& cluster, const ConfSettings& settings);

// redis.conf: what nobody may set but muster, then the settings, then the secret's own file.
InstanceFile ConfigFile(const std::string& member, const std::vector<Directive>& owned,
                        const ConfSettings& settings, bool password);
InstanceFile SecretFile(const std::string& password);

// A probe by operator on `port`, with what `health:` says.
Probe ProbeOf(const Service& service, int port);

// What a change of a part that CommonPart or one of the files makes costs.
Impact MemberImpactOf(std::string_view part);

// "set maxmemory" and the like, of an instance: what Reload sets.
std::map<std::string, std::string> SettingsIn(const Instance& instance);

// What can be wrong with MemberKeys' values though their shape is right. `settings` as SettingsOver gave
// them.
std::vector<Finding> CheckMember(const Service& service, const Cluster& cluster,
                                 const std::map<std::string, PortRange>& ports, const ConfSettings& settings);

}  // namespace muster::redis
