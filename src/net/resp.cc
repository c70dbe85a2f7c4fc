#include "net/resp.h"

#include <cassert>
#include <charconv>

namespace muster::net::resp {
namespace {

constexpr size_t kDescribedMost = 300;

template <class Number>
std::optional<Number> ParseNumber(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool IsDouble(std::string_view text) {
  if (text == "inf" || text == "+inf" || text == "-inf" || text == "nan" || text == "-nan") return true;
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return false;
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error != std::errc::invalid_argument && end == text.data() + text.size();
}

bool IsBigNumber(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<std::string> TextOf(const Value& value) {
  switch (value.type) {
    case Type::kSimple:
    case Type::kBulk:
    case Type::kDouble:
    case Type::kBigNumber:
    case Type::kVerbatim:
      return value.text;
    case Type::kInteger:
    case Type::kBool:
      return std::to_string(value.integer);
    case Type::kNull:
      return "";
    default:
      return std::nullopt;
  }
}

void Write(std::string& out, std::string_view text) {
  for (const char c : text.substr(0, kDescribedMost)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
}

void Write(std::string& out, const Value& value) {
  if (out.size() > kDescribedMost) return;
  switch (value.type) {
    case Type::kNull:
      out += "(null)";
      break;
    case Type::kError:
      out += "(error) ";
      Write(out, std::string_view(value.text));
      break;
    case Type::kInteger:
      out += fmt::format("(integer) {}", value.integer);
      break;
    case Type::kBool:
      out += value.integer ? "(true)" : "(false)";
      break;
    case Type::kArray:
    case Type::kMap:
    case Type::kSet:
    case Type::kPush:
      out += '[';
      for (size_t i = 0; i < value.items.size() && out.size() <= kDescribedMost; ++i) {
        if (i > 0) out += ", ";
        Write(out, value.items[i]);
      }
      out += ']';
      break;
    default:
      Write(out, std::string_view(value.text));
  }
}

bool WantsPassword(std::string_view code) {
  return code == "NOAUTH" || code == "WRONGPASS" || code == "NOPERM";
}

bool MayPass(std::string_view code) {
  return code == "LOADING" || code == "CLUSTERDOWN" || code == "MASTERDOWN" || code == "TRYAGAIN" ||
         code == "BUSY" || code == "NOREPLICAS" || code == "MISCONF";
}

}  // namespace

std::string_view Value::error_code() const {
  if (!is_error()) return {};
  return std::string_view(text).substr(0, text.find(' '));
}

std::optional<int64_t> Value::AsInteger() const {
  if (type == Type::kInteger || type == Type::kBool) return integer;
  if (type == Type::kBulk || type == Type::kSimple) return ParseNumber<int64_t>(text);
  return std::nullopt;
}

std::optional<std::vector<std::string>> Value::AsTexts() const {
  if (type != Type::kArray && type != Type::kSet && type != Type::kMap) return std::nullopt;
  std::vector<std::string> texts;
  for (const Value& item : items) {
    auto text = TextOf(item);
    if (!text) return std::nullopt;
    texts.push_back(std::move(*text));
  }
  return texts;
}

std::optional<std::vector<std::pair<std::string, std::string>>> Value::AsPairs() const {
  if (type != Type::kArray && type != Type::kMap) return std::nullopt;
  auto texts = AsTexts();
  if (!texts || texts->size() % 2 != 0) return std::nullopt;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (size_t i = 0; i < texts->size(); i += 2) {
    pairs.emplace_back(std::move((*texts)[i]), std::move((*texts)[i + 1]));
  }
  return pairs;
}

std::string Describe(const Value& value) {
  std::string out;
  Write(out, value);
  if (out.size() <= kDescribedMost) return out;
  size_t most = kDescribedMost;  // without cutting a character of UTF-8 in two
  while (most > 0 && (static_cast<unsigned char>(out[most]) & 0xc0) == 0x80) --most;
  return out.substr(0, most) + "…";
}

Error RefusedError(const Value& value, std::string_view what) {
  std::string text;
  Write(text, std::string_view(value.text));
  const std::string_view code = value.error_code();
  if (WantsPassword(code)) {
    return Error::Denied("redis-denied", "redis refuses {}: {}", what, text)
        .Hint("the password that muster has isn't the one that redis wants");
  }
  if (MayPass(code)) return Error::Unavailable("redis-refused", "redis refuses {}: {}", what, text);
  return Error::Conflict("redis-refused", "redis refuses {}: {}", what, text);
}

std::string Encode(const Command& command) {
  assert(!command.empty());
  std::string bytes = fmt::format("*{}\r\n", command.size());
  for (const std::string& word : command) {
    bytes += fmt::format("${}\r\n", word.size());
    bytes += word;
    bytes += "\r\n";
  }
  return bytes;
}

Result<std::vector<Value>> Parser::Feed(std::string_view bytes) {
  if (broken_) return Bad("what came before was none");
  buffer_ += bytes;
  while (true) {
    const auto step = ReadPiece();
    if (!step.ok()) return step.error();
    if (*step == Step::kNeedsMore) break;
  }
  // Once a Feed, since moving what is left costs as much as there is of it.
  buffer_.erase(0, at_);
  scanned_ -= at_;
  at_ = 0;
  return std::exchange(done_, {});
}

Result<Parser::Step> Parser::ReadPiece() {
  if (bulk_) return ReadBulk();
  const size_t end = buffer_.find("\r\n", scanned_);
  if (end == std::string::npos) {
    // The last byte may be the first half of the end.
    scanned_ = std::max(at_, buffer_.size() - (buffer_.ends_with('\r') ? 1 : 0));
    if (scanned_ - at_ > limits_.line) return Bad("a line is too long");
    return Step::kNeedsMore;
  }
  if (end - at_ > limits_.line) return Bad("a line is too long");
  const std::string_view line = std::string_view(buffer_).substr(at_, end - at_);
  bytes_ += line.size() + 2;
  if (bytes_ > limits_.bytes) return Bad("an answer is too large");
  at_ = scanned_ = end + 2;
  MUSTER_DO(TakeLine(line));
  return Step::kGoOn;
}

Result<Parser::Step> Parser::ReadBulk() {
  const std::string_view rest = std::string_view(buffer_).substr(at_);
  if (rest.size() < bulk_length_ + 2) return Step::kNeedsMore;
  if (rest.substr(bulk_length_, 2) != "\r\n") return Bad("a text is longer than it says");
  Value value{.type = *bulk_, .text = std::string(rest.substr(0, bulk_length_))};
  at_ += bulk_length_ + 2;
  scanned_ = at_;
  bulk_.reset();
  if (value.type == Type::kVerbatim) {
    if (value.text.size() < 4 || value.text[3] != ':') return Bad("a text doesn't say its format");
    value.text.erase(0, 4);
  }
  MUSTER_DO(Deliver(std::move(value)));
  return Step::kGoOn;
}

Status Parser::TakeLine(std::string_view line) {
  if (line.empty()) return Bad("an empty line");
  if (++items_ > limits_.items) return Bad("an answer has too many items");
  const std::string_view rest = line.substr(1);
  switch (line[0]) {
    case '+':
      return Deliver({.type = Type::kSimple, .text = std::string(rest)});
    case '-':
      return Deliver({.type = Type::kError, .text = std::string(rest)});
    case ':': {
      const auto number = ParseNumber<int64_t>(rest);
      if (!number) return Bad("a number can't be read");
      return Deliver({.type = Type::kInteger, .integer = *number});
    }
    case '$':
      return Expect(Type::kBulk, rest);
    case '!':
      return Expect(Type::kError, rest);
    case '=':
      return Expect(Type::kVerbatim, rest);
    case '*':
      return OpenList(Type::kArray, rest, false);
    case '%':
      return OpenList(Type::kMap, rest, false);
    case '~':
      return OpenList(Type::kSet, rest, false);
    case '>':
      return OpenList(Type::kPush, rest, false);
    case '|':
      return OpenList(Type::kMap, rest, true);
    case '_':
      if (!rest.empty()) return Bad("a null with something in it");
      return Deliver({});
    case '#':
      if (rest != "t" && rest != "f") return Bad("neither true nor false");
      return Deliver({.type = Type::kBool, .integer = rest == "t"});
    case ',':
      if (!IsDouble(rest)) return Bad("a number can't be read");
      return Deliver({.type = Type::kDouble, .text = std::string(rest)});
    case '(':
      if (!IsBigNumber(rest)) return Bad("a number can't be read");
      return Deliver({.type = Type::kBigNumber, .text = std::string(rest)});
    default:
      return Bad("a line begins with no type");
  }
}

Status Parser::Expect(Type type, std::string_view length) {
  if (type == Type::kBulk && length == "-1") return Deliver({});
  const auto number = ParseNumber<uint64_t>(length);
  if (!number) return Bad("a length can't be read");
  if (*number > limits_.bytes || bytes_ + *number + 2 > limits_.bytes) return Bad("an answer is too large");
  bytes_ += *number + 2;
  bulk_ = type;
  bulk_length_ = *number;
  return Done();
}

Status Parser::OpenList(Type type, std::string_view length, bool attribute) {
  if (type == Type::kArray && length == "-1") return Deliver({});
  const auto number = ParseNumber<uint64_t>(length);
  if (!number) return Bad("a length can't be read");
  if (*number > limits_.items) return Bad("an answer has too many items");
  if (open_.size() >= limits_.depth) return Bad("an answer is nested too deep");
  const size_t left = type == Type::kMap ? *number * 2 : *number;
  if (left == 0) return attribute ? Done() : Deliver({.type = type});
  open_.push_back({.value = {.type = type}, .left = left, .attribute = attribute});
  return Done();
}

// Puts a value into the list that waits for it, which may be whole by that, and so on outwards.
Status Parser::Deliver(Value value) {
  while (!open_.empty()) {
    Open& open = open_.back();
    if (!open.attribute) open.value.items.push_back(std::move(value));
    if (--open.left > 0) return Done();
    const bool attribute = open.attribute;
    value = std::move(open.value);
    open_.pop_back();
    if (attribute) return Done();  // it was about what comes next
  }
  done_.push_back(std::move(value));
  bytes_ = items_ = 0;
  return Done();
}

Error Parser::Bad(std::string_view why) {
  broken_ = true;
  open_.clear();
  done_.clear();
  return Error::Unavailable("bad-resp", "what came isn't an answer of redis: {}", why)
      .Hint("does another program listen there, or does redis want TLS?");
}

}  // namespace muster::net::resp
