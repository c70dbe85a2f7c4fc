#include "cli/session.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/bundle.h"
#include "cli/home.h"
#include "cli/server_start.h"

namespace muster::cli {
namespace {

constexpr std::string_view kRehearsal = "@rehearsal";

bool Knows(const std::vector<KnownCluster>& known, const std::string& key) {
  return std::any_of(known.begin(), known.end(),
                     [&](const KnownCluster& cluster) { return cluster.key == key; });
}

std::vector<std::string> Keys(const std::vector<KnownCluster>& known) {
  std::vector<std::string> keys;
  for (const KnownCluster& cluster : known) keys.push_back(cluster.key);
  return keys;
}

std::string KeyOf(const std::string& name, bool rehearse) {
  const bool is_key = name.find('@') != std::string::npos;
  return rehearse && !is_key ? name + std::string(kRehearsal) : name;
}

// That both are rehearsals makes two names no more alike; and one that is another's but for that is meant so.
std::optional<std::string> NearestKey(const std::vector<KnownCluster>& known, const std::string& key) {
  const auto split = [](const std::string& whole) {
    const size_t at = std::min(whole.find('@'), whole.size());
    return std::pair(whole.substr(0, at), whole.substr(at));
  };
  const auto [name, kind] = split(key);
  std::vector<std::string> names;
  for (const KnownCluster& cluster : known) {
    const auto [other, other_kind] = split(cluster.key);
    if (other != name && other_kind == kind) names.push_back(other);
  }
  const auto near = Nearest(name, names);
  return near ? std::optional(*near + kind) : std::nullopt;
}

Result<std::string> NamedCluster(const std::vector<KnownCluster>& known, const std::string& name,
                                 bool rehearse) {
  const std::string key = KeyOf(name, rehearse);
  if (Knows(known, key)) return key;
  if (!rehearse && Knows(known, KeyOf(name, true))) return KeyOf(name, true);
  Error error = Error::NotFound("no-cluster", "there is no cluster {}", key);
  const auto nearest = NearestKey(known, key);
  if (nearest) return std::move(error).Hint("did you mean {}", *nearest);
  if (known.empty()) return std::move(error).Hint("bring one up: muster up FILE");
  return std::move(error).Hint("there is {}", Join(Keys(known), ", "));
}

}  // namespace

Status EnsureServer(Context& context) {
  // A server that has just been killed may still take a connection, and answers no more.
  for (int i = 0; i < 20 && SocketAnswers(ApiSocket(context.home)); ++i) {
    ApiClient probe(ApiSocket(context.home), CallerName());
    const auto version = probe.Ask("GET", "/v1/version");
    if (version.ok() || version.error().code() == "timeout") return Done();
    std::this_thread::sleep_for(25ms);
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error)
    return Error::Internal("server-failed", "muster can't find its own program: {}", error.message());
  return StartServer(program, context.home);
}

Result<std::unique_ptr<ApiClient>> Connect(Context& context, Need need) {
  MUSTER_DO(HomeOpen(context.home));
  if (need == Need::kStore && !StoreExists(context.home) && !SocketAnswers(ApiSocket(context.home))) {
    return Error::NotFound("nothing-runs", "nothing runs here").Hint("bring a cluster up: muster up FILE");
  }
  MUSTER_DO(EnsureServer(context));
  auto api = std::make_unique<ApiClient>(ApiSocket(context.home), CallerName());
  api->cluster_option = &context.console.cluster_option;
  return api;
}

std::string ClusterOption(const std::vector<KnownCluster>& known, const std::string& key) {
  // As ChooseCluster has it: who is down isn't meant as long as another is up.
  bool down = false;
  for (const KnownCluster& cluster : known) down |= cluster.key == key && cluster.down;
  const bool alone = std::none_of(known.begin(), known.end(), [&](const KnownCluster& other) {
    return other.key != key && (down || !other.down);
  });
  const bool is_known = known.empty() || Knows(known, key);
  return alone && is_known ? "" : " -c " + key;
}

Result<std::string> ChooseCluster(const std::vector<KnownCluster>& known, const std::string& named,
                                  const std::string& in_file, bool rehearse) {
  if (!named.empty()) return NamedCluster(known, named, rehearse);
  if (!in_file.empty()) return NamedCluster(known, in_file, rehearse);
  std::vector<KnownCluster> candidates;
  for (const bool with_down : {false, true}) {
    for (const KnownCluster& cluster : known) {
      const bool rehearsal = cluster.key.find(kRehearsal) != std::string::npos;
      if (rehearse && !rehearsal) continue;
      if (cluster.down == with_down) candidates.push_back(cluster);
    }
    if (!candidates.empty()) break;
  }
  if (candidates.size() == 1) return candidates[0].key;
  if (candidates.empty()) {
    return Error::NotFound("no-cluster", "there is no cluster").Hint("bring one up: muster up FILE");
  }
  return Error::Invalid("which-cluster", "there is more than one cluster: {}", Join(Keys(candidates), ", "))
      .Hint("say which: --cluster {}", candidates[0].key);
}

Result<std::string> ChooseByFolder(const std::vector<KnownCluster>& known, const std::string& in_file,
                                   bool rehearse, bool acts) {
  const auto chosen = ChooseCluster(known, "", in_file, rehearse);
  if (in_file.empty() || chosen.ok() || chosen.error().code() != "no-cluster") return chosen;
  if (!acts) return ChooseCluster(known, "", "", rehearse);
  Error error =
      Error::NotFound("no-cluster", "there is no cluster {}, which ./muster.yaml names; nothing was done",
                      KeyOf(in_file, rehearse));
  std::string hint = std::string("bring it up: muster up") + (rehearse ? " --rehearse" : "");
  if (!known.empty()) hint += fmt::format("; or say which is meant: -c {}", Join(Keys(known), ", -c "));
  return std::move(error).Hint("{}", hint);
}

Result<std::vector<KnownCluster>> KnownClusters(ApiClient& api) {
  MUSTER_TRY(const Json answer, api.Ask("GET", "/v1/clusters"));
  std::vector<KnownCluster> known;
  for (const Json& cluster : List(answer, "clusters")) {
    known.push_back({Text(cluster, "cluster"), Text(cluster, "name"), Flag(cluster, "down")});
  }
  return known;
}

namespace {

// The name that --file or ./muster.yaml gives, "" where neither does. Codes "file-missing", "no-cluster".
Result<std::string> NameInFile(const ClusterArgs& args) {
  std::string in_file;
  if (args.cluster.empty()) {
    std::error_code error;
    if (!args.file.empty()) {
      if (!fs::exists(args.file, error)) {
        return Error::NotFound("file-missing", "{}: no such file", args.file.string());
      }
      in_file = ClusterNameIn(args.file);
      if (in_file.empty()) {
        return Error::Invalid("no-cluster", "{} names no cluster", args.file.string())
            .Hint("muster check {}", args.file.string());
      }
    } else if (fs::exists("muster.yaml", error)) {
      in_file = ClusterNameIn("muster.yaml");
    }
  }
  return in_file;
}

Result<std::string> FindCluster(const std::vector<KnownCluster>& known, const ClusterArgs& args, For what) {
  MUSTER_TRY(const std::string in_file, NameInFile(args));
  if (what == For::kNew) {
    const std::string& name = args.cluster.empty() ? in_file : args.cluster;
    // A name given by hand is meant as it is written: a secret may be set before its cluster is there.
    if (!name.empty() && (args.rehearse || name == in_file || Knows(known, name)))
      return KeyOf(name, args.rehearse);
    if (!name.empty()) {
      auto existing = NamedCluster(known, name, args.rehearse);
      if (existing.ok()) return existing;
      const std::string key = KeyOf(name, args.rehearse);
      if (const auto near = NearestKey(known, key)) {
        return Error::NotFound("no-cluster", "there is no cluster {}", key)
            .Hint("did you mean {}? For a cluster to come name its file: --file FILE", *near);
      }
      return key;
    }
  }
  if (!args.cluster.empty() || !args.file.empty()) {
    return ChooseCluster(known, args.cluster, in_file, args.rehearse);
  }
  return ChooseByFolder(known, in_file, args.rehearse, what != For::kLooking);
}

}  // namespace

Result<std::string> ClusterFor(ApiClient& api, const ClusterArgs& args, For what) {
  MUSTER_TRY(const std::vector<KnownCluster> known, KnownClusters(api));
  auto key = FindCluster(known, args, what);
  if (key.ok() && api.cluster_option) *api.cluster_option = ClusterOption(known, *key);
  return key;
}

Result<std::string> ClusterLookedAt(const Context& context, ApiClient& api, const ClusterArgs& args) {
  MUSTER_TRY(std::string key, ClusterFor(api, args, For::kLooking));
  if (!args.cluster.empty() || !args.file.empty()) return key;
  MUSTER_TRY(const std::string in_file, NameInFile(args));
  if (!in_file.empty() && key != in_file && key != KeyOf(in_file, true)) {
    context.console.ErrLine(
        fmt::format("there is no cluster {}, which ./muster.yaml names; this is {}", in_file, key));
  }
  return key;
}

Result<std::string> ClusterToBe(Context& context, const ClusterArgs& args) {
  MUSTER_DO(HomeOpen(context.home));
  const bool here = StoreExists(context.home) || SocketAnswers(ApiSocket(context.home));
  if (!here) return FindCluster({}, args, For::kNew);
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  return ClusterFor(*api, args, For::kNew);
}

void PrintJson(const Context& context, const Json& json) {
  context.console.OutText(json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace muster::cli
