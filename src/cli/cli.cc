#include "cli/cli.h"

#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "cli/command.h"
#include "cli/commands.h"
#include "cli/home.h"
#include "cli/session.h"

namespace muster {

namespace cli {

std::vector<Command> AllCommands() {
  std::vector<Command> commands;
  AddFileCommands(commands);
  AddAdoptCommands(commands);
  AddLookCommands(commands);
  AddActCommands(commands);
  AddDrillCommands(commands);
  AddSecretCommands(commands);
  AddPushCommands(commands);
  AddServerCommands(commands);
  AddShellCommands(commands);
  return commands;
}

namespace {

constexpr const char* kLesson =
    R"(muster brings a cluster, described in one file, to running, and keeps it so.

Describe your cluster in a file, say demo.yaml:

  cluster: demo
  services:
    hello:
      kind: app
      command: python3 -m http.server {{ports.http}}
      instances: 3
      ports: { http: 8100 }
      health: { http: / }

then
  muster check demo.yaml     what is wrong with it? Every problem at once, with the fix
  muster plan demo.yaml      what would be done? Nothing is touched
  muster up demo.yaml        do it, and watch

muster --help lists all commands.
)";

bool WantsJson(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") return false;
    if (word == "--json") return true;
  }
  return false;
}

int ExitCode(const Error& error) { return error.kind() == ErrorKind::kRefused ? 3 : 1; }

int Help(const Context& context, const Invocation& invocation) {
  const bool color = context.console.color;
  context.console.out(invocation.command ? HelpOf(*invocation.command, color)
                                         : HelpOverview(*context.commands, invocation.help_topic, color));
  return 0;
}

int RunWords(Context& context, const std::vector<std::string>& words) {
  if (words.empty()) {
    context.console.out(kLesson);
    return 0;
  }
  const std::vector<std::string> read = words[0] == "--version" ? std::vector<std::string>{"version"} : words;
  const auto invocation = ParseInvocation(*context.commands, read);
  if (!invocation.ok()) {
    PrintError(context.console, invocation.error());
    return 1;
  }
  if (invocation->help) return Help(context, *invocation);
  const Result<int> outcome = invocation->command->run(context, invocation->args.get());
  if (outcome.ok()) return *outcome;
  const Error error = Addressed(context.console, outcome.error());
  if (WantsJson(words) && !context.json_printed) PrintJson(context, {{"error", api::ToJson(error)}});
  PrintError(context.console, error);
  return ExitCode(error);
}

}  // namespace
}  // namespace cli

int RunCli(int argc, char** argv, CliHooks hooks) {
  const std::vector<cli::Command> commands = cli::AllCommands();
  cli::Context context;
  context.console = cli::Console::Standard();
  std::error_code error;
  context.home = cli::ChooseHome(std::getenv, geteuid() == 0, std::filesystem::current_path(error));
  context.hooks = std::move(hooks);
  context.commands = &commands;
  return cli::RunWords(context, std::vector<std::string>(argv + 1, argv + argc));
}

}  // namespace muster
