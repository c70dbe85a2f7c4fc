// What members of all kinds of Redis have alike, as it stands in a cluster file and as it is laid out. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "recipes/common/variables.h"
#include "recipes/recipe.h"
#include "recipes/redis/conf.h"

namespace muster::redis {

inline constexpr const char* kMainPort = "port";  // the name of its port in Place and Instance
inline constexpr const char* kConfigFile = "redis.conf";
inline constexpr const char* kSecretFile =
    "secret.conf";  // requirepass and masterauth; included by the other
// "set NAME" in Instance::extra: a setting of redis.conf as CONFIG GET would tell it, so that each is a part
// of its own, with a cost of its own.
inline constexpr std::string_view kSetting = "set ";

// A server that writes its first append-only file, as after it has taken over its primary's data anew,
// refuses to end ("Writing initial AOF, can't exit": prepareForShutdown in Redis' server.c) and forgets that
// it was asked to.
inline constexpr Duration kAsksAgain = 500ms;

// The keys that each kind has: password, settings, program, artifact, health, limits, stop, restart, log.
std::vector<Shape::Field> MemberKeys();

// `settings:` of the service over `own`, by today's names.
ConfSettings SettingsOver(ConfSettings own, const Service& service);

// What all members of the service have in common: process, limits, settings as parts, times.
Instance CommonPart(const Service& service, const Cluster& cluster, const ConfSettings& settings);

// `common_part` at its place: host, ports, and the probe that `health:` asks for. Code "host-missing" for a
// place on a host that the cluster doesn't have.
Result<Instance> MemberAt(const Instance& common_part, const Service& service, const Cluster& cluster,
                          const std::string& name, const Place& place);

// redis.conf: what nobody may set but muster, then the settings, then the secret's own file.
InstanceFile ConfigFile(const std::string& member, const std::vector<Directive>& owned,
                        const ConfSettings& settings, bool password);
InstanceFile SecretFile(const std::string& password);

// What a change of a part that CommonPart or one of the files makes costs.
Impact MemberImpactOf(std::string_view part);

// "set maxmemory" and the like, of an instance: what Reload sets.
std::map<std::string, std::string> SettingsIn(const Instance& instance);

}  // namespace muster::redis
