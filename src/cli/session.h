// What most commands begin with: a server that answers, and the cluster that is meant. Blocks, on the
// command's one thread; ChooseCluster and ClusterOption are pure. Errors of whoever asks the server are the
// server's, and "server-gone", besides those named below.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/api_client.h"
#include "cli/command.h"

namespace muster::cli {

// The options that choose a cluster, and --json.
struct ClusterArgs {
  std::string cluster;
  std::filesystem::path file;
  bool rehearse = false;
  bool json = false;
};

// Adds those options to a command. `file_letter` 0 where -f means something else.
template <class Args>
Declare<Args>& WithCluster(Declare<Args>& declare, char file_letter = 'f') {
  return declare.Option("cluster", 'c', "NAME", &Args::cluster, "The cluster, by its name")
      .Offers(Completes::kCluster)
      .Option("file", file_letter, "FILE", &Args::file, "The cluster that this file names")
      .Offers(Completes::kFile)
      .Flag("rehearse", 0, &Args::rehearse, "The rehearsed cluster, NAME@rehearsal")
      .Flag("json", 0, &Args::json, "Print JSON");
}

enum class Need {
  kServer,  // starts one where none answers
  kStore,   // the same, but only if there is something to know; else code "nothing-runs"
};
// Code "home-denied" where the home isn't this user's to use.
Result<std::unique_ptr<ApiClient>> Connect(Context& context, Need need);
// Starts the server if nobody answers. Code "server-failed".
Status EnsureServer(Context& context);

struct KnownCluster {
  std::string key, name;
  bool down = false;
};
// The key of the cluster that is meant. `named` is a name or key given by hand, `in_file` the name that a
// cluster file gives; both may be empty. A name that only its rehearsal bears means the rehearsal. Codes
// "no-cluster", "which-cluster".
Result<std::string> ChooseCluster(const std::vector<KnownCluster>& known, const std::string& named,
                                  const std::string& in_file, bool rehearse);
// The same where nobody says which: `in_file` is what ./muster.yaml gives, "" where there is none. Who only
// looks is shown another where that one isn't there; who acts in the wrong folder is refused.
Result<std::string> ChooseByFolder(const std::vector<KnownCluster>& known, const std::string& in_file,
                                   bool rehearse, bool acts);

Result<std::vector<KnownCluster>> KnownClusters(ApiClient& api);
// " -c KEY" where there are others that a command without it could mean; else "".
std::string ClusterOption(const std::vector<KnownCluster>& known, const std::string& key);
enum class For { kActing, kLooking, kNew };
// The cluster that is meant, of those the server knows and by what --file or ./muster.yaml says. kNew: one
// that the server doesn't know is fine, unless its name is nearly that of one it knows.
Result<std::string> ClusterFor(ApiClient& api, const ClusterArgs& args, For what = For::kActing);
// Of who only looks. Says so on standard error where it isn't the one that ./muster.yaml names.
Result<std::string> ClusterLookedAt(const Context& context, ApiClient& api, const ClusterArgs& args);

// kNew without a server where none was ever here: what is there is looked at, nothing is started for it.
Result<std::string> ClusterToBe(Context& context, const ClusterArgs& args);

void PrintJson(const Context& context, const Json& json);

}  // namespace muster::cli
