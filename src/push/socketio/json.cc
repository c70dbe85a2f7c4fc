#include "push/socketio/json.h"

#include <charconv>
#include <cstdlib>

#include "base/bytes.h"

namespace muster::push::json {
namespace {

constexpr size_t npos = std::string_view::npos;

bool IsBlank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Goes over a value from `at` on; each returns false where it isn't right.
struct Scanner {
  std::string_view text;
  size_t at = 0;

  void Blanks() {
    while (at < text.size() && IsBlank(text[at])) ++at;
  }
  bool Word(std::string_view word) {
    if (text.substr(at, word.size()) != word) return false;
    at += word.size();
    return true;
  }
  bool String() {
    if (at >= text.size() || text[at] != '"') return false;
    for (++at; at < text.size(); ++at) {
      const char c = text[at];
      if (c == '"') {
        ++at;
        return true;
      }
      if (static_cast<unsigned char>(c) < 32) return false;
      if (c != '\\') continue;
      if (++at >= text.size()) return false;
      if (text[at] == 'u') {
        for (int i = 0; i < 4; ++i) {
          if (++at >= text.size() || !IsHex(text[at])) return false;
        }
      } else if (std::string_view("\"\\/bfnrt").find(text[at]) == npos) {
        return false;
      }
    }
    return false;
  }
  bool Digits() {
    const size_t start = at;
    while (at < text.size() && IsDigit(text[at])) ++at;
    return at > start;
  }
  bool Number() {
    if (at < text.size() && text[at] == '-') ++at;
    if (at < text.size() && text[at] == '0') {
      ++at;
    } else if (!Digits()) {
      return false;
    }
    if (at < text.size() && text[at] == '.') {
      ++at;
      if (!Digits()) return false;
    }
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
      ++at;
      if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
      if (!Digits()) return false;
    }
    return true;
  }
  bool Value(int depth) {
    Blanks();
    if (at >= text.size()) return false;
    switch (text[at]) {
      case '"':
        return String();
      case '{':
        return Object(depth);
      case '[':
        return Array(depth);
      case 't':
        return Word("true");
      case 'f':
        return Word("false");
      case 'n':
        return Word("null");
      default:
        return Number();
    }
  }
  bool Array(int depth) {
    if (depth >= kDepthMost) return false;
    ++at;
    Blanks();
    if (Take(']')) return true;
    while (true) {
      if (!Value(depth + 1)) return false;
      Blanks();
      if (Take(']')) return true;
      if (!Take(',')) return false;
    }
  }
  bool Object(int depth) {
    if (depth >= kDepthMost) return false;
    ++at;
    Blanks();
    if (Take('}')) return true;
    while (true) {
      Blanks();
      if (!String()) return false;
      Blanks();
      if (!Take(':') || !Value(depth + 1)) return false;
      Blanks();
      if (Take('}')) return true;
      if (!Take(',')) return false;
    }
  }
  // The same of what is known to be valid: whether the places in it are of attachments that there are.
  bool Places(size_t count) {
    Blanks();
    if (at >= text.size() || (text[at] != '[' && text[at] != '{')) return Value(0);
    const bool object = text[at] == '{';
    const char end = object ? '}' : ']';
    ++at;
    bool good = true, place = false, number = false;
    for (Blanks(); !Take(end); Blanks()) {
      if (Take(',')) Blanks();
      std::optional<std::string> key;
      if (object) {
        key = Key();
        Blanks();
        Take(':');
        Blanks();
      }
      const size_t start = at;
      if (!Places(count)) good = false;
      if (at == start) return false;  // it isn't valid after all
      // The last of a name counts.
      const std::string_view value = text.substr(start, at - start);
      if (key == "_placeholder") place = value == "true";
      if (key == "num") number = IsBelow(value, count);
    }
    return place ? number : good;
  }
  std::optional<std::string> Key() {
    const size_t start = at;
    String();
    const std::string_view quoted = text.substr(start, at - start);
    // Most are neither of the two that are looked for.
    const bool other = quoted.find('\\') == npos && quoted != R"("_placeholder")" && quoted != R"("num")";
    return other ? std::nullopt : ReadString(quoted);
  }
  static bool IsBelow(std::string_view number, size_t count) {
    if (number.empty() || (number[0] != '-' && !IsDigit(number[0]))) return false;
    const double value = std::strtod(std::string(number).c_str(), nullptr);
    return value >= 0 && value < static_cast<double>(count);
  }
  bool Take(char c) {
    if (at >= text.size() || text[at] != c) return false;
    ++at;
    return true;
  }
};

void AppendUtf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 63));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 63));
    out += static_cast<char>(0x80 | (code >> 6 & 63));
    out += static_cast<char>(0x80 | (code & 63));
  }
}

uint32_t HexAt(std::string_view text, size_t at) {
  uint32_t value = 0;
  if (at + 4 > text.size()) return value;
  std::from_chars(text.data() + at, text.data() + at + 4, value, 16);
  return value;
}

// What \uXXXX at `at` (of its four digits) stands for, with the second half of a pair; `at` goes behind it.
uint32_t TakeEscape(std::string_view text, size_t& at) {
  const uint32_t code = HexAt(text, at);
  at += 4;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code < 0xdc00 && text.substr(at, 2) == "\\u") {
    const uint32_t low = HexAt(text, at + 2);
    if (low >= 0xdc00 && low <= 0xdfff) {
      at += 6;
      return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
  }
  return 0xfffd;  // half a pair is no character
}

}  // namespace

size_t ValueLength(std::string_view text) {
  Scanner scanner{text};
  return scanner.Value(0) ? scanner.at : npos;
}

bool IsValid(std::string_view text) {
  Scanner scanner{text};
  if (!scanner.Value(0)) return false;
  scanner.Blanks();
  return scanner.at == text.size();
}

bool ReadArray(std::string_view text, std::vector<std::string_view>& elements) {
  elements.clear();
  Scanner scanner{text};
  scanner.Blanks();
  if (!scanner.Take('[')) return false;
  scanner.Blanks();
  if (!scanner.Take(']')) {
    while (true) {
      scanner.Blanks();
      const size_t start = scanner.at;
      if (!scanner.Value(1)) return false;
      elements.push_back(text.substr(start, scanner.at - start));
      scanner.Blanks();
      if (scanner.Take(']')) break;
      if (!scanner.Take(',')) return false;
    }
  }
  scanner.Blanks();
  return scanner.at == text.size();
}

std::optional<std::string_view> Member(std::string_view object, std::string_view name) {
  Scanner scanner{object};
  scanner.Blanks();
  if (!scanner.Take('{')) return std::nullopt;
  scanner.Blanks();
  std::optional<std::string_view> found;
  if (scanner.Take('}')) return found;
  while (true) {
    scanner.Blanks();
    const size_t key = scanner.at;
    if (!scanner.String()) return std::nullopt;
    const std::string_view quoted = object.substr(key, scanner.at - key);
    scanner.Blanks();
    if (!scanner.Take(':')) return std::nullopt;
    scanner.Blanks();
    const size_t value = scanner.at;
    if (!scanner.Value(1)) return std::nullopt;
    const bool plain = quoted.find('\\') == npos;
    if (plain ? quoted.substr(1, quoted.size() - 2) == name : ReadString(quoted) == name) {
      found = object.substr(value, scanner.at - value);
    }
    scanner.Blanks();
    if (scanner.Take('}')) return found;
    if (!scanner.Take(',')) return std::nullopt;
  }
}

bool PlacesAreWithin(std::string_view value, size_t count) { return Scanner{value}.Places(count); }

bool IsObject(std::string_view value) { return !value.empty() && value[0] == '{'; }

std::optional<std::string_view> ViewString(std::string_view value, std::string& text) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::nullopt;
  value = value.substr(1, value.size() - 2);
  if (value.find('\\') == npos) return value;
  text.clear();
  text.reserve(value.size());
  for (size_t at = 0; at < value.size();) {
    const char c = value[at++];
    if (c != '\\' || at >= value.size()) {
      text += c;
      continue;
    }
    switch (const char escaped = value[at++]) {
      case 'b':
        text += '\b';
        break;
      case 'f':
        text += '\f';
        break;
      case 'n':
        text += '\n';
        break;
      case 'r':
        text += '\r';
        break;
      case 't':
        text += '\t';
        break;
      case 'u':
        AppendUtf8(text, TakeEscape(value, at));
        break;
      default:
        text += escaped;
        break;
    }
  }
  return text;
}

std::optional<std::string> ReadString(std::string_view value) {
  std::string store;
  const auto text = ViewString(value, store);
  if (!text) return std::nullopt;
  return std::string(*text);
}

std::optional<int64_t> ReadInteger(std::string_view value) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) return std::nullopt;
  return number;
}

bool IsTrue(std::string_view value) { return value == "true"; }

std::optional<std::string_view> ViewId(std::string_view value, std::string& store) {
  if (value.empty()) return std::nullopt;
  if (value[0] == '"') {
    const auto text = ViewString(value, store);
    if (!text || text->empty()) return std::nullopt;
    return text;
  }
  if (value[0] == '-' || IsDigit(value[0])) return value;
  return std::nullopt;
}

std::optional<std::string> ReadId(std::string_view value) {
  std::string store;
  const auto id = ViewId(value, store);
  if (!id) return std::nullopt;
  return std::string(*id);
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c >= 0x80) {
      const size_t length = CharacterLength(text.substr(at, 4));
      out += length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(at, length);
      at += length == 0 ? 1 : length;
      continue;
    }
    ++at;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (c < 32) {
          constexpr std::string_view kHex = "0123456789abcdef";
          out += "\\u00";
          out += kHex[c >> 4];
          out += kHex[c & 15];
        } else {
          out += static_cast<char>(c);
        }
    }
  }
  out += '"';
}

std::string Quoted(std::string_view text) {
  std::string out;
  AppendQuoted(out, text);
  return out;
}

}  // namespace muster::push::json
