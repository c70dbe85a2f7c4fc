#include "cli/command.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

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
    return Error::Invalid("bad-argument", "\"{}\" is not a number", text)
        .Hint("give a whole number, such as 100");
  }
  if (target < 0) {  // counts and numbers of revisions are all that is asked for
    return Error::Invalid("bad-argument", "\"{}\" is less than 0", text)
        .Hint("give a whole number, such as 100");
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

std::string PageOf(const std::string& group) {
  static const std::map<std::string, std::string> pages = {
      {"Files and what follows from them", "file"},
      {"Adopting what runs", "adopt"},
      {"Looking", "look"},
      {"Changing what runs", "act"},
      {"Breaking on purpose", "drill"},
      {"muster itself", "muster"},
      {"The server", "server"},
      {"Secrets", "secrets"},
      {"Long connections", "push"},
  };
  if (const auto found = pages.find(group); found != pages.end()) return found->second;
  std::string page = group;  // a group that nobody has named a page for yet
  for (char& c : page) {
    c = std::isalnum(static_cast<unsigned char>(c))
            ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
            : '-';
  }
  return page;
}

std::string CommandsIndex(const std::vector<Command>& commands) {
  std::string text;
  for (const std::string& group : Groups(commands)) {
    const std::string page = "commands/" + PageOf(group) + ".md";
    text += "### [" + group + "](" + page + ")\n\n| command | what it does |\n|---|---|\n";
    for (const Command& command : commands) {
      if (command.hidden || command.group != group) continue;
      std::string anchor = "muster-" + command.name;
      std::replace(anchor.begin(), anchor.end(), ' ', '-');
      text += "| [`" + command.name + "`](" + page + "#" + anchor + ") | " + command.help + " |\n";
    }
    text += "\n";
  }
  return text;
}

std::string CommandsMarkdown(const std::vector<Command>& commands, const std::string& page) {
  std::string text;
  for (const Command& command : commands) {
    if (command.hidden || PageOf(command.group) != page) continue;
    text += "### muster " + command.name + "\n\n" + command.help + ".\n\n    " + UsageOf(command) + "\n";
    if (!command.more.empty()) text += "\n" + command.more + "\n";
    if (!command.arguments.empty()) text += "\n| argument | meaning |\n|---|---|\n";
    for (const Argument& argument : command.arguments) {
      text += "| `" + (argument.positional ? argument.name : Shown(argument)) + "` | " + HelpText(argument) +
              " |\n";
    }
    if (!command.examples.empty()) text += "\n";
    for (const std::string& example : command.examples) text += "    $ " + example + "\n";
    text += "\n";
  }
  return text;
}

}  // namespace muster::cli
