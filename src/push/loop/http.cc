#include "push/loop/http.h"

#include <charconv>

#include "base/text.h"

namespace muster::push::http {
namespace {

constexpr size_t kChunkLineMost = 128;
constexpr size_t kChunkLinesMost = 65536;

bool IsTokenCharacter(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!IsTokenCharacter(c)) return false;
  }
  return true;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool IsClean(std::string_view value) {  // of control characters
  for (const char c : value) {
    if ((static_cast<unsigned char>(c) < 32 && c != '\t') || c == 127) return false;
  }
  return true;
}

bool ParseNumber(std::string_view text, int64_t& number) {
  if (text.empty() || text.size() > 18) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0 && text[0] != '-';
}

// Takes in one header; false for one that makes the request wrong, with `status` why.
bool Take(std::string_view name, std::string_view value, Request& request, int& status) {
  switch (name.size()) {
    case 4:
      if (SameWord(name, "host")) request.host = value;
      break;
    case 6:
      if (SameWord(name, "origin")) request.origin = value;
      if (SameWord(name, "expect")) request.expects_continue = SameWord(value, "100-continue");
      break;
    case 7:
      if (SameWord(name, "upgrade")) request.upgrade = value;
      break;
    case 10:
      if (SameWord(name, "connection")) request.connection = value;
      if (SameWord(name, "user-agent")) request.user_agent = value;
      break;
    case 12:
      if (SameWord(name, "content-type")) request.content_type = value;
      break;
    case 13:
      if (SameWord(name, "authorization")) request.authorization = value;
      break;
    case 14:
      if (SameWord(name, "content-length")) {
        int64_t length = 0;
        if (!ParseNumber(value, length)) return false;
        if (request.content_length >= 0 && request.content_length != length) return false;
        request.content_length = length;
      }
      break;
    case 17:
      if (SameWord(name, "transfer-encoding")) {
        if (!SameWord(value, "chunked")) {
          status = 501;
          return false;
        }
        request.chunked = true;
      }
      if (SameWord(name, "sec-websocket-key")) request.websocket_key = value;
      break;
    case 21:
      if (SameWord(name, "sec-websocket-version")) request.websocket_version = value;
      break;
    case 29:
      if (SameWord(name, "access-control-request-method")) request.asked_method = value;
      break;
    case 30:
      if (SameWord(name, "access-control-request-headers")) request.asked_headers = value;
      break;
    default:
      break;
  }
  return true;
}

// "GET /path?query HTTP/1.1"
bool ParseRequestLine(std::string_view line, Request& request, int& status) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last == first) return false;
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(request.method) || request.target.empty()) return false;
  for (const char c : request.target) {
    if (static_cast<unsigned char>(c) <= 32 || c == 127) return false;
  }
  if (version == "HTTP/1.0") {
    request.keep_alive = false;
  } else if (version != "HTTP/1.1") {
    status = version.substr(0, 5) == "HTTP/" ? 505 : 400;
    return false;
  }
  std::string_view target = request.target;
  if (target.substr(0, 7) == "http://") {  // as proxies may ask
    const size_t slash = target.find('/', 7);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (target[0] != '/' && target != "*") return false;
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  request.query = question == std::string_view::npos ? std::string_view{} : target.substr(question + 1);
  return true;
}

}  // namespace

bool SameWord(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

bool Names(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (SameWord(Trim(list.substr(0, comma)), word)) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

Head ParseHead(std::string_view bytes, Request& request, const HeadLimits& limits) {
  request = Request{};
  size_t start = 0;
  while (bytes.substr(start, 2) == "\r\n" && start < 8) start += 2;  // RFC 9112, 2.2: some clients add one
  const size_t end = bytes.substr(0, limits.bytes).find("\r\n\r\n", start);
  if (end == std::string_view::npos) {
    if (bytes.size() >= limits.bytes) return {.parsed = Parsed::kBad, .status = 431};
    // What can't be a request is told at once: TLS to a plain port, for one.
    if (bytes.size() > start && !IsTokenCharacter(bytes[start]) && bytes[start] != '\r')
      return {.parsed = Parsed::kBad};
    return {};
  }
  Head head{.parsed = Parsed::kBad, .size = end + 4};
  std::string_view rest = bytes.substr(start, end + 2 - start);
  size_t line_end = rest.find("\r\n");
  if (!ParseRequestLine(rest.substr(0, line_end), request, head.status)) return head;
  rest.remove_prefix(line_end + 2);
  const bool host_wanted = request.keep_alive;  // no header was read yet: it is HTTP/1.1
  int hosts = 0;
  for (int count = 0; !rest.empty(); ++count) {
    if (count >= limits.headers) {
      head.status = 431;
      return head;
    }
    line_end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(line_end + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return head;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = Trim(line.substr(colon + 1));
    if (!IsToken(name) || !IsClean(value)) return head;
    if (!Take(name, value, request, head.status)) return head;
    if (SameWord(name, "host") && ++hosts > 1) return head;
  }
  if (hosts == 0 && host_wanted) return head;  // RFC 9112, 3.2
  if (request.chunked && request.content_length >= 0) return head;
  if (Names(request.connection, "close")) request.keep_alive = false;
  if (Names(request.connection, "keep-alive")) request.keep_alive = true;
  head.parsed = Parsed::kWhole;
  return head;
}

Chunks ParseChunks(std::string_view bytes, size_t body_max, std::string& body, size_t taken) {
  if (taken == 0) body.clear();
  Chunks chunks;
  size_t at = taken;
  while (true) {
    chunks.size = at;
    if (at - body.size() > body_max + kChunkLinesMost) {
      chunks.parsed = Parsed::kBad;
      chunks.too_large = true;
      return chunks;
    }
    const std::string_view window = bytes.substr(at, kChunkLineMost);
    const size_t line_end = window.find("\r\n");
    if (line_end == std::string_view::npos) {
      if (window.size() == kChunkLineMost) chunks.parsed = Parsed::kBad;
      return chunks;
    }
    const std::string_view line = window.substr(0, line_end);
    const std::string_view size_text = line.substr(0, line.find(';'));
    size_t size = 0;
    const auto [end, error] =
        std::from_chars(size_text.data(), size_text.data() + size_text.size(), size, 16);
    if (size_text.empty() || error != std::errc() || end != size_text.data() + size_text.size()) {
      chunks.parsed = Parsed::kBad;
      return chunks;
    }
    at += line_end + 2;
    if (size == 0) break;
    if (size > body_max || body.size() + size > body_max) {
      chunks.parsed = Parsed::kBad;
      chunks.too_large = true;
      return chunks;
    }
    if (bytes.size() < at + size + 2) return chunks;
    body.append(bytes.substr(at, size));
    at += size;
    if (bytes.substr(at, 2) != "\r\n") {
      chunks.parsed = Parsed::kBad;
      return chunks;
    }
    at += 2;
  }
  // Trailers are read over.
  for (int lines = 0; lines < 20; ++lines) {
    const size_t line_end = bytes.find("\r\n", at);
    if (line_end == std::string_view::npos) {
      if (bytes.size() - at > 4096) chunks.parsed = Parsed::kBad;
      return chunks;
    }
    const bool empty = line_end == at;
    at = line_end + 2;
    if (empty) {
      chunks.parsed = Parsed::kWhole;
      chunks.size = at;
      return chunks;
    }
  }
  chunks.parsed = Parsed::kBad;
  return chunks;
}

std::string_view QueryValue(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t amp = query.find('&');
    const std::string_view pair = query.substr(0, amp);
    if (pair.substr(0, name.size()) == name) {
      if (pair.size() == name.size()) return {};
      if (pair[name.size()] == '=') return pair.substr(name.size() + 1);
    }
    if (amp == std::string_view::npos) break;
    query.remove_prefix(amp + 1);
  }
  return {};
}

std::string DecodePercent(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && text.size() - i > 2) {
      const char* at = text.data() + i + 1;
      const auto [end, error] = std::from_chars(at, at + 2, value, 16);
      if (error == std::errc() && end == at + 2) {
        decoded += static_cast<char>(value);
        i += 2;
        continue;
      }
    }
    decoded += text[i] == '+' ? ' ' : text[i];
  }
  return decoded;
}

std::string_view Reason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Payload Too Large";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

void AppendResponse(std::string& out, int status, std::string_view headers, std::string_view body,
                    bool keep_alive) {
  char number[24];
  out += "HTTP/1.1 ";
  out.append(number, std::to_chars(number, number + sizeof number, status).ptr - number);
  out += ' ';
  out += Reason(status);
  out += "\r\n";
  out += headers;
  if (status != 204 && status != 100) {
    out += "Content-Length: ";
    out.append(number, std::to_chars(number, number + sizeof number, body.size()).ptr - number);
    out += "\r\n";
  }
  if (!keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
  out += body;
}

}  // namespace muster::push::http
