#include "recipes/redis_cluster/newcomer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/within.h"
#include "recipes/redis/member_layout.h"
#include "recipes/redis/words.h"

namespace muster::redis_cluster {
namespace {

constexpr const char *kDiskless = "repl-diskless-sync", *kDelay = "repl-diskless-sync-delay",
                     *kMost = "repl-diskless-sync-max-replicas";
constexpr int kDisklessByItself = 7;  // the first release that is so

bool IsNewcomer(const redis::ClusterView& view) {
  const redis::ClusterNode* myself = view.myself();
  return !myself || (!myself->replica && myself->slots.empty() && view.ReplicasOf(myself->id).empty());
}

// Whether it announced itself elsewhere when it wrote that down.
bool HasMoved(const redis::ClusterView& view, const Instance& instance) {
  const redis::ClusterNode* myself = view.myself();
  const auto ports = instance.ports.find("port");
  if (!myself || myself->port == 0 || ports == instance.ports.end()) return false;
  return myself->port != ports->second.first ||
         (!myself->address.empty() && myself->address != instance.address);
}

// Whether it follows a node that may have been at this address. One that is gone itself asks nobody.
bool LooksForAnother(const redis::ClusterView& view, const redis::ClusterNode& myself,
                     const redis::ClusterNode& node) {
  if (!node.replica || node.failed || node.master_id == myself.id || node.id == myself.id) return false;
  const redis::ClusterNode* master = view.Find(node.master_id);
  return !master || master->no_address || master->address.empty() ||
         (master->address == myself.address && master->port == myself.port);
}

// With `port` 0 it is a client that takes a copy, and no member.
bool IsStranger(const redis::ClusterView& view, const redis::ClusterNode& myself,
                const redis::ReplicaLink& link) {
  if (link.port == 0) return false;
  if (const redis::ClusterNode* known = view.At(link.address, link.port))
    return known->master_id != myself.id;
  // It may come from another address than it tells.
  const auto own = view.ReplicasOf(myself.id);
  return std::none_of(own.begin(), own.end(),
                      [&](const redis::ClusterNode* one) { return one->port == link.port; });
}

}  // namespace

bool StartsAsNewcomer(const Operator::Context& context) {
  const auto& extra = context.instance->extra;
  const auto elsewhere = extra.find(kDataElsewhere);
  const auto given = extra.find("file cluster-config-file");
  const std::string folder = elsewhere == extra.end() ? context.folder + "/data" : elsewhere->second;
  const auto text = ReadWithin(folder, given == extra.end() ? "nodes.conf" : given->second);
  if (!text.ok()) return text.error().code() == "file-missing";
  if (text->empty()) return true;  // it had only begun
  const auto view = redis::ParseClusterNodes(*text);
  return view.ok() && (IsNewcomer(*view) || HasMoved(*view, *context.instance));
}

std::vector<std::string> WithholdingWords(const Instance& instance) {
  std::vector<std::string> words = {std::string("--") + kDiskless, "yes", std::string("--") + kDelay,
                                    kWithheldDelay};
  if (redis::SettingsIn(instance).contains(kMost)) {
    words.push_back(std::string("--") + kMost);
    words.emplace_back("0");
  }
  return words;
}

std::map<std::string, std::string> GivingSettings(const Instance& instance, const std::string& version) {
  const int release = redis::ParseNumber<int>(version.substr(0, version.find('.'))).value_or(0);
  std::map<std::string, std::string> settings = {{kDiskless, release < kDisklessByItself ? "no" : "yes"},
                                                 {kDelay, "5"}};
  for (const auto& [name, value] : redis::SettingsIn(instance)) {
    if (name == kDiskless || name == kDelay || name == kMost) settings[name] = value;
  }
  return settings;
}

std::vector<std::string> Strangers(const Answers& now) {
  std::vector<std::string> strangers;
  const redis::ClusterNode* myself = now.view.myself();
  if (!myself) return strangers;
  for (const redis::ReplicaLink& link : now.info.replicas) {
    if (IsStranger(now.view, *myself, link))
      strangers.push_back(fmt::format("{}:{}", link.address, link.port));
  }
  return strangers;
}

bool MayGive(const Answers& now) {
  if (now.loading || IsNewcomer(now.view) || !Strangers(now).empty()) return false;
  const redis::ClusterNode& myself = *now.view.myself();
  return std::none_of(now.view.nodes.begin(), now.view.nodes.end(), [&](const redis::ClusterNode& node) {
    return LooksForAnother(now.view, myself, node);
  });
}

}  // namespace muster::redis_cluster
