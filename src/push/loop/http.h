// HTTP/1.1 as a server of small requests reads and writes it. Pure. What a Request points to lies in the
// bytes it was read from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace muster::push::http {

struct Request {
  std::string_view method, target, path, query;  // the query without its '?'
  std::string_view host, origin, connection, upgrade, content_type, authorization, user_agent;
  std::string_view websocket_key, websocket_version;
  std::string_view asked_method, asked_headers;  // of a CORS preflight
  std::string_view body;
  int64_t content_length = -1;  // -1: not given
  bool chunked = false;
  bool keep_alive = true;
  bool expects_continue = false;
};

enum class Parsed { kWhole, kNeedMore, kBad };

struct HeadLimits {
  size_t bytes = 16384;
  int headers = 100;
};
struct Head {
  Parsed parsed = Parsed::kNeedMore;
  size_t size = 0;   // of the head with its empty line
  int status = 400;  // what to answer for kBad: 400, 431, 501 or 505
};
// Reads request line and headers. Strict where laxness lets requests be smuggled: no folded lines, no blank
// before a colon, no two lengths that differ, no length together with chunks, one Host in HTTP/1.1.
Head ParseHead(std::string_view bytes, Request& request, const HeadLimits& limits = {});

struct Chunks {
  Parsed parsed = Parsed::kNeedMore;
  size_t size = 0;  // of all chunks with what ends them; for kNeedMore of those that are whole
  bool too_large = false;
};
// Reads a chunked body, into `body`; goes on behind the first `taken` bytes, which an earlier call said were
// whole and `body` holds. What tells of the chunks may be as long as a body may be, and 64 KiB.
Chunks ParseChunks(std::string_view bytes, size_t body_max, std::string& body, size_t taken = 0);

// Whether `list`, such as the header Connection, names `word`, whatever its case.
bool Names(std::string_view list, std::string_view word);
bool SameWord(std::string_view a, std::string_view b);  // whatever their case

// The first value of `name` in a query, as it stands; nothing of it is decoded.
std::string_view QueryValue(std::string_view query, std::string_view name);
std::string DecodePercent(std::string_view text);

std::string_view Reason(int status);
// A response with Content-Length and the headers given, each line of which ends in \r\n.
void AppendResponse(std::string& out, int status, std::string_view headers, std::string_view body,
                    bool keep_alive);

}  // namespace muster::push::http
