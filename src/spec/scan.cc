#include "spec/scan.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace muster::spec {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// Walks over the lines once. What YAML would call nodes are told apart only as far as needed to know where a
// value may begin.
class Scanner {
 public:
  Scanner(std::string_view text, std::vector<Finding>& findings) : rest_(text), findings_(findings) {
    scanned_.text.reserve(text.size() + 64);
  }

  Scanned Run() {
    while (true) {
      const size_t end = rest_.find('\n');
      line_ = rest_.substr(0, end);
      ++number_;
      copied_ = 0;
      added_ = 0;
      if (!InBlockScalar()) ScanLine();
      scanned_.text += line_.substr(copied_);
      if (end == std::string_view::npos) return std::move(scanned_);
      scanned_.text += '\n';
      rest_.remove_prefix(end + 1);
    }
  }

 private:
  bool StartsAt(size_t at, std::string_view what) const { return line_.substr(at, what.size()) == what; }
  // After an indicator such as `:` a blank or the line's end must follow.
  bool BlankAt(size_t at) const { return at >= line_.size() || IsBlank(line_[at]); }

  bool InBlockScalar() {
    if (!block_scalar_) return false;
    size_t indent = 0;
    while (indent < line_.size() && line_[indent] == ' ') ++indent;
    if (indent == line_.size() || line_[indent] == '\r') return true;
    if (static_cast<int>(indent) > parent_column_) return true;
    block_scalar_ = false;
    return false;
  }

  void ScanLine() {
    size_t at = 0;
    if (quote_ == 0 && depth_ == 0) {
      if (!line_.empty() && line_[0] == '%') return;  // a directive
      const size_t tab = line_.find_first_not_of(' ');
      if (tab != std::string_view::npos && line_[tab] == '\t') {
        const size_t first = line_.find_first_not_of(" \t\r");
        if (first != std::string_view::npos && line_[first] != '#') {
          scanned_.tabs.push_back({.line = number_, .column = static_cast<int>(tab) + 1});
        }
      }
    }
    if (quote_ == 0 && (StartsAt(0, "---") || StartsAt(0, "...")) && BlankAt(3)) {
      expects_value_ = true;
      parent_column_ = -1;
      depth_ = 0;
      at = 3;
    }
    starts_line_ = true;
    while (at < line_.size()) {
      const char c = line_[at];
      if (quote_ != 0) {
        at = SkipQuoted(at);
      } else if (IsBlank(c)) {
        ++at;
        continue;  // leaves starts_line_
      } else if (c == '#' && (at == 0 || IsBlank(line_[at - 1]))) {
        return;
      } else {
        at = depth_ > 0 ? ScanFlow(at) : ScanBlock(at);
      }
      starts_line_ = false;
    }
  }

  // Each of these looks at what begins at `at` and returns where it ends.

  size_t SkipQuoted(size_t at) {
    while (at < line_.size()) {
      const char c = line_[at];
      if (c == '\\' && quote_ == '"') {
        at += 2;
      } else if (c == quote_ && quote_ == '\'' && StartsAt(at, "''")) {
        at += 2;
      } else if (c == quote_) {
        quote_ = 0;
        expects_value_ = false;
        const size_t colon = std::min(line_.find_first_not_of(" \t", ++at), line_.size());
        if (colon == line_.size() || line_[colon] != ':' || (depth_ == 0 && !BlankAt(colon + 1))) return at;
        expects_value_ = true;
        if (depth_ == 0) parent_column_ = quote_column_;
        return colon + 1;
      } else {
        ++at;
      }
    }
    return line_.size();
  }

  size_t ScanBlock(size_t at) {
    const char c = line_[at];
    const bool may_begin = expects_value_ || starts_line_ || after_indicator_;
    after_indicator_ = false;
    if (StartsAt(at, "{{") && may_begin) {
      const size_t colon = KeyEnd(at);
      if (colon != std::string_view::npos) {
        Quote(at, at, colon);
        parent_column_ = static_cast<int>(at);
        expects_value_ = true;
        return colon + 1;
      }
      if (expects_value_) {
        Quote(at, at, CommentAt(at));
        expects_value_ = false;
        return line_.size();
      }
    }
    if ((c == '-' || c == '?') && BlankAt(at + 1) && may_begin) {
      parent_column_ = static_cast<int>(at);
      expects_value_ = after_indicator_ = true;
      return at + 1;
    }
    if (expects_value_ && (c == '|' || c == '>')) {
      block_scalar_ = true;
      expects_value_ = false;
      return line_.size();
    }
    if (expects_value_ && (c == '&' || c == '!')) {
      while (at < line_.size() && !IsBlank(line_[at])) ++at;
      after_indicator_ = true;  // a key may still follow
      return at;
    }
    if (may_begin && (c == '"' || c == '\'')) {
      quote_ = c;
      quote_column_ = static_cast<int>(at);
      return at + 1;
    }
    if (expects_value_ && (c == '[' || c == '{')) return OpenFlow(at);
    return ScanPlain(at, may_begin);
  }

  // Plain text up to the end of the line, or a key up to its colon.
  size_t ScanPlain(size_t at, bool may_be_key) {
    const size_t start = at;
    for (; at < line_.size(); ++at) {
      if (line_[at] == '#' && at > 0 && IsBlank(line_[at - 1])) break;
      if (line_[at] == ':' && BlankAt(at + 1) && may_be_key) {
        parent_column_ = static_cast<int>(start);
        expects_value_ = true;
        return at + 1;
      }
    }
    expects_value_ = false;
    return line_.size();
  }

  size_t ScanFlow(size_t at) {
    const char c = line_[at];
    if (StartsAt(at, "{{") && expects_value_) {
      const size_t end = FlowEnd(at);
      Quote(at, at, end);
      expects_value_ = false;
      return end;
    }
    if (c == '[' || c == '{') return OpenFlow(at);
    if (c == ']' || c == '}') {
      --depth_;
      expects_value_ = false;
      return at + 1;
    }
    if (c == ',') {
      expects_value_ = true;
      return at + 1;
    }
    if (c == ':' && FlowColon(at)) {
      expects_value_ = true;
      return at + 1;
    }
    if (expects_value_ && (c == '"' || c == '\'')) {
      quote_ = c;
      return at + 1;
    }
    if (expects_value_ && (c == '&' || c == '!')) {
      while (at < line_.size() && !IsBlank(line_[at]) && line_[at] != ',') ++at;
      return at;
    }
    // Plain text. `{{` ends it, which is never what was meant: `{ command: run {{x}} }`.
    const size_t start = at;
    for (; at < line_.size(); ++at) {
      const char now = line_[at];
      if (now == '#' && at > 0 && IsBlank(line_[at - 1])) break;
      if (now == ':' && FlowColon(at)) break;
      if (StartsAt(at, "{{") && at > start) {
        const size_t end = FlowEnd(start);
        Quote(start, at, end);
        expects_value_ = false;
        return end;
      }
      if (now == ',' || now == '[' || now == ']' || now == '{' || now == '}') break;
    }
    expects_value_ = false;
    return at == start ? at + 1 : at;
  }

  bool FlowColon(size_t at) const {
    return BlankAt(at + 1) || std::string_view(",[]{}").find(line_[at + 1]) != std::string_view::npos;
  }

  size_t OpenFlow(size_t at) {
    ++depth_;
    expects_value_ = true;
    return at + 1;
  }

  // The end of a value in a flow collection: its comma or bracket, none of those within `{{…}}`.
  size_t FlowEnd(size_t at) const {
    for (; at < line_.size(); ++at) {
      if (StartsAt(at, "{{")) {
        const size_t close = line_.find("}}", at);
        if (close == std::string_view::npos) return line_.size();
        at = close + 1;
      } else if (line_[at] == ',' || line_[at] == '}' || line_[at] == ']' ||
                 (line_[at] == '#' && at > 0 && IsBlank(line_[at - 1]))) {
        break;
      }
    }
    return at;
  }

  // Where the colon of a key that begins with braces is; npos where it is a value.
  size_t KeyEnd(size_t at) const {
    const size_t close = line_.find("}}", at);
    if (close == std::string_view::npos) return close;
    const size_t colon = close + 2;
    return colon < line_.size() && line_[colon] == ':' && BlankAt(colon + 1) ? colon : std::string_view::npos;
  }

  size_t CommentAt(size_t at) const {
    for (; at < line_.size(); ++at) {
      if (line_[at] == '#' && IsBlank(line_[at - 1])) break;
    }
    return at;
  }

  // Puts what lies from `start` to before `end` in quotes, and tells of the braces.
  void Quote(size_t start, size_t braces, size_t end) {
    while (end > start && IsBlank(line_[end - 1])) --end;
    const std::string_view value = line_.substr(start, end - start);
    findings_.push_back({.severity = Severity::kError,
                         .code = "unquoted-braces",
                         .mark = {.line = number_, .column = static_cast<int>(braces) + 1},
                         .message = braces == start ? "a value that begins with {{ is a map to YAML"
                                                    : "within brackets, {{ ends a value that has no quotes",
                         .fix = value.find_first_of("\"\\") == std::string_view::npos
                                    ? fmt::format("put it in quotes: \"{}\"", value)
                                    : fmt::format("put it in quotes: '{}'", value),
                         .file = ""});
    scanned_.text += line_.substr(copied_, start - copied_);
    const auto add = [&](size_t at) {
      scanned_.text += '\'';
      scanned_.added[number_].push_back(static_cast<int>(at) + added_++);
    };
    add(start);
    for (size_t i = start; i < end; ++i) {
      if (line_[i] == '\'') add(i);
      scanned_.text += line_[i];
    }
    add(end);
    copied_ = end;
  }

  std::string_view rest_;
  std::vector<Finding>& findings_;
  Scanned scanned_;

  std::string_view line_;
  int number_ = 0;
  size_t copied_ = 0;  // of the line, into the text
  int added_ = 0;      // quotes in this line so far

  bool expects_value_ = true;     // the next node is a value, not the rest of one
  bool starts_line_ = true;       // nothing but blanks before
  bool after_indicator_ = false;  // after `- `, where a key may stand
  size_t depth_ = 0;              // of brackets
  char quote_ = 0;                // the open one, across lines
  int quote_column_ = 0;
  bool block_scalar_ = false;
  int parent_column_ = -1;  // of the key or dash whose value comes: a block
                            // scalar is indented more
};

}  // namespace

Mark Scanned::InFile(Mark mark) const {
  const auto found = added.find(mark.line);
  if (found == added.end()) return mark;
  const auto before = std::lower_bound(found->second.begin(), found->second.end(), mark.column - 1);
  mark.column -= static_cast<int>(before - found->second.begin());
  return mark;
}

bool Scanned::IsQuotedHere(Mark mark) const {
  const auto found = added.find(mark.line);
  return found != added.end() &&
         std::binary_search(found->second.begin(), found->second.end(), mark.column - 1);
}

Scanned Scan(std::string_view text, std::vector<Finding>& findings) { return Scanner(text, findings).Run(); }

}  // namespace muster::spec
