#include "cli/command.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace muster::cli {
namespace {

std::string Shown(const Argument& argument) {
  if (argument.positional) {
    const std::string many = argument.many ? "…" : "";
    return argument.required ? argument.name + many : "[" + argument.name + many + "]";
  }
  std::string text = "--" + argument.name;
  if (argument.letter) text = std::string("-") + argument.letter + ", " + text;
  if (!argument.value.empty()) text += " " + argument.value;
  return text;
}

std::string HelpText(const Argument& argument) {
  return argument.words.empty() ? argument.help : argument.help + " (" + Join(argument.words, ", ") + ")";
}

std::vector<std::string> Groups(const std::vector<Command>& commands) {
  std::vector<std::string> groups;
  for (const Command& command : commands) {
    if (command.hidden) continue;
    if (std::find(groups.begin(), groups.end(), command.group) == groups.end())
      groups.push_back(command.group);
  }
  return groups;
}

std::string Lines(const std::string& title, const std::vector<std::pair<std::string, std::string>>& rows,
                  bool color) {
  if (rows.empty()) return "";
  size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, Width(left));
  std::string text = "\n" + Paint(title, Color::kBold, color) + "\n";
  for (const auto& [left, right] : rows) text += "  " + Pad(left, width) + "  " + right + "\n";
  return text;
}

}  // namespace

Status ReadArgument(const std::string& text, std::string& target) {
  target = text;
  return Done();
}

Status ReadArgument(const std::string& text, std::filesystem::path& target) {
  target = text;
  return Done();
}

Status ReadArgument(const std::string& text, int& target) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Error::Invalid("bad-argument", "\"{}\" is not a number", text);
  }
  return Done();
}

Status ReadArgument(const std::string& text, bool& target) {
  target = text == "true";
  return Done();
}

Status ReadArgument(const std::string& text, Duration& target) {
  MUSTER_TRY(target, ParseDuration(text));
  return Done();
}

Status ReadArgument(const std::string& text, std::vector<std::string>& target) {
  target.push_back(text);
  return Done();
}

std::string UsageOf(const Command& command) {
  std::string usage = "muster " + command.name;
  std::string rest;
  bool options = false;
  for (const Argument& argument : command.arguments) {
    if (argument.rest) {
      rest = " -- " + argument.name + "…";
    } else if (argument.positional) {
      usage += " " + Shown(argument);
    } else {
      options = true;
    }
  }
  return usage + (options ? " [options]" : "") + rest;
}

std::string HelpOf(const Command& command, bool color) {
  std::string text =
      command.help + ".\n\n" + Paint("usage:", Color::kBold, color) + " " + UsageOf(command) + "\n";
  if (!command.more.empty()) text += "\n" + command.more + "\n";
  std::vector<std::pair<std::string, std::string>> positionals, options, examples;
  for (const Argument& argument : command.arguments) {
    (argument.positional ? positionals : options)
        .emplace_back(argument.positional ? argument.name : Shown(argument), HelpText(argument));
  }
  options.emplace_back("-h, --help", "Show this");
  text += Lines("arguments", positionals, color) + Lines("options", options, color);
  if (!command.examples.empty()) {
    text += "\n" + Paint("examples", Color::kBold, color) + "\n";
    for (const std::string& example : command.examples) text += "  $ " + example + "\n";
  }
  return text;
}

std::string HelpOverview(const std::vector<Command>& commands, const std::string& topic, bool color) {
  std::string text = topic.empty()
                         ? "muster brings a cluster described in one file to running, and keeps it so.\n"
                         : "The commands of muster " + topic + ".\n";
  for (const std::string& group : Groups(commands)) {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const Command& command : commands) {
      if (command.hidden || command.group != group) continue;
      if (!topic.empty() && command.name.rfind(topic + " ", 0) != 0) continue;
      rows.emplace_back(command.name, command.help);
    }
    text += Lines(group, rows, color);
  }
  return text + "\nmuster COMMAND --help tells more of each.\n";
}

std::string CommandsMarkdown(const std::vector<Command>& commands) {
  std::string text =
      "# Commands\n\n"
      "This page is made from the commands' declarations (`muster __docs`); the same text stands in "
      "`muster COMMAND --help`.\n\n"
      "Exit codes: 0 done or nothing to do, 1 error or failed check, 2 `plan` has changes, 3 refused until "
      "a\n"
      "person decides, 130 ended by Ctrl-C.\n\n"
      "Which cluster a command is about: `--cluster NAME`; else the one that `--file` names; else the one "
      "that\n"
      "`./muster.yaml` names; else the only one there is. `--rehearse` means `NAME@rehearsal`.\n";
  for (const std::string& group : Groups(commands)) {
    text += "\n## " + group + "\n";
    for (const Command& command : commands) {
      if (command.hidden || command.group != group) continue;
      text += "\n### muster " + command.name + "\n\n" + command.help + ".\n\n    " + UsageOf(command) + "\n";
      if (!command.more.empty()) text += "\n" + command.more + "\n";
      if (!command.arguments.empty()) text += "\n| argument | meaning |\n|---|---|\n";
      for (const Argument& argument : command.arguments) {
        text += "| `" + (argument.positional ? argument.name : Shown(argument)) + "` | " +
                HelpText(argument) + " |\n";
      }
      for (const std::string& example : command.examples) text += "\n    $ " + example + "\n";
    }
  }
  return text;
}

}  // namespace muster::cli
