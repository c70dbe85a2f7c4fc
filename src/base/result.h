// How muster reports what went wrong: an Error is a value, and Result<T> is either a T or an Error. Both own
// all that they hold and may be handed from thread to thread.
#pragma once

#include <fmt/core.h>

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

// What policy follows from an error: exit code, HTTP status, whether trying again makes sense.
enum class ErrorKind {
  kInvalid,      // What was asked for can't be right. HTTP 400.
  kNotFound,     // HTTP 404.
  kConflict,     // Somebody or something else is in the way. HTTP 409.
  kRefused,      // muster won't until a person decides. HTTP 412, exit code 3.
  kDenied,       // Not allowed. HTTP 403.
  kUnavailable,  // May work later. HTTP 503.
  kTimeout,      // HTTP 504.
  kInternal,     // HTTP 500.
};

std::string_view ErrorKindName(ErrorKind kind);
ErrorKind ErrorKindNamed(std::string_view name);  // kInternal for a name it does not know.

// An error that a person can act on. `code` is stable ("port-taken") and documented; `message` is the cause;
// `hint` is what to do; `evidence` are lines to show below it, such as the end of a log. A plain value.
class Error {
 public:
  Error(ErrorKind kind, std::string_view code, std::string message)
      : kind_(kind), code_(code), message_(std::move(message)) {}

#define MUSTER_ERROR_MAKER(Name)                                                                  \
  template <class... Args>                                                                        \
  static Error Name(std::string_view code, fmt::format_string<Args...> format, Args&&... args) {  \
    return Error(ErrorKind::k##Name, code, fmt::vformat(format, fmt::make_format_args(args...))); \
  }
  MUSTER_ERROR_MAKER(Invalid)
  MUSTER_ERROR_MAKER(NotFound)
  MUSTER_ERROR_MAKER(Conflict)
  MUSTER_ERROR_MAKER(Refused)
  MUSTER_ERROR_MAKER(Denied)
  MUSTER_ERROR_MAKER(Unavailable)
  MUSTER_ERROR_MAKER(Timeout)
  MUSTER_ERROR_MAKER(Internal)
#undef MUSTER_ERROR_MAKER

  // The error that `errno` describes, with code "os-error": "open /x: Permission denied".
  static Error Os(std::string_view what, int error_number);

  template <class... Args>
  Error Hint(fmt::format_string<Args...> format, Args&&... args) && {
    hint_ = fmt::vformat(format, fmt::make_format_args(args...));
    return std::move(*this);
  }
  Error Evidence(std::vector<std::string> lines) && {
    evidence_ = std::move(lines);
    return std::move(*this);
  }
  // Says what was being done; the outermost comes first in `Text()`.
  template <class... Args>
  Error While(fmt::format_string<Args...> format, Args&&... args) && {
    message_ = fmt::vformat(format, fmt::make_format_args(args...)) + ": " + message_;
    return std::move(*this);
  }

  ErrorKind kind() const { return kind_; }
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const std::vector<std::string>& evidence() const { return evidence_; }

  // "message [code]", then hint and evidence on lines of their own, without a final newline.
  std::string Text() const;

  bool operator==(const Error&) const = default;

 private:
  ErrorKind kind_;
  std::string code_;
  std::string message_;
  std::string hint_;
  std::vector<std::string> evidence_;
};

struct Ok {
  bool operator==(const Ok&) const = default;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using Value = T;
  Result(T value) : value_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : value_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return value_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return *std::get_if<0>(&value_);
  }
  const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&value_);
  }
  T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&value_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    assert(!ok());
    return *std::get_if<1>(&value_);
  }
  Error&& error() && {
    assert(!ok());
    return std::move(*std::get_if<1>(&value_));
  }

  template <class... Args>
  Result While(fmt::format_string<Args...> format, Args&&... args) && {
    if (!ok()) *this = std::move(*this).error().While(format, std::forward<Args>(args)...);
    return std::move(*this);
  }

 private:
  std::variant<T, Error> value_;
};

// The outcome of something that returns nothing: `return Done();` or an Error.
using Status = Result<Ok>;
inline Status Done() { return Ok{}; }

}  // namespace muster

#define MUSTER_CONCAT_(a, b) a##b
#define MUSTER_CONCAT(a, b) MUSTER_CONCAT_(a, b)
#define MUSTER_TRY_(Return, name, declaration, ...) \
  auto name = (__VA_ARGS__);                        \
  if (!name.ok()) Return std::move(name).error();   \
  declaration = std::move(name).value()

// MUSTER_TRY(const int port, ParsePort(text)): declares `port`, or returns the error from this function.
#define MUSTER_TRY(declaration, ...) \
  MUSTER_TRY_(return, MUSTER_CONCAT(result_, __LINE__), declaration, __VA_ARGS__)
#define MUSTER_CO_TRY(declaration, ...) \
  MUSTER_TRY_(co_return, MUSTER_CONCAT(result_, __LINE__), declaration, __VA_ARGS__)
// MUSTER_DO(WriteFile(...)): for what returns a Status.
#define MUSTER_DO(...)                                                \
  do {                                                                \
    auto muster_status = (__VA_ARGS__);                               \
    if (!muster_status.ok()) return std::move(muster_status).error(); \
  } while (false)
#define MUSTER_CO_DO(...)                                                \
  do {                                                                   \
    auto muster_status = (__VA_ARGS__);                                  \
    if (!muster_status.ok()) co_return std::move(muster_status).error(); \
  } while (false)
