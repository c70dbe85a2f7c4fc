// What the shell and the documentation are made from: completion and the hidden commands behind it.
#include <nlohmann/json.hpp>
#include <set>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/home.h"
#include "cli/server_start.h"
#include "cli/session.h"

namespace muster::cli {
namespace {

struct CompletionArgs {
  std::string shell;
  bool json = false;
};

Result<int> PrintScript(Context& context, const CompletionArgs& args) {
  if (args.json) {
    PrintJson(context, {{"shell", args.shell}, {"script", CompletionScript(args.shell)}});
    return 0;
  }
  context.console.out(CompletionScript(args.shell));
  return 0;
}

struct WordsArgs {
  std::vector<std::string> words;
};

// The value that --cluster has among the words typed so far.
ClusterArgs ClusterAmong(const std::vector<std::string>& words) {
  ClusterArgs args;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--cluster" || words[i] == "-c") args.cluster = words[i + 1];
    if (words[i].starts_with("--cluster=")) args.cluster = words[i].substr(words[i].find('=') + 1);
    if (words[i] == "--file") args.file = words[i + 1];
    if (words[i] == "--rehearse") args.rehearse = true;
  }
  return args;
}

// Tab never starts a server and never complains.
std::vector<std::string> NamesFrom(Context& context, const std::vector<std::string>& words, Completes what) {
  if (!SocketAnswers(ApiSocket(context.home))) return {};
  ApiClient api(ApiSocket(context.home), CallerName());
  std::set<std::string> names;
  if (what == Completes::kCluster) {
    const auto known = KnownClusters(api);
    if (!known.ok()) return {};
    for (const KnownCluster& cluster : *known) names.insert(cluster.key);
    return {names.begin(), names.end()};
  }
  const auto key = ClusterFor(api, ClusterAmong(words), For::kLooking);
  if (!key.ok()) return {};
  if (what == Completes::kSecret) {
    const auto answer = api.Ask("GET", ClusterTarget(*key, "/secrets"));
    if (!answer.ok()) return {};
    for (const Json& secret : List(*answer, "secrets")) names.insert(Text(secret, "name"));
    return {names.begin(), names.end()};
  }
  if (what == Completes::kHost) {
    const auto status = api.Ask("GET", ClusterTarget(*key));
    if (!status.ok()) return {};
    for (const Json& host : List(*status, "hosts")) names.insert(Text(host, "name"));
    return {names.begin(), names.end()};
  }
  const auto answer = api.Ask("GET", ClusterTarget(*key, "/instances"));
  if (!answer.ok()) return {};
  for (const Json& instance : List(*answer, "instances")) {
    if (what != Completes::kInstance) names.insert(Text(instance, "service"));
    if (what != Completes::kService) names.insert(Text(instance, "name"));
  }
  return {names.begin(), names.end()};
}

Result<int> CompleteLine(Context& context, const WordsArgs& args) {
  const NamesOf names = [&](Completes what) { return NamesFrom(context, args.words, what); };
  for (const std::string& word : CompleteWords(*context.commands, args.words, names))
    context.console.OutText(word);
  return 0;
}

struct DocsArgs {
  std::string page;
};

Result<int> PrintDocs(Context& context, const DocsArgs& args) {
  const std::string text =
      args.page.empty() ? CommandsIndex(*context.commands) : CommandsMarkdown(*context.commands, args.page);
  if (text.empty()) return Error::NotFound("unknown-page", "no group of commands stands on {}", args.page);
  context.console.out(text);
  return 0;
}

}  // namespace

void AddShellCommands(std::vector<Command>& commands) {
  Declare<CompletionArgs> completion("completion", "Print the completion script of a shell");
  completion.Positional("shell", &CompletionArgs::shell, "The shell")
      .Required()
      .OneOf({"bash", "zsh", "fish"})
      .Flag("json", 0, &CompletionArgs::json, "Print JSON")
      .Group("muster itself")
      .More("Commands, options, files, and the names of clusters, hosts, services and instances.")
      .Example("source <(muster completion bash)");
  commands.push_back(completion.Run(PrintScript));

  Declare<WordsArgs> complete("__complete", "Candidates for the last word");
  complete.Hidden().Positional("words", &WordsArgs::words, "The words so far").Rest();
  commands.push_back(complete.Run(CompleteLine));

  Declare<DocsArgs> docs("__docs", "What docs/commands.md and docs/commands/ say of the commands");
  docs.Hidden().Positional("page", &DocsArgs::page, "A page of docs/commands/; the list where left out");
  commands.push_back(docs.Run(PrintDocs));
}

}  // namespace muster::cli
