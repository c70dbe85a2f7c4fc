#include "cli/wrap.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "cli/console.h"

namespace muster::cli {
namespace {

constexpr size_t kFurtherIn = 4;
constexpr size_t kLabelWidest = 12;  // "warning: "; what stands before a longer one is a place in a file

// Without escape sequences: as it is seen, but for wide characters.
std::string Seen(std::string_view text) {
  std::string seen;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b') {
      seen += text[i];
      continue;
    }
    while (i < text.size() && text[i] != 'm') ++i;
  }
  return seen;
}

// Where lines after the first begin.
size_t Indent(std::string_view line, size_t columns) {
  const std::string seen = Seen(line);
  const size_t begin = std::min(seen.find_first_not_of(' '), seen.size());
  size_t column = 0;
  for (size_t at = seen.find("  ", begin); at != std::string::npos; at = seen.find("  ", at)) {
    at = std::min(seen.find_first_not_of(' ', at), seen.size());
    const size_t width = Width(std::string_view(seen).substr(0, at));
    if (at == seen.size() || width > columns / 2) break;
    column = width;
  }
  if (column > 0) return column;
  size_t end = begin;
  while (end < seen.size() && std::isalpha(static_cast<unsigned char>(seen[end]))) ++end;
  const bool label = end > begin && end - begin < kLabelWidest && seen.substr(end, 2) == ": ";
  const size_t indent = label ? end + 2 : begin + kFurtherIn;
  return indent > columns / 2 ? 0 : indent;
}

std::string WrapLine(std::string_view line, size_t columns) {
  if (Width(line) <= columns) return std::string(line);
  const std::string seen = Seen(line);
  const size_t begin = seen.find_first_not_of(' ');
  if (begin == std::string::npos || seen.substr(begin, 2) == "| ") return std::string(line);
  const size_t indent = Indent(line, columns);
  std::string wrapped;
  size_t width = 0;       // of the line that is being filled
  bool has_word = false;  // that a break may follow
  while (!line.empty()) {
    const size_t blanks = std::min(line.find_first_not_of(' '), line.size());
    const size_t end = std::min(line.find(' ', blanks), line.size());
    const std::string_view word = line.substr(blanks, end - blanks);
    if (has_word && width + blanks + Width(word) > columns && width > indent) {
      wrapped += "\n" + std::string(indent, ' ');
      width = indent;
    } else {
      wrapped += std::string(blanks, ' ');
      width += blanks;
    }
    wrapped += word;
    width += Width(word);
    has_word = has_word || width > indent;
    line.remove_prefix(end);
  }
  return wrapped;
}

}  // namespace

std::vector<std::string> WrapWords(std::string_view text, size_t columns) {
  std::vector<std::string> lines;
  for (const std::string& word : Split(std::string(text), ' ')) {
    if (lines.empty() || Width(lines.back()) + 1 + Width(word) > columns) {
      lines.push_back(word);
    } else {
      lines.back() += " " + word;
    }
  }
  return lines;
}

std::string WrapText(std::string_view text, size_t columns) {
  if (columns == 0) return std::string(text);
  std::string wrapped;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    wrapped += WrapLine(text.substr(0, end), columns);
    if (end < text.size()) wrapped += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return wrapped;
}

}  // namespace muster::cli
