// What Redis speaks: commands as they are sent, and its answers read from a stream of bytes, in version 2 of
// the protocol (RESP2) and version 3. Pure; never throws, whatever the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace muster::net::resp {

enum class Type {
  kSimple,   // "OK"
  kError,    // "ERR no such key": an answer like any other
  kInteger,  //
  kBulk,     // any bytes
  kNull,     // in each of its three forms
  kArray,
  kMap,  // items: key, value, key, value …
  kSet,
  kBool,       // integer is 0 or 1
  kDouble,     // text is the number as it came
  kBigNumber,  // text is the number as it came
  kVerbatim,   // text without "txt:"
  kPush,       // what nobody asked for, such as a message of a subscription
};

struct Value {
  Type type = Type::kNull;
  std::string text;
  int64_t integer = 0;
  std::vector<Value> items;

  bool is_error() const { return type == Type::kError; }
  bool is_null() const { return type == Type::kNull; }
  bool is_ok() const { return type == Type::kSimple && text == "OK"; }
  // The first word of an error, such as "MOVED" or "LOADING"; "" for everything else.
  std::string_view error_code() const;
  // An integer, or a text that is one.
  std::optional<int64_t> AsInteger() const;
  // The texts of an array's items (integers in digits, null as ""); nullopt where it is no list of such.
  std::optional<std::vector<std::string>> AsTexts() const;
  // What CONFIG GET and its like answer: a map, or a flat list of keys and values; nullopt for anything else.
  std::optional<std::vector<std::pair<std::string, std::string>>> AsPairs() const;

  bool operator==(const Value&) const = default;
};

// For errors and logs: "(error) ERR …", "(integer) 3", "[a, b, (null)]". Cut after some hundred bytes,
// without bytes that a terminal would act on.
std::string Describe(const Value& value);

// An answer of Redis's that is an error, as an Error: code "redis-refused", or "redis-denied" where it wants
// a password or another one. `what` says what was asked, such as "CLUSTER MEET"; never put a secret in.
Error RefusedError(const Value& value, std::string_view what);

// Name and arguments, each any bytes. Never empty: Redis answers nothing to that.
using Command = std::vector<std::string>;
std::string Encode(const Command& command);

struct Limits {
  size_t bytes = 64u << 20;  // of one answer, as it comes over the wire
  size_t items = 1u << 20;   // of one answer in all: a small item takes far more memory than wire
  size_t line = 64u << 10;   // bytes of a line: an error, a number, a length
  size_t depth = 32;
};

// Takes answers out of a stream that is cut anywhere. Attributes of RESP3 are read over. Code "bad-resp" for
// what isn't the protocol, is beyond the limits, or is streamed (which no Redis does); after that it stays
// broken.
class Parser {
 public:
  explicit Parser(Limits limits = {}) : limits_(limits) {}
  // The answers that are whole by now, in their order.
  Result<std::vector<Value>> Feed(std::string_view bytes);

 private:
  // A list whose items are still coming.
  struct Open {
    Value value;
    size_t left = 0;
    bool attribute = false;
  };
  // What reading one piece (a line, or the bytes of a bulk) came to.
  enum class Step { kGoOn, kNeedsMore };

  Result<Step> ReadPiece();
  Result<Step> ReadBulk();
  Status TakeLine(std::string_view line);
  Status OpenList(Type type, std::string_view length, bool attribute);
  Status Expect(Type type, std::string_view length);
  Status Deliver(Value value);
  Error Bad(std::string_view why);

  Limits limits_;
  std::string buffer_;
  size_t at_ = 0;       // what is before has been read
  size_t scanned_ = 0;  // no end of a line before
  size_t bytes_ = 0;    // of the answer under way
  size_t items_ = 0;    // of the answer under way
  std::vector<Open> open_;
  std::optional<Type> bulk_;  // its bytes come next
  size_t bulk_length_ = 0;
  std::vector<Value> done_;
  bool broken_ = false;
};

}  // namespace muster::net::resp
