#include "http.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace example {
namespace {

constexpr size_t kHeadMost = 64 * 1024;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return lower;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

template <class Number>
bool ReadNumber(std::string_view text, Number& number, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

std::string_view Reason(int status) {
  switch (status) {
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Answer";
  }
}

}  // namespace

std::string Request::Header(std::string_view name) const {
  std::string joined;
  for (const auto& [found, value] : headers) {
    if (found == name) joined += (joined.empty() ? "" : ", ") + value;
  }
  return joined;
}

bool Request::HeaderHas(std::string_view name, std::string_view word) const {
  const std::string list = Lower(Header(name));
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    if (Trim(std::string_view(list).substr(at, comma - at)) == word) return true;
    at = comma + 1;
  }
  return false;
}

std::string Request::Query(std::string_view name) const {
  for (size_t at = 0; at <= query.size();) {
    const size_t end = std::min(query.find('&', at), query.size());
    const std::string_view pair = std::string_view(query).substr(at, end - at);
    const size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == name) return Unescape(pair.substr(std::min(equals + 1, pair.size())));
    at = end + 1;
  }
  return "";
}

int RequestReader::Read(std::string& input) {
  while (true) {
    switch (state_) {
      case State::kHead: {
        // Blank lines between requests are allowed (RFC 9112, 2.2).
        while (!started_ && !input.empty() && (input[0] == '\r' || input[0] == '\n')) input.erase(0, 1);
        if (const int status = ReadHead(input); status != 200) return status;
        break;
      }
      case State::kBody:
      case State::kChunk: {
        const uint64_t taken = std::min<uint64_t>(left_, input.size());
        input.erase(0, taken);
        left_ -= taken;
        request.body_bytes += taken;
        if (left_ > 0) return 0;
        state_ = state_ == State::kBody ? State::kWhole : State::kChunkEnd;
        break;
      }
      case State::kChunkSize:
      case State::kChunkEnd:
      case State::kTrailer:
        if (const int status = ReadChunkLine(input); status != 200) return status;
        break;
      case State::kWhole:
        return 200;
    }
  }
}

int RequestReader::ReadHead(std::string& input) {
  started_ = !input.empty();
  const size_t end = input.find("\r\n\r\n");
  if (end == std::string::npos) return input.size() > kHeadMost ? 431 : 0;
  if (end > kHeadMost) return 431;
  const std::string head = input.substr(0, end + 2);
  input.erase(0, end + 4);

  const size_t line_end = head.find("\r\n");
  const std::string line = head.substr(0, line_end);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string::npos || first == last || first == 0) return 400;
  const std::string version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return version.substr(0, 5) == "HTTP/" ? 505 : 400;
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  if (request.target.empty() || request.target.find(' ') != std::string::npos) return 400;
  const size_t question = std::min(request.target.find('?'), request.target.size());
  request.path = request.target.substr(0, question);
  request.query = request.target.substr(std::min(question + 1, request.target.size()));

  for (size_t at = line_end + 2; at < head.size();) {
    const size_t stop = head.find("\r\n", at);
    const std::string_view field = std::string_view(head).substr(at, stop - at);
    const size_t colon = field.find(':');
    if (colon == 0 || colon == std::string_view::npos || field[colon - 1] == ' ') return 400;
    request.headers.emplace_back(Lower(field.substr(0, colon)), Trim(field.substr(colon + 1)));
    at = stop + 2;
  }

  request.keep_alive = version == "HTTP/1.1" ? !request.HeaderHas("connection", "close")
                                             : request.HeaderHas("connection", "keep-alive");
  const std::string length = request.Header("content-length");
  const std::string encoding = Lower(request.Header("transfer-encoding"));
  if (!encoding.empty() && !length.empty()) return 400;  // One of both lies.
  if (!encoding.empty()) {
    if (encoding != "chunked") return 501;
    state_ = State::kChunkSize;
  } else {
    if (!length.empty() && !ReadNumber(length, left_, 10)) return 400;
    state_ = left_ > 0 ? State::kBody : State::kWhole;
  }
  wants_continue_ = state_ != State::kWhole && Lower(request.Header("expect")) == "100-continue";
  return 200;
}

// The lines of the chunked coding: a size, the end of a chunk, a trailer.
int RequestReader::ReadChunkLine(std::string& input) {
  const size_t end = input.find("\r\n");
  if (end == std::string::npos) return input.size() > 4096 ? 400 : 0;
  const std::string line = input.substr(0, end);
  input.erase(0, end + 2);
  if (state_ == State::kTrailer) {
    if (line.empty()) state_ = State::kWhole;
    return 200;
  }
  if (state_ == State::kChunkEnd) {
    state_ = State::kChunkSize;
    return line.empty() ? 200 : 400;
  }
  const std::string_view size = Trim(std::string_view(line).substr(0, line.find(';')));
  if (!ReadNumber(size, left_, 16)) return 400;
  state_ = left_ > 0 ? State::kChunk : State::kTrailer;
  return 200;
}

void RequestReader::Next() { *this = RequestReader(); }

std::string HeadOf(const Answer& answer, uint64_t length, bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(Reason(answer.status));
  head += "\r\nServer: example-app\r\n";
  for (const auto& [name, value] : answer.headers) head += name + ": " + value + "\r\n";
  if (answer.status != 101) {
    head += "Content-Type: " + answer.type + "\r\nContent-Length: " + std::to_string(length);
    head += keep_alive ? "\r\nConnection: keep-alive\r\n" : "\r\nConnection: close\r\n";
  }
  return head + "\r\n";
}

std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    if (text[i] == '%' && i + 2 < text.size() && ReadNumber(text.substr(i + 1, 2), byte, 16)) {
      plain.push_back(static_cast<char>(byte));
      i += 2;
    } else {
      plain.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return plain;
}

std::string JsonText(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json.push_back('\\');
      json.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      json += escaped;
    } else {
      json.push_back(c);
    }
  }
  return json + "\"";
}

}  // namespace example
