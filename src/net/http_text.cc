// The parts of HTTP that are text only.
#include "base/text.h"
#include "net/http.h"

namespace muster::net {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string Decode(std::string_view text, bool plus_is_blank) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0) {
      decoded.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
      i += 2;
    } else {
      decoded.push_back(plus_is_blank && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return decoded;
}

}  // namespace

std::string UrlEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      encoded.push_back(c);
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string UrlDecode(std::string_view text) { return Decode(text, false); }

std::string Request::path() const { return UrlDecode(std::string_view(target).substr(0, target.find('?'))); }

std::map<std::string, std::string> Request::query() const {
  std::map<std::string, std::string> values;
  const size_t mark = target.find('?');
  if (mark == std::string::npos) return values;
  for (const std::string& pair : Split(std::string_view(target).substr(mark + 1), '&')) {
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string name = Decode(std::string_view(pair).substr(0, equals), true);
    values[name] = equals == std::string::npos ? "" : Decode(std::string_view(pair).substr(equals + 1), true);
  }
  return values;
}

std::string FormatSse(std::string_view name, std::string_view data, std::string_view id) {
  std::string text;
  if (!id.empty()) text += fmt::format("id: {}\n", id);
  if (!name.empty()) text += fmt::format("event: {}\n", name);
  for (const std::string& line : Split(data, '\n')) text += fmt::format("data: {}\n", line);
  return text + "\n";
}

std::vector<SseParser::Event> SseParser::Feed(std::string_view bytes) {
  buffer_.append(bytes);
  std::vector<Event> events;
  size_t start = 0;  // of the block that isn't whole yet
  size_t at = 0;
  Event event;
  bool has_data = false;
  while (true) {
    const size_t end = buffer_.find_first_of("\r\n", at);
    if (end == std::string::npos) break;
    size_t next = end + 1;
    if (buffer_[end] == '\r') {
      if (next == buffer_.size()) break;  // LF may follow
      if (buffer_[next] == '\n') ++next;
    }
    const std::string_view line = std::string_view(buffer_).substr(at, end - at);
    at = next;
    if (line.empty()) {
      if (has_data) events.push_back(std::move(event));
      event = {};
      has_data = false;
      start = at;
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == 0) continue;  // a comment
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") {
      if (has_data) event.data += '\n';
      event.data += value;
      has_data = true;
    } else if (field == "event") {
      event.name = value;
    } else if (field == "id") {
      event.id = value;
    }
  }
  buffer_.erase(0, start);
  return events;
}

}  // namespace muster::net
