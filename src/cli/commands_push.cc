// `muster push …`: the way to muster-push, a program of its own that is installed beside this one. It takes
// this process over, so that signals, output and exit code are its own.
#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "base/subprocess.h"
#include "cli/commands.h"

namespace muster::cli {
namespace {

constexpr const char* kPush = "Long connections";

struct SpearArgs {
  std::string config;
  std::string profile;
  bool check = false;
};

struct PushSettingsArgs {};

// Beside this program, else in PATH.
Result<std::string> PushProgram() {
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path beside = folder / "muster-push";
  if (!error && access(beside.c_str(), X_OK) == 0) return beside.string();
  const std::string found = FindProgram("muster-push");
  if (!found.empty()) return found;
  return Error::NotFound("program-missing", "muster-push is neither beside muster, in {}, nor in PATH",
                         folder.string())
      .Hint("put it there; in a checkout: cmake --build build --target muster-push");
}

// Returns only with an error.
Result<int> Become(std::vector<std::string> words) {
  MUSTER_TRY(const std::string program, PushProgram());
  words.insert(words.begin(), program);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return Error::Os("running " + program, errno);
}

Result<int> RunSpear(Context&, const SpearArgs& args) {
  std::vector<std::string> words = {"spear"};
  if (!args.config.empty()) words.insert(words.end(), {"--config", args.config});
  if (!args.profile.empty()) words.insert(words.end(), {"--profile", args.profile});
  if (args.check) words.emplace_back("--check");
  return Become(std::move(words));
}

Result<int> PrintPushSettings(Context&, const PushSettingsArgs&) { return Become({"settings"}); }

}  // namespace

void AddPushCommands(std::vector<Command>& commands) {
  Declare<SpearArgs> spear("push spear", "Be a Socket.IO server for many clients, in the foreground");
  spear.Option("config", 0, "FILE", &SpearArgs::config, "Its configuration; the defaults where left out")
      .Offers(Completes::kFile)
      .Option("profile", 0, "NAME", &SpearArgs::profile, "The profile of it, in place of the one it names")
      .Flag("check", 0, &SpearArgs::check, "Say all that is wrong with the configuration, and end")
      .Group(kPush)
      .Example("muster push spear --config spear.yaml");
  commands.push_back(spear.Run(RunSpear));

  Declare<PushSettingsArgs> settings("push settings",
                                     "Print all settings of push spear with their defaults, as a file");
  settings.Group(kPush).Example("muster push settings > spear.yaml");
  commands.push_back(settings.Run(PrintPushSettings));
}

}  // namespace muster::cli
