#include "recipes/app/shell_habits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace muster::app {
namespace {

// Where nothing but `exec` starts it, the program gets the signals that muster sends.
constexpr const char* kBringAShell = "let a shell read it: sh -c '…', with exec in front of what is to run";

struct Word {
  std::string text;
  std::string open;     // with blanks for what stands in single quotes or behind a backslash
  bool quoted = false;  // any of it
};

// As SplitCommand has them.
std::vector<Word> WordsOf(std::string_view command) {
  std::vector<Word> words;
  Word word;
  bool in_word = false;
  char quote = 0;
  const auto add = [&](char c, bool open) {
    word.text += c;
    word.open += open ? c : ' ';
    in_word = true;
  };
  for (size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == '\'') {
      add(c, false);
    } else if (c == '\\' && i + 1 < command.size() &&
               (quote == 0 || command[i + 1] == '"' || command[i + 1] == '\\')) {
      word.quoted = true;
      add(command[++i], false);
    } else if (quote == '"') {
      add(c, true);
    } else if (c == '\'' || c == '"') {
      quote = c;
      word.quoted = in_word = true;
    } else if (std::string_view(" \t\n\r").find(c) != std::string_view::npos) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      add(c, true);
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsInName(char c) { return IsLetter(c) || (c >= '0' && c <= '9'); }

// FOO of FOO=1, "" where it is none.
std::string AssignedIn(const Word& word) {
  size_t end = 0;
  while (end < word.open.size() && IsInName(word.open[end])) ++end;
  const bool assigns = end > 0 && end < word.open.size() && word.open[end] == '=' && IsLetter(word.open[0]);
  return assigns ? word.open.substr(0, end) : "";
}

std::string_view BaseName(std::string_view program) {
  const size_t slash = program.rfind('/');
  return slash == std::string_view::npos ? program : program.substr(slash + 1);
}

template <size_t N>
bool IsOneOf(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Those, too, that hand the word behind -c to one.
bool IsShell(std::string_view program) {
  constexpr std::array<std::string_view, 14> kShells = {"sh",   "bash",  "dash",   "ash",    "ksh",
                                                        "mksh", "zsh",   "csh",    "tcsh",   "fish",
                                                        "su",   "flock", "script", "runuser"};
  return IsOneOf(BaseName(program), kShells);
}

// Their programs stand in quotes and have a `$` of their own.
bool IsInterpreter(std::string_view program) {
  constexpr std::array<std::string_view, 13> kInterpreters = {
      "perl", "python", "python3", "ruby", "node", "php", "lua", "awk", "gawk", "mawk", "jq", "sed", "tclsh"};
  return IsOneOf(BaseName(program), kInterpreters);
}

// sh -c, bash -lc, nice sh -c.
bool BringsAShell(const std::vector<Word>& words) {
  const auto shell =
      std::find_if(words.begin(), words.end(), [](const Word& word) { return IsShell(word.text); });
  return std::any_of(shell, words.end(),
                     [](const Word& word) { return word.text.starts_with('-') && word.text.ends_with('c'); });
}

bool IsBuiltIn(std::string_view word) {
  constexpr std::array<std::string_view, 13> kBuiltIn = {"cd",    "exec",  "export", "source", ".",
                                                         "set",   "unset", "eval",   "trap",   "ulimit",
                                                         "umask", "if",    "while"};
  return IsOneOf(word, kBuiltIn);
}

// What a shell would take of the word for itself; "" nothing. What stands before a `;` may be a password.
std::string OperatorIn(const Word& word) {
  if (word.quoted) return "";
  for (const std::string_view sign : {"|", "||", "&", "&&", ";", "<"}) {
    if (word.text == sign) return word.text;
  }
  for (const std::string_view start : {">", "1>", "2>", "&>"}) {
    if (word.text.starts_with(start)) return word.text;
  }
  return word.text.ends_with(';') ? ";" : "";
}

// Of find: a `;` ends what it is to run.
bool RunsUpToASemicolon(std::string_view word) {
  constexpr std::array<std::string_view, 4> kRun = {"-exec", "-execdir", "-ok", "-okdir"};
  return IsOneOf(word, kRun);
}

// ${ports.http}, $PORT or $(date -u), whole; "" where none stands there.
std::string ExpansionAt(const std::string& text, size_t at) {
  const char next = at + 1 < text.size() ? text[at + 1] : '\0';
  if (next == '{' || next == '(') {
    const size_t end = text.find(next == '{' ? '}' : ')', at);
    return end == std::string::npos ? text.substr(at) : text.substr(at, end + 1 - at);
  }
  size_t end = at + 1;
  if (!IsLetter(next)) return "";
  while (end < text.size() && IsInName(text[end])) ++end;
  return text.substr(at, end - at);
}

// As much of an expansion as says which: the rest, as in ${PASSWORD:-hunter2}, may be a secret.
std::string Shown(const std::string& expansion) {
  size_t end = 1;
  if (end < expansion.size() && !IsInName(expansion[end])) ++end;
  while (end < expansion.size() && IsInName(expansion[end])) ++end;
  const bool whole = end + 1 >= expansion.size();
  return whole ? expansion : expansion.substr(0, end) + "…" + expansion.back();
}

// ports.http of {ports.http} and of ${ports.http}, but not of {{ports.http}}: one of muster's variables; ""
// none.
std::string SingleBracedIn(const std::string& text) {
  for (size_t at = text.find('{'), end = at; at != std::string::npos; at = text.find('{', end)) {
    const bool twice = text.compare(at, 2, "{{") == 0;
    end = twice ? text.find("}}", at) : text.find_first_of("{}", at + 1);
    if (end == std::string::npos) return "";
    if (twice || text[end] == '{') continue;
    const std::string name = text.substr(at + 1, end - at - 1);
    for (const std::string_view start : {"ports.", "peers.", "secret."}) {
      if (name.starts_with(start) && name.size() > start.size()) return name;
    }
  }
  return "";
}

}  // namespace

void CheckShellHabits(const Value& command, std::vector<Finding>& findings) {
  const auto add = [&](Severity severity, std::string message, std::string fix) {
    findings.push_back({.severity = severity,
                        .code = "no-shell",
                        .mark = command.mark,
                        .message = std::move(message),
                        .fix = std::move(fix),
                        .file = ""});
  };
  const std::vector<Word> words = WordsOf(command.text);
  if (words.empty()) return;
  const Word& first = words.front();
  if (const std::string name = AssignedIn(first); !name.empty()) {
    // The value may be a password.
    add(Severity::kError,
        fmt::format("no shell reads the command: {}=… in front of it is taken for the program", name),
        fmt::format("move {} to env:", name));
  } else if (IsBuiltIn(first.text) && !first.quoted) {
    add(Severity::kError,
        fmt::format("no shell reads the command: {} is a word of the shell, not a program", first.text),
        kBringAShell);
  }
  for (const Word& word : words) {
    if (const std::string name = SingleBracedIn(word.open); !name.empty()) {
      add(Severity::kWarning, fmt::format("{{{}}} is passed on as it stands", name),
          fmt::format("write {{{{{}}}}}", name));
      break;
    }
  }
  if (BringsAShell(words)) return;
  bool to_semicolon = false;
  for (const Word& word : words) {
    to_semicolon = to_semicolon || RunsUpToASemicolon(word.text);
    const std::string sign = OperatorIn(word);
    if (sign.empty() || (to_semicolon && word.text == ";")) continue;
    add(Severity::kWarning, fmt::format("no shell reads the command: {} is passed on as it stands", sign),
        kBringAShell);
    break;
  }
  const bool interpreter = IsInterpreter(first.text);
  for (const Word& word : words) {
    if (interpreter && word.quoted) continue;
    std::string expansion;
    for (size_t at = word.open.find('$'); at != std::string::npos && expansion.empty();
         at = word.open.find('$', at + 1)) {
      expansion = ExpansionAt(word.open, at);
    }
    if (expansion.empty() || !SingleBracedIn(expansion).empty()) continue;
    add(Severity::kWarning,
        fmt::format("no shell reads the command: {} is passed on as it stands", Shown(expansion)),
        "write what muster fills in, such as {{ports.http}}, or let a shell read it: sh -c '…'");
    break;
  }
}

}  // namespace muster::app
