// The file of KEY=VALUE lines that env_file: names: what it gives, and which of its lines give nothing.
#include "base/text.h"
#include "recipes/app/layout.h"

namespace muster::app {
namespace {

// A line without its indent and `export `; empty for one that says nothing on purpose.
std::string_view Content(std::string_view raw) {
  std::string_view line = Trim(raw);
  if (line.empty() || line[0] == '#') return "";
  return line.starts_with("export ") ? Trim(line.substr(7)) : line;
}

bool IsVariableName(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (name.empty() || !letter(name[0])) return false;
  for (const char c : name) {
    if (!letter(c) && !(c >= '0' && c <= '9')) return false;
  }
  return true;
}

bool IsQuote(char c) { return c == '"' || c == '\''; }

}  // namespace

std::map<std::string, std::string> ParseEnvFile(const std::string& text) {
  std::map<std::string, std::string> env;
  for (const std::string& raw : Split(text, '\n')) {
    const std::string_view line = Content(raw);
    const size_t equals = line.find('=');
    if (line.empty() || equals == std::string_view::npos) continue;
    std::string_view value = Trim(line.substr(equals + 1));
    if (value.size() >= 2 && IsQuote(value[0]) && value.back() == value[0]) {
      value = value.substr(1, value.size() - 2);
    }
    env[std::string(Trim(line.substr(0, equals)))] = std::string(value);
  }
  return env;
}

void CheckEnvFile(const Service& service, const Cluster& cluster, std::vector<Finding>& findings) {
  const Value* setting = service.settings.Find("env_file");
  if (!setting || !setting->is_scalar()) return;
  const auto found = cluster.files.find(setting->text);
  if (found == cluster.files.end()) return;  // a finding of its own
  const auto add = [&](Mark mark, std::string file, std::string message, std::string fix) {
    findings.push_back({.severity = Severity::kError,
                        .code = "bad-env-file",
                        .mark = mark,
                        .message = std::move(message),
                        .fix = std::move(fix),
                        .file = std::move(file)});
  };
  if (found->second.text.empty() && found->second.size > 0) {
    add(setting->mark, "", fmt::format("{} is no text, or too big to be an environment", setting->text),
        "write KEY=VALUE lines into it");
    return;
  }
  Mark mark;
  for (const std::string& raw : Split(found->second.text, '\n')) {
    ++mark.line;
    const std::string_view line = Content(raw);
    if (line.empty()) continue;
    // A line that went wrong may be the rest of a password: none of it is said, but for a name that is one.
    mark.column = static_cast<int>(raw.find(line)) + 1;
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      add(mark, setting->text, "this line is no KEY=VALUE: it would set nothing",
          "write KEY=VALUE, or a # in front of a comment");
      continue;
    }
    const std::string_view name = Trim(line.substr(0, equals));
    const std::string_view value = Trim(line.substr(equals + 1));
    if (!IsVariableName(name)) {
      add(mark, setting->text, "what stands before the = is no name of an environment variable",
          "names have letters, digits and _, and don't begin with a digit");
    } else if (!value.empty() && IsQuote(value[0]) && (value.size() < 2 || value.back() != value[0])) {
      mark.column += static_cast<int>(value.data() - line.data());
      add(mark, setting->text, fmt::format("the quote that {} begins with isn't closed in its line", name),
          "close it at the end of the line, or leave it out; a value can't have several lines");
    }
  }
}

}  // namespace muster::app
