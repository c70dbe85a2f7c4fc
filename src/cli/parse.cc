// Parsing of arguments: CLI11 splits the words by what the command declares; it is seen nowhere else.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <map>

#include "base/text.h"
#include "cli/command.h"

namespace muster::cli {
namespace {

std::string HelpHint(const Command& command) {
  return "muster " + command.name + " --help tells what it takes";
}

Error UnknownCommand(const std::vector<Command>& commands, const std::string& typed) {
  std::vector<std::string> names;
  for (const Command& command : commands) {
    if (!command.hidden) names.push_back(command.name);
  }
  Error error = Error::Invalid("unknown-command", "there is no command \"{}\"", typed);
  const auto nearest = Nearest(typed, names);
  if (nearest) return std::move(error).Hint("did you mean: muster {}", *nearest);
  return std::move(error).Hint("muster --help lists the commands");
}

Error UnknownOption(const Command& command, const std::string& typed) {
  std::vector<std::string> names;
  for (const Argument& argument : command.arguments) {
    if (!argument.positional) names.push_back("--" + argument.name);
  }
  const std::string word = typed.substr(0, typed.find('='));
  Error error = Error::Invalid("unknown-option", "muster {} has no option {}", command.name, word);
  const auto nearest = Nearest(word, names);
  if (nearest) return std::move(error).Hint("did you mean {}", *nearest);
  for (const Argument& argument : command.arguments) {
    if (argument.rest) return std::move(error).Hint("write -- before it: {}", UsageOf(command));
  }
  return std::move(error).Hint("{}", HelpHint(command));
}

struct Chosen {
  const Command* command = nullptr;
  size_t words = 0;  // how many of them are the command's name
};

// The command with the longest name that the words begin with.
Chosen ChooseCommand(const std::vector<Command>& commands, const std::vector<std::string>& words) {
  Chosen chosen;
  for (const Command& command : commands) {
    const std::vector<std::string> name = Split(command.name, ' ');
    if (name.size() <= words.size() && name.size() > chosen.words &&
        std::equal(name.begin(), name.end(), words.begin())) {
      chosen = {&command, name.size()};
    }
  }
  return chosen;
}

bool IsHelp(const std::string& word) { return word == "--help" || word == "-h"; }

// Whether these are options of the command, each with its value.
bool AreOptionsOf(const Command& command, const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (IsHelp(words[i])) continue;
    const size_t equals = words[i].find('=');
    const Argument* option = OptionNamed(command, words[i].substr(0, equals));
    if (!option) return false;
    const bool value_follows = !option->value.empty() && equals == std::string::npos;
    if (value_follows && ++i == words.size()) return false;
  }
  return true;
}

// Options may stand before the command, as many are used to; they are put behind its name.
Result<std::vector<std::string>> CommandFirst(const std::vector<Command>& commands,
                                              const std::vector<std::string>& words) {
  if (words[0].empty() || words[0][0] != '-') return words;
  Chosen first;
  for (size_t i = 1; i < words.size() && words[i - 1] != "--"; ++i) {
    const auto at = words.begin() + static_cast<std::ptrdiff_t>(i);
    const std::vector<std::string> before(words.begin(), at), rest(at, words.end());
    const Chosen chosen = ChooseCommand(commands, rest);
    if (!chosen.command || chosen.command->hidden) continue;
    if (!first.command) first = chosen;
    if (!AreOptionsOf(*chosen.command, before)) continue;
    std::vector<std::string> ordered = rest;
    ordered.insert(ordered.begin() + static_cast<std::ptrdiff_t>(chosen.words), before.begin(), before.end());
    return ordered;
  }
  if (first.command) return UnknownOption(*first.command, words[0]);
  return Error::Invalid("unknown-command", "which command? {} is an option", words[0])
      .Hint("write a command first, such as: muster ps -c NAME; muster --help lists them");
}

bool IsGroup(const std::vector<Command>& commands, const std::string& word) {
  return std::any_of(commands.begin(), commands.end(),
                     [&](const Command& command) { return command.name.rfind(word + " ", 0) == 0; });
}

Status SetOne(const Argument& argument, void* args, const std::string& text) {
  const std::string shown = argument.positional ? argument.name : "--" + argument.name;
  if (!argument.words.empty() &&
      std::find(argument.words.begin(), argument.words.end(), text) == argument.words.end()) {
    Error error = Error::Invalid("bad-argument", "{} can't be \"{}\"", shown, text);
    const auto nearest = Nearest(text, argument.words);
    if (nearest) return std::move(error).Hint("did you mean {}", *nearest);
    return std::move(error).Hint("it is one of {}", Join(argument.words, ", "));
  }
  return argument.set(args, text).While("{}", shown);
}

// The values of each argument, by its place among the command's arguments.
using Values = std::map<size_t, std::vector<std::string>>;

// What CLI11 makes of the words; the options and flags of `command` are declared to it here.
Result<Values> ReadWords(const Command& command, std::vector<std::string> words) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::map<size_t, std::vector<std::string>> texts;
  std::map<size_t, CLI::Option*> options;
  for (size_t i = 0; i < command.arguments.size(); ++i) {
    const Argument& argument = command.arguments[i];
    if (argument.positional) continue;
    std::string names = "--" + argument.name;
    if (argument.letter) names += std::string(",-") + argument.letter;
    if (argument.value.empty()) {
      options[i] = app.add_flag(names);
    } else {
      options[i] = app.add_option(names, texts[i])->expected(1)->allow_extra_args(false);
      options[i]->multi_option_policy(argument.many ? CLI::MultiOptionPolicy::TakeAll
                                                    : CLI::MultiOptionPolicy::TakeLast);
    }
  }
  try {
    std::reverse(words.begin(), words.end());
    app.parse(words);
  } catch (const CLI::ArgumentMismatch& error) {
    return Error::Invalid("bad-argument", "{}", error.what()).Hint("{}", HelpHint(command));
  } catch (const CLI::ParseError& error) {
    return Error::Invalid("bad-argument", "{}", error.what()).Hint("{}", HelpHint(command));
  }

  Values values;
  for (const auto& [i, option] : options) {
    if (option->count() == 0) continue;
    values[i] = command.arguments[i].value.empty() ? std::vector<std::string>{"true"} : texts[i];
  }
  const std::vector<std::string> left = app.remaining();
  size_t next = 0;
  for (size_t i = 0; i < command.arguments.size(); ++i) {
    const Argument& argument = command.arguments[i];
    if (!argument.positional) continue;
    while (next < left.size()) {
      if (left[next].size() > 1 && left[next][0] == '-') return UnknownOption(command, left[next]);
      values[i].push_back(left[next++]);
      if (!argument.many) break;
    }
  }
  if (next < left.size()) {
    if (left[next].size() > 1 && left[next][0] == '-') return UnknownOption(command, left[next]);
    return Error::Invalid("too-many-arguments", "muster {} doesn't take \"{}\"", command.name, left[next])
        .Hint("{}", HelpHint(command));
  }
  return values;
}

}  // namespace

const Argument* OptionNamed(const Command& command, const std::string& word) {
  for (const Argument& argument : command.arguments) {
    if (argument.positional) continue;
    if (word == "--" + argument.name) return &argument;
    if (argument.letter && word == std::string("-") + argument.letter) return &argument;
  }
  return nullptr;
}

Result<Invocation> ParseInvocation(const std::vector<Command>& commands,
                                   const std::vector<std::string>& typed) {
  Invocation invocation;
  if (typed.empty()) return invocation;
  if (IsHelp(typed[0]) || typed[0] == "help") {
    const std::vector<std::string> topic(typed.begin() + 1, typed.end());
    invocation.help = true;
    if (!topic.empty()) {
      invocation.command = ChooseCommand(commands, topic).command;
      invocation.help_topic = invocation.command ? "" : topic[0];
      if (!invocation.command && !IsGroup(commands, topic[0])) return UnknownCommand(commands, topic[0]);
    }
    return invocation;
  }
  MUSTER_TRY(const std::vector<std::string> words, CommandFirst(commands, typed));
  const Chosen chosen = ChooseCommand(commands, words);
  if (!chosen.command) {
    if (IsGroup(commands, words[0])) {
      if (words.size() == 1 || words[1][0] == '-') {
        invocation.help = true;
        invocation.help_topic = words[0];
        return invocation;
      }
      return UnknownCommand(commands, words[0] + " " + words[1]);
    }
    return UnknownCommand(commands, words[0]);
  }

  const Command& command = *chosen.command;
  std::vector<std::string> own(words.begin() + static_cast<std::ptrdiff_t>(chosen.words), words.end());
  std::vector<std::string> rest;
  const auto dashes = std::find(own.begin(), own.end(), "--");
  if (dashes != own.end()) {
    rest.assign(dashes + 1, own.end());
    own.erase(dashes, own.end());
  }
  invocation.command = &command;
  invocation.args = command.make();
  if (!command.hidden && std::any_of(own.begin(), own.end(), IsHelp)) {
    invocation.help = true;
    return invocation;
  }

  MUSTER_TRY(Values values, ReadWords(command, own));
  for (size_t i = 0; i < command.arguments.size(); ++i) {
    const Argument& argument = command.arguments[i];
    if (argument.rest || (argument.positional && argument.many)) {
      values[i].insert(values[i].end(), rest.begin(), rest.end());
      rest.clear();
    }
    for (const std::string& text : values[i]) MUSTER_DO(SetOne(argument, invocation.args.get(), text));
    if (argument.required && values[i].empty()) {
      const std::string shown = argument.positional ? argument.name : "--" + argument.name;
      return Error::Invalid("argument-missing", "muster {} needs {}", command.name, shown)
          .Hint("usage: {}", UsageOf(command));
    }
  }
  if (!rest.empty()) {
    return Error::Invalid("too-many-arguments", "muster {} takes nothing after --", command.name)
        .Hint("{}", HelpHint(command));
  }
  return invocation;
}

}  // namespace muster::cli
