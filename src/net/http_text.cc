// The parts of HTTP that are text only.
#include <utility>

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

Status CheckHead(const Request& request) {
  const auto breaks = [](std::string_view text, std::string_view also) {
    return text.find_first_of("\r\n") != std::string::npos || text.find_first_of(also) != std::string::npos;
  };
  if (request.method.empty() || breaks(request.method, " ")) {
    return Error::Invalid("bad-request", "the method holds a blank or a line break");
  }
  if (request.target.empty() || breaks(request.target, " ")) {
    return Error::Invalid("bad-request", "the target {} holds a blank or a line break",
                          UrlEncode(request.target));
  }
  for (const auto& [name, value] : request.headers) {
    if (name.empty() || breaks(name, ": ") || breaks(value, "")) {
      return Error::Invalid("bad-request", "the header {} is not one line", UrlEncode(name));
    }
  }
  return Done();
}

std::string FormatSse(std::string_view name, std::string_view data, std::string_view id) {
  // A line break would end the name or the id and let the rest pass for lines of the stream.
  const auto one_line = [](std::string_view text) { return text.substr(0, text.find_first_of("\r\n")); };
  std::string text;
  if (!id.empty()) text += fmt::format("id: {}\n", one_line(id));
  if (!name.empty()) text += fmt::format("event: {}\n", one_line(name));
  while (true) {
    const size_t end = data.find_first_of("\r\n");
    text += fmt::format("data: {}\n", data.substr(0, end));
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + (data.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return text + "\n";
}

std::vector<SseParser::Event> SseParser::Feed(std::string_view bytes) {
  std::vector<Event> events;
  while (!bytes.empty()) {
    // A CR ends its line at once; the LF that may follow it, now or in the next bytes, belongs to it.
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    if (end == std::string_view::npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    TakeLine(line_, events);
    line_.clear();
  }
  return events;
}

void SseParser::TakeLine(std::string_view line, std::vector<Event>& events) {
  if (std::exchange(at_start_, false) && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  if (line.empty()) {
    event_.id = last_id_;
    if (has_data_) events.push_back(std::move(event_));
    event_ = {};
    has_data_ = false;
    return;
  }
  const size_t colon = line.find(':');
  if (colon == 0) return;  // a comment
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    event_.name = value;
  } else if (field == "id" && value.find('\0') == std::string_view::npos) {
    last_id_ = value;
  }
}

}  // namespace muster::net
