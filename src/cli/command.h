// How a command is declared: once. Parsing, --help, completion and docs/commands/ follow from it. Pure, but
// for the commands' own `run`, which blocks until the command has ended.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "cli/cli.h"
#include "cli/console.h"

namespace muster::cli {

struct Command;

// What every command is handed. Owned by RunCli; lives as long as the program.
struct Context {
  Console console;
  std::filesystem::path home;  // MUSTER_HOME
  CliHooks hooks;
  const std::vector<Command>* commands = nullptr;
  bool json_printed = false;  // --json has had its one document; an error is no second one
};

// What the shell offers for an argument.
enum class Completes {
  kNothing,
  kFile,
  kFolder,
  kCluster,
  kService,
  kInstance,
  kTarget,
  kHost,
  kSecret,
  kWords
};

// An option, a flag (an option without a value) or a positional argument.
struct Argument {
  std::string name;   // "file"; options are written --file
  char letter = 0;    // 'f', 0: none
  std::string value;  // "FILE" in the help; empty: a flag
  std::string help;
  bool positional = false;
  bool required = false;
  bool many = false;  // may be given again and again
  bool rest = false;  // takes everything after --
  Completes completes = Completes::kNothing;
  std::vector<std::string> words;  // what it may be; empty: anything
  std::function<Status(void* args, const std::string& text)> set;
};

struct Command {
  std::string name;   // "up", "secret set"
  std::string group;  // heading in the help
  std::string help;   // one line
  std::string more;   // paragraphs below it
  std::vector<std::string> examples;
  bool hidden = false;
  std::vector<Argument> arguments;
  std::function<std::shared_ptr<void>()> make;
  std::function<Result<int>(Context&, const void* args)> run;
};

// The option that is written so, "--file" or "-f"; nullptr: it has none.
const Argument* OptionNamed(const Command& command, const std::string& word);

// Readers of an argument's text, by type; numbers are 0 or more. Code "bad-argument".
Status ReadArgument(const std::string& text, std::string& target);
Status ReadArgument(const std::string& text, std::filesystem::path& target);
Status ReadArgument(const std::string& text, int& target);
Status ReadArgument(const std::string& text, bool& target);
Status ReadArgument(const std::string& text, Duration& target);
Status ReadArgument(const std::string& text, std::vector<std::string>& target);

// Declares a command whose arguments land in an `Args`.
template <class Args>
class Declare {
 public:
  Declare(std::string name, std::string help) {
    command_.name = std::move(name);
    command_.help = std::move(help);
    command_.make = [] { return std::make_shared<Args>(); };
  }

  template <class Base, class T>
  Declare& Positional(std::string name, T Base::*member, std::string help) {
    Argument& argument = Add(std::move(name), member, std::move(help));
    argument.positional = true;
    argument.many = std::is_same_v<T, std::vector<std::string>>;
    return *this;
  }
  template <class Base, class T>
  Declare& Option(std::string name, char letter, std::string value, T Base::*member, std::string help) {
    Argument& argument = Add(std::move(name), member, std::move(help));
    argument.letter = letter;
    argument.value = std::move(value);
    argument.many = std::is_same_v<T, std::vector<std::string>>;
    return *this;
  }
  template <class Base>
  Declare& Flag(std::string name, char letter, bool Base::*member, std::string help) {
    Add(std::move(name), member, std::move(help)).letter = letter;
    return *this;
  }

  // These speak of the argument declared last.
  Declare& Required() {
    return Last([](Argument& argument) { argument.required = true; });
  }
  Declare& Rest() {
    return Last([](Argument& argument) { argument.rest = true; });
  }
  Declare& Offers(Completes what) {
    return Last([&](Argument& argument) { argument.completes = what; });
  }
  Declare& OneOf(std::vector<std::string> words) {
    return Last([&](Argument& argument) {
      argument.words = std::move(words);
      argument.completes = Completes::kWords;
    });
  }

  Declare& Group(std::string group) {
    command_.group = std::move(group);
    return *this;
  }
  Declare& More(std::string more) {
    command_.more = std::move(more);
    return *this;
  }
  Declare& Example(std::string example) {
    command_.examples.push_back(std::move(example));
    return *this;
  }
  Declare& Hidden() {
    command_.hidden = true;
    return *this;
  }

  Command Run(Result<int> (*run)(Context&, const Args&)) {
    command_.run = [run](Context& context, const void* args) {
      return run(context, *static_cast<const Args*>(args));
    };
    return std::move(command_);
  }

 private:
  template <class Base, class T>
  Argument& Add(std::string name, T Base::*member, std::string help) {
    static_assert(std::is_base_of_v<Base, Args>);
    Argument argument;
    argument.name = std::move(name);
    argument.help = std::move(help);
    argument.set = [member](void* args, const std::string& text) {
      return ReadArgument(text, static_cast<Args*>(args)->*member);
    };
    command_.arguments.push_back(std::move(argument));
    return command_.arguments.back();
  }
  template <class Act>
  Declare& Last(Act act) {
    act(command_.arguments.back());
    return *this;
  }

  Command command_;
};

// A command and its arguments, read from `words` (without the program's name).
struct Invocation {
  const Command* command = nullptr;
  std::shared_ptr<void> args;
  bool help = false;       // --help or -h was given
  std::string help_topic;  // "", or a group of commands such as "secret"
};
// Options may stand before the command's name, too. Codes: "unknown-command", "unknown-option",
// "argument-missing", "bad-argument", "too-many-arguments".
Result<Invocation> ParseInvocation(const std::vector<Command>& commands,
                                   const std::vector<std::string>& words);

// "muster up [file] [--rehearse] …"
std::string UsageOf(const Command& command);
std::string HelpOf(const Command& command, bool color);
// The list of commands, by group; with `topic` ("secret") only those below it.
std::string HelpOverview(const std::vector<Command>& commands, const std::string& topic, bool color);
// The page of docs/commands/ that a group stands on: "look".
std::string PageOf(const std::string& group);
// The list in docs/commands.md: each command with its line, linked to its page.
std::string CommandsIndex(const std::vector<Command>& commands);
// The reference part of docs/commands/PAGE.md; "" where no group has that page.
std::string CommandsMarkdown(const std::vector<Command>& commands, const std::string& page);

}  // namespace muster::cli
