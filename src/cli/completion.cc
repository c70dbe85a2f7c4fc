#include "cli/completion.h"

#include <algorithm>
#include <set>

#include "base/text.h"

namespace muster::cli {
namespace {

constexpr const char* kBash = R"(# muster completion for bash: source <(muster completion bash)
_muster() {
  local IFS=$'\n' line typed=${COMP_LINE:0:COMP_POINT} breaks=${COMP_WORDBREAKS//[^@:=]/} begun=
  local -a words
  # Bash cuts words at @, : and =, which stand in names of muster's; so the words are read anew, and what bash holds
  # for done of the last one is taken off the answers. An @ it counts to what follows.
  IFS=$' \t' read -ra words <<< "$typed"
  [[ $typed == *[[:space:]] ]] && words+=("")
  [[ $breaks ]] && begun=${words[-1]%"${words[-1]##*[$breaks]}"} && begun=${begun%@}
  COMPREPLY=()
  while read -r line; do
    case $line in
      :files) compopt -o filenames; COMPREPLY+=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")) ;;
      :folders) compopt -o filenames; COMPREPLY+=($(compgen -d -- "${COMP_WORDS[COMP_CWORD]}")) ;;
      *) COMPREPLY+=("${line#"$begun"}") ;;
    esac
  done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _muster muster
)";

constexpr const char* kZsh = R"(#compdef muster
# muster completion for zsh: source <(muster completion zsh)
_muster() {
  local line
  local -a found
  for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :files) _files ;;
      :folders) _files -/ ;;
      '') ;;
      *) found+=("$line") ;;
    esac
  done
  (( ${#found} )) && compadd -- "${found[@]}"
}
compdef _muster muster
)";

constexpr const char* kFish = R"(# muster completion for fish: muster completion fish | source
function __muster_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
    switch $line
      case ':files' ':folders'
        __fish_complete_path (commandline -ct)
      case '*'
        echo $line
    end
  end
end
complete -c muster -f -a '(__muster_complete)'
)";

std::vector<std::string> ValuesOf(const Argument& argument, const NamesOf& names) {
  switch (argument.completes) {
    case Completes::kNothing:
      return {};
    case Completes::kFile:
      return {":files"};
    case Completes::kFolder:
      return {":folders"};
    case Completes::kWords:
      return argument.words;
    default:
      return names(argument.completes);
  }
}

// The words that may follow `typed` in the name of a command: "set" after "secret".
std::set<std::string> NextWords(const std::vector<Command>& commands, const std::vector<std::string>& typed) {
  std::set<std::string> next;
  for (const Command& command : commands) {
    const std::vector<std::string> name = Split(command.name, ' ');
    if (command.hidden || name.size() <= typed.size()) continue;
    if (std::equal(typed.begin(), typed.end(), name.begin())) next.insert(name[typed.size()]);
  }
  return next;
}

std::vector<std::string> ForCommand(const Command& command, const std::vector<std::string>& words,
                                    size_t name_words, const std::string& current, const NamesOf& names) {
  size_t positionals = 0;
  const Argument* waiting = nullptr;  // an option that waits for its value
  for (size_t i = name_words; i < words.size(); ++i) {
    if (words[i] == "--") return {};
    if (waiting) {
      waiting = nullptr;
    } else if (words[i].size() > 1 && words[i][0] == '-') {
      const Argument* option = OptionNamed(command, words[i]);
      if (option && !option->value.empty()) waiting = option;
    } else {
      ++positionals;
    }
  }
  if (waiting) return ValuesOf(*waiting, names);
  std::vector<std::string> candidates;
  if (const size_t equals = current.find('='); equals != std::string::npos && current.starts_with("--")) {
    const Argument* option = OptionNamed(command, current.substr(0, equals));
    if (!option || option->value.empty()) return {};
    for (const std::string& value : ValuesOf(*option, names)) {
      if (value.front() != ':') candidates.push_back(current.substr(0, equals + 1) + value);
    }
    return candidates;
  }
  if (!current.empty() && current[0] == '-') {
    for (const Argument& argument : command.arguments) {
      if (!argument.positional) candidates.push_back("--" + argument.name);
    }
    candidates.push_back("--help");
    return candidates;
  }
  for (const Argument& argument : command.arguments) {
    if (!argument.positional) continue;
    if (positionals == 0 || argument.many) return ValuesOf(argument, names);
    --positionals;
  }
  return candidates;
}

}  // namespace

std::vector<std::string> CompleteWords(const std::vector<Command>& commands,
                                       const std::vector<std::string>& words, const NamesOf& names) {
  const std::string current = words.empty() ? "" : words.back();
  const std::vector<std::string> before(words.begin(), words.empty() ? words.end() : words.end() - 1);
  std::vector<std::string> candidates;
  const Command* command = nullptr;
  size_t name_words = 0;
  for (const Command& one : commands) {
    const std::vector<std::string> name = Split(one.name, ' ');
    if (!one.hidden && name.size() <= before.size() && name.size() > name_words &&
        std::equal(name.begin(), name.end(), before.begin())) {
      command = &one;
      name_words = name.size();
    }
  }
  if (command) {
    candidates = ForCommand(*command, before, name_words, current, names);
  } else {
    const std::set<std::string> next = NextWords(commands, before);
    candidates.assign(next.begin(), next.end());
  }
  std::erase_if(candidates,
                [&](const std::string& word) { return word[0] != ':' && word.rfind(current, 0) != 0; });
  return candidates;
}

std::string CompletionScript(const std::string& shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return "";
}

}  // namespace muster::cli
