#include "cli/command.h"

#include <gmock/gmock.h>

#include <set>

#include "cli/commands.h"
#include "cli/completion.h"

namespace muster::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct BakeArgs {
  std::string what;
  std::vector<std::string> with;
  int loaves = 1;
  bool hot = false;
  Duration time{0};
  std::string oven;
};

Result<int> Bake(Context&, const BakeArgs& args) { return args.loaves; }

std::vector<Command> Kitchen() {
  std::vector<Command> commands;
  commands.push_back(Declare<BakeArgs>("bake", "Bake bread")
                         .Positional("what", &BakeArgs::what, "The dough")
                         .Required()
                         .Offers(Completes::kFile)
                         .Option("loaves", 'n', "COUNT", &BakeArgs::loaves, "How many")
                         .Option("with", 0, "SEED", &BakeArgs::with, "Seeds")
                         .Option("time", 0, "TIME", &BakeArgs::time, "How long")
                         .Option("oven", 0, "KIND", &BakeArgs::oven, "The oven")
                         .OneOf({"stone", "steam"})
                         .Flag("hot", 0, &BakeArgs::hot, "Preheat")
                         .Group("Kitchen")
                         .Run(Bake));
  commands.push_back(Declare<BakeArgs>("shelf fill", "Fill the shelf").Group("Shop").Run(Bake));
  commands.push_back(Declare<BakeArgs>("shelf empty", "Empty the shelf").Group("Shop").Run(Bake));
  commands.push_back(Declare<BakeArgs>("tell", "Tell the baker")
                         .Positional("what", &BakeArgs::what, "Whom")
                         .Required()
                         .Positional("with", &BakeArgs::with, "The words")
                         .Rest()
                         .Group("Shop")
                         .Run(Bake));
  return commands;
}

Error ErrorOf(const std::vector<std::string>& words) {
  const auto invocation = ParseInvocation(Kitchen(), words);
  EXPECT_FALSE(invocation.ok());
  return invocation.ok() ? Error::Internal("none", "none") : invocation.error();
}

TEST(Command, ReadsItsArgumentsInAnyOrder) {
  const std::vector<Command> commands = Kitchen();
  const auto invocation = ParseInvocation(
      commands, {"bake", "-n", "3", "rye", "--with=oats", "--with", "nuts", "--hot", "--time", "1m30s"});
  ASSERT_TRUE(invocation.ok()) << invocation.error().Text();
  const auto& args = *static_cast<const BakeArgs*>(invocation->args.get());
  EXPECT_EQ(args.what, "rye");
  EXPECT_EQ(args.loaves, 3);
  EXPECT_THAT(args.with, ElementsAre("oats", "nuts"));
  EXPECT_TRUE(args.hot);
  EXPECT_EQ(args.time, 90s);
}

TEST(Command, TakesOptionsBeforeItsName) {
  const std::vector<Command> commands = Kitchen();
  const auto invocation =
      ParseInvocation(commands, {"--oven=steam", "-n", "3", "--hot", "--with", "bake", "bake", "rye"});
  ASSERT_TRUE(invocation.ok()) << invocation.error().Text();
  EXPECT_EQ(invocation->command->name, "bake");
  const auto& args = *static_cast<const BakeArgs*>(invocation->args.get());
  EXPECT_EQ(args.what, "rye");
  EXPECT_EQ(args.loaves, 3);
  EXPECT_EQ(args.oven, "steam");
  EXPECT_TRUE(args.hot);
  EXPECT_THAT(args.with, ElementsAre("bake"));
  const std::vector<Command> all = AllCommands();
  const auto secrets = ParseInvocation(all, {"--cluster", "mall", "secret", "list"});
  ASSERT_TRUE(secrets.ok()) << secrets.error().Text();
  EXPECT_EQ(secrets->command->name, "secret list");
  EXPECT_TRUE(ParseInvocation(all, {"-c", "mall", "--help", "ps"})->help);
}

TEST(Command, SaysWhatIsWrongWithOptionsBeforeItsName) {
  EXPECT_EQ(ErrorOf({"--loaves", "2"}).code(), "unknown-command");
  EXPECT_THAT(ErrorOf({"--loaves", "2"}).hint(), HasSubstr("muster ps -c NAME"));
  EXPECT_EQ(ErrorOf({"--loafs", "2", "bake", "rye"}).code(), "unknown-option");
  EXPECT_THAT(ErrorOf({"--loafs", "2", "bake", "rye"}).hint(), HasSubstr("--loaves"));
  EXPECT_EQ(ErrorOf({"--", "bake", "rye"}).code(), "unknown-command");
}

TEST(Command, NamesTheNearestOfWhatItDoesNotKnow) {
  EXPECT_THAT(ErrorOf({"bkae"}).hint(), HasSubstr("muster bake"));
  EXPECT_EQ(ErrorOf({"bkae"}).code(), "unknown-command");
  EXPECT_THAT(ErrorOf({"bake", "rye", "--loafs", "2"}).hint(), HasSubstr("--loaves"));
  EXPECT_EQ(ErrorOf({"bake", "rye", "--loafs", "2"}).code(), "unknown-option");
  EXPECT_THAT(ErrorOf({"shelf", "fil"}).hint(), HasSubstr("muster shelf fill"));
  EXPECT_THAT(ErrorOf({"bake", "rye", "--oven", "stoan"}).hint(), HasSubstr("stone"));
}

TEST(Command, TellsWhatIsMissingOrTooMuch) {
  EXPECT_EQ(ErrorOf({"bake"}).code(), "argument-missing");
  EXPECT_EQ(ErrorOf({"bake", "rye", "wheat"}).code(), "too-many-arguments");
  EXPECT_EQ(ErrorOf({"bake", "rye", "--loaves", "many"}).code(), "bad-argument");
  EXPECT_EQ(ErrorOf({"bake", "rye", "-n", "-5"}).code(), "bad-argument");
  EXPECT_EQ(ErrorOf({"bake", "rye", "--time", "5"}).code(), "bad-unit");
  EXPECT_EQ(ErrorOf({"bake", "rye", "--loaves"}).code(), "bad-argument");
}

TEST(Command, LeavesWhatFollowsTwoDashesAlone) {
  const std::vector<Command> commands = Kitchen();
  const auto invocation = ParseInvocation(commands, {"tell", "anna", "--", "bake", "--hot", "-x"});
  ASSERT_TRUE(invocation.ok()) << invocation.error().Text();
  EXPECT_THAT(static_cast<const BakeArgs*>(invocation->args.get())->with, ElementsAre("bake", "--hot", "-x"));
  EXPECT_THAT(ErrorOf({"tell", "anna", "-x"}).hint(), HasSubstr("--"));
}

TEST(Command, ShowsHelpOfCommandsAndGroups) {
  const std::vector<Command> commands = Kitchen();
  EXPECT_TRUE(ParseInvocation(commands, {"bake", "--help"})->help);
  EXPECT_EQ(ParseInvocation(commands, {"shelf"})->help_topic, "shelf");
  EXPECT_THAT(HelpOf(commands[0], false), HasSubstr("-n, --loaves COUNT"));
  EXPECT_THAT(HelpOverview(commands, "shelf", false), HasSubstr("shelf fill"));
  EXPECT_EQ(HelpOverview(commands, "shelf", false).find("bake"), std::string::npos);
}

TEST(Command, AllAreDeclaredWithoutClashes) {
  std::set<std::string> names;
  for (const Command& command : AllCommands()) {
    EXPECT_TRUE(names.insert(command.name).second) << command.name;
    EXPECT_FALSE(command.help.empty());
    if (!command.hidden) {
      EXPECT_FALSE(command.group.empty()) << command.name;
    }
    std::set<std::string> arguments;
    std::set<char> letters;
    for (const Argument& argument : command.arguments) {
      if (argument.positional) continue;
      EXPECT_TRUE(arguments.insert(argument.name).second) << command.name << " --" << argument.name;
      if (argument.letter) {
        EXPECT_TRUE(letters.insert(argument.letter).second) << command.name << " -" << argument.letter;
      }
    }
  }
}

std::vector<std::string> Complete(const std::vector<std::string>& words) {
  return CompleteWords(AllCommands(), words, [](Completes what) -> std::vector<std::string> {
    if (what == Completes::kCluster) return {"demo", "mall@rehearsal"};
    if (what == Completes::kTarget) return {"gateway", "gateway-1", "gateway-2"};
    if (what == Completes::kInstance) return {"gateway-1", "gateway-2"};
    return {"gateway"};
  });
}

TEST(Completion, OffersCommandsOptionsAndNames) {
  EXPECT_THAT(Complete({"sch"}), ElementsAre("schema"));
  EXPECT_THAT(Complete({"sec"}), ElementsAre("secret"));
  EXPECT_THAT(Complete({"secret", "s"}), ElementsAre("set"));
  EXPECT_THAT(Complete({"up", "--reh"}), ElementsAre("--rehearse"));
  EXPECT_THAT(Complete({"up", ""}), ElementsAre(":files"));
  EXPECT_THAT(Complete({"ps", "--cluster", "m"}), ElementsAre("mall@rehearsal"));
  EXPECT_THAT(Complete({"restart", "gateway-1", "gateway"}),
              ElementsAre("gateway", "gateway-1", "gateway-2"));
  EXPECT_THAT(Complete({"exec", "gateway-2", ""}), ElementsAre());
  EXPECT_THAT(Complete({"scale", ""}), ElementsAre("gateway"));
  EXPECT_THAT(Complete({"completion", ""}), ElementsAre("bash", "zsh", "fish"));
  EXPECT_THAT(Complete({"agent", ""}), ElementsAre());
}

TEST(Completion, TakesAnOptionsValueBehindItsEqualsSign) {
  EXPECT_THAT(Complete({"ps", "--cluster=m"}), ElementsAre("--cluster=mall@rehearsal"));
  EXPECT_THAT(Complete({"render", "--to="}), ElementsAre("--to=files"));
  EXPECT_THAT(Complete({"up", "--rehearse="}), ElementsAre());  // takes none
  EXPECT_THAT(Complete({"up", "--nonsense="}), ElementsAre());
  EXPECT_THAT(Complete({"up", "--file="}), ElementsAre());  // files are the shell's, which knows no such word
}

TEST(Command, HasItsPlaceInTheDocumentation) {
  const std::vector<Command> commands = AllCommands();
  const std::string index = CommandsIndex(commands);
  for (const Command& command : commands) {
    if (command.hidden) continue;
    const std::string page = PageOf(command.group);
    EXPECT_THAT(index, HasSubstr("[`" + command.name + "`](commands/" + page + ".md#muster-"));
    EXPECT_THAT(CommandsMarkdown(commands, page), HasSubstr("### muster " + command.name + "\n"));
  }
  EXPECT_EQ(CommandsMarkdown(commands, "nowhere"), "");
  EXPECT_EQ(PageOf("A new group"), "a-new-group");
}

}  // namespace
}  // namespace muster::cli
