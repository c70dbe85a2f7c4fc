#include "recipes/app/shell_habits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::app {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Texts = std::vector<std::string>;

// "error: MESSAGE; FIX" of each.
Texts ToldOf(const std::string& command) {
  Value value;
  value.type = Value::Type::kString;
  value.text = command;
  std::vector<Finding> findings;
  CheckShellHabits(value, findings);
  Texts told;
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.code, "no-shell");
    told.push_back((finding.severity == Severity::kError ? "error: " : "warning: ") + finding.message + "; " +
                   finding.fix);
  }
  return told;
}

TEST(ShellHabits, AProgramIsToStandInFront) {
  EXPECT_THAT(
      ToldOf("cd /tmp && python3 app.py"),
      ElementsAre(AllOf(HasSubstr("error: "), HasSubstr("cd is a word of the shell"), HasSubstr("sh -c '…'")),
                  HasSubstr("&& is passed on")));
  EXPECT_THAT(ToldOf("exec ./app"), ElementsAre(HasSubstr("exec is a word")));
  EXPECT_THAT(ToldOf("TOKEN=hunter2 python3 app.py"),
              ElementsAre(AllOf(HasSubstr("error: "), HasSubstr("TOKEN=…"), HasSubstr("move TOKEN to env:"),
                                Not(HasSubstr("hunter2")))));
}

TEST(ShellHabits, WhatAShellWouldTakeIsPassedOn) {
  for (const char* sign : {">", ">>", "|", "&", "2>&1", ">/dev/null", "2>/dev/null"}) {
    EXPECT_THAT(ToldOf(std::string("./app --log ") + sign),
                ElementsAre(HasSubstr("warning: no shell reads the command: " + std::string(sign) + " is")))
        << sign;
  }
  EXPECT_THAT(ToldOf("./app $PORT"), ElementsAre(AllOf(HasSubstr("$PORT is"), HasSubstr("{{ports.http}}"))));
  EXPECT_THAT(ToldOf("./app \"--port=${PORT}\""), ElementsAre(HasSubstr("${PORT} is")));
  EXPECT_THAT(ToldOf("./app $(hostname)"), ElementsAre(HasSubstr("$(hostname) is")));
}

TEST(ShellHabits, WhatMayBeAPasswordIsNotShown) {
  for (const char* command :
       {"TOKEN=hunter2; ./app", "export TOKEN=hunter2; ./app", "./app --password=hunter2; x",
        "./app ${TOKEN:-hunter2}", "./app $(echo hunter2)"}) {
    const Texts told = ToldOf(command);
    EXPECT_THAT(told, Not(IsEmpty())) << command;
    EXPECT_THAT(told, Each(Not(HasSubstr("hunter2")))) << command;
  }
  EXPECT_THAT(ToldOf("./app ${TOKEN:-hunter2}"), ElementsAre(HasSubstr(" ${TOKEN…} is")));
  EXPECT_THAT(ToldOf("./app --password=hunter2; x"), ElementsAre(HasSubstr(" ; is")));
}

TEST(ShellHabits, MustersVariablesStandInTwoBraces) {
  for (const char* habit : {"{ports.http}", "${ports.http}", "--port={ports.http}", "{{id}}-{ports.http}"}) {
    EXPECT_THAT(ToldOf(std::string("./app ") + habit),
                ElementsAre("warning: {ports.http} is passed on as it stands; write {{ports.http}}"))
        << habit;
  }
  EXPECT_THAT(ToldOf("sh -c \"exec ./app ${ports.http}\""), ElementsAre(HasSubstr("write {{ports.http}}")));
}

TEST(ShellHabits, WhatIsMeantIsLeftAlone) {
  for (const char* right : {"./app --port {{ports.http}} --peers={{peers.http}}",
                            "sh -c 'cd /tmp && exec ./app $PORT > log'",
                            "nice -n 5 bash -lc \"exec ./app $PORT\"",
                            "grep '>' '$HOME'",
                            "find . -exec rm {} \\;",
                            "find . -exec rm {} ;",
                            "./app \"--json={\\\"port\\\":{{ports.http}}}\"",
                            "./app --x={{{ports.http}}}",
                            "sh -c \"exec ./app ${P:-{{ports.http}}}\"",
                            "sh -c \"f() { ./app {{ports.http}}; }; f\"",
                            "su app -c \"exec ./app $PORT\"",
                            "flock /run/lock -c \"./app $PORT\"",
                            "perl -e \"print $x\"",
                            "awk \"{print $NF}\" log",
                            "./app \\$PORT",
                            "awk '{print $1}'",
                            "./app --filter a>b --price 5$ --set A=1",
                            "'cd' /tmp",
                            "./cd",
                            ""}) {
    EXPECT_THAT(ToldOf(right), IsEmpty()) << right;
  }
}

}  // namespace
}  // namespace muster::app
