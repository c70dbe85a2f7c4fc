// The commands for secrets. A value comes from standard input or a hidden prompt, never from an argument:
// those can be read by everyone on the machine.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "cli/table.h"

namespace muster::cli {
namespace {

constexpr const char* kSecrets = "Secrets";
constexpr size_t kSecretMaxBytes = 64 << 10;

struct SecretArgs : ClusterArgs {
  std::string name;
};

Result<std::string> ReadValue(Context& context, const std::string& name) {
  if (!context.console.in_is_terminal) {
    MUSTER_TRY(const std::string value, ReadInput(kSecretMaxBytes));
    if (!value.empty()) return value;
    return Error::Invalid("secret-empty", "standard input has no value for {}", name)
        .Hint("muster secret set {} < FILE", name);
  }
  MUSTER_TRY(const std::string value, Ask(context.console, "value of " + name + " (not shown): ", true));
  if (value.empty()) return Error::Invalid("secret-empty", "no value was typed; nothing was done");
  MUSTER_TRY(const std::string again, Ask(context.console, "once more: ", true));
  if (value == again) return value;
  return Error::Invalid("secret-differs", "the two values differ; nothing was done");
}

Result<int> SetSecret(Context& context, const SecretArgs& args) {
  const size_t equals = args.name.find('=');
  if (equals != std::string::npos) {
    const std::string name = args.name.substr(0, equals);
    return Error::Invalid("secret-in-argument",
                          "a value given as an argument can be read by everyone on this machine")
        .Hint("muster secret set {}, and type the value when asked, or give it on standard input", name);
  }
  // Nobody types a value twice for a cluster that can't be found. Where no server has been, none is started
  // before the value is there: Ctrl-C at the prompt leaves no trace.
  const auto found = ClusterToBe(context, args);
  if (!found.ok() && found.error().code() == "no-cluster" && args.cluster.empty() && args.file.empty()) {
    return Error(found.error())
        .Hint("say which it will be: muster secret set {0} -f FILE, or muster secret set {0} -c NAME",
              args.name);
  }
  if (!found.ok()) return found.error();
  const std::string& key = *found;
  MUSTER_TRY(const std::string value, ReadValue(context, args.name));
  MUSTER_TRY(const auto api, Connect(context, Need::kServer));
  MUSTER_TRY(const Json answer, api->Ask("PUT", ClusterTarget(key, "/secrets/" + net::UrlEncode(args.name)),
                                         {{"value", value}}));
  if (args.json) {
    PrintJson(context, {{"cluster", key}, {"name", args.name}});
    return 0;
  }
  if (answer.contains("changed") && !Flag(answer, "changed")) {
    context.console.OutLine(args.name + " of " + key + " has this value already; nothing changes");
    return 0;
  }
  MUSTER_TRY(const std::vector<KnownCluster> known, KnownClusters(*api));
  const bool is_known =
      std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.key == key; });
  context.console.OutLine("set " + args.name + " of " + key +
                          (is_known ? "; the next up brings it to the instances"
                                    : ", which is not there yet: it is kept for its first up"));
  return 0;
}

Result<int> ListSecrets(Context& context, const ClusterArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args, For::kNew));
  MUSTER_TRY(const Json answer, api->Ask("GET", ClusterTarget(key, "/secrets")));
  if (args.json) {
    PrintJson(context, answer);
    return 0;
  }
  Table table({"SECRET", "UPDATED"});
  for (const Json& secret : List(answer, "secrets")) {
    table.Add({{Text(secret, "name")}, {ShortTime(WallTime(Duration(Number(secret, "updated"))))}});
  }
  context.console.out(table.empty() ? key + " has no secret\n" : table.Text(context.console.color));
  return 0;
}

Result<int> DeleteSecret(Context& context, const SecretArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args, For::kNew));
  MUSTER_TRY(const Json answer,
             api->Ask("DELETE", ClusterTarget(key, "/secrets/" + net::UrlEncode(args.name))));
  if (args.json) {
    PrintJson(context, {{"cluster", key}, {"name", args.name}});
  } else {
    context.console.OutLine("deleted " + args.name + " of " + key);
  }
  return 0;
}

struct RotateArgs {
  bool json = false;
};

Result<int> RotateKey(Context& context, const RotateArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const Json answer, api->Ask("POST", "/v1/secrets/rotate", Json::object()));
  if (args.json) {
    PrintJson(context, answer);
  } else {
    context.console.OutLine("all secrets are sealed with a new key; their values are the same");
  }
  return 0;
}

}  // namespace

void AddSecretCommands(std::vector<Command>& commands) {
  Declare<SecretArgs> set("secret set",
                          "Set a secret of a cluster; the value comes from standard input or a prompt");
  WithCluster(set.Positional("name", &SecretArgs::name, "Its name, as in {{secret.NAME}}")
                  .Required()
                  .Offers(Completes::kSecret))
      .Group(kSecrets)
      .More("The cluster need not be there yet: name it with --cluster or --file.")
      .Example("muster secret set db_password < password.txt");
  commands.push_back(set.Run(SetSecret));

  Declare<ClusterArgs> list("secret list", "List the names of a cluster's secrets");
  WithCluster(list).Group(kSecrets);
  commands.push_back(list.Run(ListSecrets));

  Declare<RotateArgs> rotate("secret rotate", "Seal all secrets with a new key");
  rotate.Flag("json", 0, &RotateArgs::json, "Print JSON").Group(kSecrets);
  commands.push_back(rotate.Run(RotateKey));

  Declare<SecretArgs> remove("secret delete", "Delete a secret");
  WithCluster(remove.Positional("name", &SecretArgs::name, "Its name").Required().Offers(Completes::kSecret))
      .Group(kSecrets);
  commands.push_back(remove.Run(DeleteSecret));
}

}  // namespace muster::cli
