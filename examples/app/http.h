// HTTP/1.1 as far as a small server needs it. Pure: bytes in, requests out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace example {

struct Request {
  std::string method;
  std::string target;  // as sent
  std::string path;    // before "?", as sent
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  uint64_t body_bytes = 0;                                   // counted, not kept
  bool keep_alive = true;

  std::string Header(std::string_view name) const;  // lower case; "" where absent
  // Whether a list such as `Connection: keep-alive, Upgrade` has this word.
  bool HeaderHas(std::string_view name, std::string_view word) const;
  std::string Query(std::string_view name) const;  // decoded; "" where absent
};

struct Answer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Reads one request after the other from a connection.
class RequestReader {
 public:
  // Takes what it can from `input`. 0: more is needed; 200: `request` is whole; else the status to refuse it
  // with, after which the connection can't go on.
  int Read(std::string& input);
  void Next();  // after a whole request

  bool in_request() const { return state_ != State::kHead || started_; }
  // Once after each head that came with `Expect: 100-continue`.
  bool TakeContinue() { return std::exchange(wants_continue_, false); }

  Request request;

 private:
  enum class State { kHead, kBody, kChunkSize, kChunk, kChunkEnd, kTrailer, kWhole };
  int ReadHead(std::string& input);
  int ReadChunkLine(std::string& input);

  State state_ = State::kHead;
  bool started_ = false;
  bool wants_continue_ = false;
  uint64_t left_ = 0;
};

// The head of an answer, with Content-Length `length`.
std::string HeadOf(const Answer& answer, uint64_t length, bool keep_alive);
std::string Unescape(std::string_view text);  // %41 and +
std::string JsonText(std::string_view text);  // quoted

}  // namespace example
