// The log: one line an event, as text or as JSON, on standard error. Any thread; waits for nobody who reads
// it: what a full pipe doesn't take is lost, and counted.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace muster::push {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
using LogField = std::pair<std::string_view, std::string>;

// What may come in storms, such as an attack or a fault makes.
enum class LogKind : uint8_t {
  kAuthRefused,
  kKicked,
  kConnectionRefused,
  kClientClosed,  // for a limit
  kSlowDropped,
  kSlowClosed,
  kBadProtocol,
  kPushRefused,
  kCount,
};

// How many lines of a kind may come in a second. Any thread; two that meet at a second's turn may let a line
// or two more through.
class LogRate {
 public:
  static constexpr int64_t kLinesMost = 20;  // a second of a kind

  bool Admit(LogKind kind, int64_t second);
  // How many lines of seconds before this one were left out and not told yet: from now on they are.
  int64_t TakeLeftOut(LogKind kind, int64_t second);

 private:
  struct OfKind {
    std::atomic<int64_t> second{-1}, lines{0}, left_out{0};
  };
  std::array<OfKind, static_cast<size_t>(LogKind::kCount)> kinds_;
};

void SetLog(std::string_view level, bool json);
// `event` says what happened, in few words that stay; what differs stands in the fields. Never a secret.
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

// False: it wasn't taken, or not whole, as that would have had to be waited for. Any thread.
bool WriteLine(int file, std::string_view line);
int64_t LinesLost();  // so far

// Whether a line of this kind is wanted and may be written now; only then put its fields together, and call
// LogOf with them.
bool MayLog(LogKind kind);
void LogOf(LogKind kind, std::initializer_list<LogField> fields);
// Tells how many lines of seconds gone by were left out, each kind on a line. Cheap where none were.
// `all`: of this second, too.
void LogLeftOut(bool all = false);

}  // namespace muster::push
