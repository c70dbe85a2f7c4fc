#include "recipes/redis/conf.h"

#include "base/text.h"
#include "recipes/redis/settings.h"

namespace muster::redis {
namespace {

bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
// Not quite the same: a vertical tab is skipped between words, and part of one.
bool EndsWord(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\0'; }

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// Reads one line from its beginning to its end.
class Splitter {
 public:
  explicit Splitter(std::string_view line) : line_(line) {}

  std::optional<std::vector<std::string>> Split() {
    std::vector<std::string> words;
    while (true) {
      while (!over() && IsBlank(line_[at_])) ++at_;
      if (over()) return words;
      std::string word;
      if (!ReadWord(word)) return std::nullopt;
      words.push_back(std::move(word));
    }
  }

 private:
  bool over() const { return at_ >= line_.size(); }

  bool ReadWord(std::string& word) {
    while (!over() && !EndsWord(line_[at_])) {
      const char c = line_[at_++];
      if (c != '"' && c != '\'') {
        word += c;
        continue;
      }
      // A quote may begin within a word, and ends it.
      return ReadQuoted(c, word) && (over() || IsBlank(line_[at_]));
    }
    if (!over() && line_[at_] == '\0') at_ = line_.size();  // for Redis the text ends there
    return true;
  }

  bool ReadQuoted(char quote, std::string& word) {
    while (!over()) {
      const char c = line_[at_++];
      if (c == quote) return true;
      if (c == '\\' && !over() && quote == '"') {
        ReadEscape(word);
      } else if (c == '\\' && !over() && line_[at_] == '\'') {
        word += line_[at_++];
      } else {
        word += c;
      }
    }
    return false;
  }

  void ReadEscape(std::string& word) {
    const char c = line_[at_++];
    if (c == 'x' && at_ + 1 < line_.size()) {
      const auto high = HexDigit(line_[at_]), low = HexDigit(line_[at_ + 1]);
      if (high && low) {
        word += static_cast<char>(*high * 16 + *low);
        at_ += 2;
        return;
      }
    }
    switch (c) {
      case 'n':
        word += '\n';
        break;
      case 'r':
        word += '\r';
        break;
      case 't':
        word += '\t';
        break;
      case 'b':
        word += '\b';
        break;
      case 'a':
        word += '\a';
        break;
      default:
        word += c;
    }
  }

  std::string_view line_;
  size_t at_ = 0;
};

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool NeedsQuotes(std::string_view argument) {
  if (argument.empty()) return true;
  for (const char c : argument) {
    if (IsControl(c) || c == ' ' || c == '"' || c == '\'' || c == '\\') return true;
  }
  return false;
}

// Whether a secret's mark begins here: its ends are control characters, which would be escaped otherwise.
size_t MarkLength(std::string_view text) {
  if (!text.starts_with("\x01secret:")) return 0;
  size_t end = 1;
  while (end < text.size() && !IsControl(text[end])) ++end;
  return end < text.size() && text[end] == '\x02' ? end + 1 : 0;
}

std::string Quoted(std::string_view argument) {
  std::string text = "\"";
  for (size_t i = 0; i < argument.size(); ++i) {
    const char c = argument[i];
    if (const size_t mark = MarkLength(argument.substr(i))) {
      text += argument.substr(i, mark);
      i += mark - 1;
    } else if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (IsControl(c)) {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text + '"';
}

std::string Joined(const std::vector<std::string>& arguments) {
  std::string text;
  for (const std::string& argument : arguments) {
    if (!text.empty()) text += ' ';
    text += NeedsQuotes(argument) ? Quoted(argument) : argument;
  }
  return text;
}

bool TakesMany(const std::string& name) {
  const Setting* setting = FindSetting(name);
  return setting != nullptr && setting->many;
}

}  // namespace

std::optional<std::vector<std::string>> SplitArguments(std::string_view line) {
  return Splitter(line).Split();
}

std::vector<Directive> DirectivesOf(const ConfSettings& settings) {
  std::vector<Directive> directives;
  for (const auto& [name, values] : settings) {
    for (const std::string& value : values) {
      std::vector<std::string> arguments = {value};
      if (TakesMany(name)) {
        auto split = SplitArguments(value);
        if (split && !split->empty()) arguments = std::move(*split);
      }
      directives.push_back({name, std::move(arguments)});
    }
  }
  return directives;
}

ConfSettings SettingsOf(const std::vector<Directive>& directives) {
  ConfSettings settings;
  for (const Directive& directive : directives) {
    const std::string name = CurrentName(directive.name);
    const Setting* setting = FindSetting(name);
    std::vector<std::string>& values = settings[name];
    if (setting == nullptr || !setting->repeats) values.clear();
    const bool whole = directive.arguments.size() == 1 && (setting == nullptr || !setting->many);
    values.push_back(whole ? directive.arguments[0] : Joined(directive.arguments));
  }
  return settings;
}

std::string RenderConf(const std::vector<Directive>& directives) {
  std::string text;
  for (const Directive& directive : directives) {
    text += directive.name;
    if (!directive.arguments.empty()) text += ' ' + Joined(directive.arguments);
    text += '\n';
  }
  return text;
}

Result<std::vector<Directive>> ReadConf(std::string_view text) {
  std::vector<Directive> directives;
  int number = 0;
  for (const std::string& whole : Split(text, '\n')) {
    ++number;
    const std::string_view line = Trim(whole);
    if (line.empty() || line.starts_with('#')) continue;
    auto words = SplitArguments(line);
    if (!words) {
      return Error::Invalid("bad-quoting",
                            "line {}: a quote isn't closed, or something stands right behind it", number);
    }
    if (words->empty()) continue;
    Directive directive;
    for (const char c : words->front()) {
      directive.name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    directive.arguments.assign(std::make_move_iterator(words->begin() + 1),
                               std::make_move_iterator(words->end()));
    directives.push_back(std::move(directive));
  }
  return directives;
}

}  // namespace muster::redis
