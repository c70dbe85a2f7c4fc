#include "push/spear/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <mutex>

#include "base/time.h"
#include "push/socketio/json.h"

namespace muster::push {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warn", "error"};
std::atomic<int> least{1};
std::atomic<bool> as_json{false};
std::atomic<int64_t> lost{0}, lost_told{0};
LogRate rate;

struct KindWords {
  LogLevel level;
  std::string_view event;
};
constexpr std::array<KindWords, static_cast<size_t>(LogKind::kCount)> kKinds = {{
    {LogLevel::kWarn, "authentication refused"},
    {LogLevel::kInfo, "kicked"},
    {LogLevel::kWarn, "connection refused"},
    {LogLevel::kWarn, "client closed"},
    {LogLevel::kInfo, "slow client, packet dropped"},
    {LogLevel::kWarn, "slow client closed"},
    {LogLevel::kDebug, "protocol error"},
    {LogLevel::kWarn, "push API call refused"},
}};

const KindWords& WordsOf(LogKind kind) { return kKinds[static_cast<size_t>(kind)]; }
int64_t Second() { return Now().time_since_epoch().count() / 1000; }

}  // namespace

void SetLog(std::string_view level, bool json) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == level) least = static_cast<int>(i);
  }
  as_json = json;
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (static_cast<int>(level) < least) return;
  const std::string_view name = kNames[static_cast<size_t>(level)];
  std::string line;
  if (as_json) {
    line =
        R"({"time":")" + FormatWallTime(WallNow()) + R"(","level":")" + std::string(name) + R"(","event":)";
    json::AppendQuoted(line, event);
    for (const LogField& field : fields) {
      line += ',';
      json::AppendQuoted(line, field.first);
      line += ':';
      json::AppendQuoted(line, field.second);
    }
    line += "}\n";
  } else {
    line = FormatWallTime(WallNow()) + " " + std::string(name) + " " + std::string(event);
    for (const LogField& field : fields) {
      line += ' ';
      line += field.first;
      line += '=';
      // Names come from clients: what is no plain word is quoted, so that none makes up fields or lines.
      const auto bare = [](unsigned char c) { return c > ' ' && c != '"' && c != '=' && c != 127; };
      const bool plain = !field.second.empty() && std::all_of(field.second.begin(), field.second.end(), bare);
      if (plain) {
        line += field.second;
      } else {
        json::AppendQuoted(line, field.second);
      }
    }
    line += '\n';
  }
  if (!WriteLine(STDERR_FILENO, line)) lost.fetch_add(1, std::memory_order_relaxed);
}

bool WriteLine(int file, std::string_view line) {
  static std::mutex mutex;  // so that lines of threads don't mix, and what poll says still holds
  static bool cut = false;
  const std::lock_guard lock(mutex);
  size_t written = 0;
  const auto put = [file](std::string_view piece) {
    pollfd room{.fd = file, .events = POLLOUT, .revents = 0};
    if (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0) return false;
    const ssize_t got = write(file, piece.data(), piece.size());
    if (got > 0) cut = got < static_cast<ssize_t>(piece.size());
    return got == static_cast<ssize_t>(piece.size());
  };
  if (cut && !put("\n")) return false;
  while (written < line.size()) {
    const std::string_view piece = line.substr(written, PIPE_BUF);
    if (!put(piece)) {
      cut = cut || written > 0;
      return false;
    }
    written += piece.size();
  }
  return true;
}

int64_t LinesLost() { return lost.load(std::memory_order_relaxed); }

bool LogRate::Admit(LogKind kind, int64_t second) {
  OfKind& of = kinds_[static_cast<size_t>(kind)];
  int64_t seen = of.second.load(std::memory_order_relaxed);
  if (seen < second && of.second.compare_exchange_strong(seen, second, std::memory_order_relaxed)) {
    of.lines.store(0, std::memory_order_relaxed);
  }
  if (of.lines.fetch_add(1, std::memory_order_relaxed) < kLinesMost) return true;
  of.left_out.fetch_add(1, std::memory_order_relaxed);
  return false;
}

int64_t LogRate::TakeLeftOut(LogKind kind, int64_t second) {
  OfKind& of = kinds_[static_cast<size_t>(kind)];
  if (of.left_out.load(std::memory_order_relaxed) == 0) return 0;
  if (of.second.load(std::memory_order_relaxed) >= second) return 0;  // more may come
  return of.left_out.exchange(0, std::memory_order_relaxed);
}

bool MayLog(LogKind kind) {
  return static_cast<int>(WordsOf(kind).level) >= least.load(std::memory_order_relaxed) &&
         rate.Admit(kind, Second());
}

void LogOf(LogKind kind, std::initializer_list<LogField> fields) {
  Log(WordsOf(kind).level, WordsOf(kind).event, fields);
}

void LogLeftOut(bool all) {
  const int64_t second = Second() + (all ? 1 : 0);
  for (size_t i = 0; i < kKinds.size(); ++i) {
    const int64_t count = rate.TakeLeftOut(static_cast<LogKind>(i), second);
    if (count == 0) continue;
    Log(kKinds[i].level, "lines left out",
        {{"of", std::string(kKinds[i].event)}, {"count", std::to_string(count)}});
  }
  // Told again until it gets through; a line that tells of it and is lost counts with the next.
  const int64_t now_lost = LinesLost();
  const int64_t untold = now_lost - lost_told.load(std::memory_order_relaxed);
  if (untold == 0) return;
  Log(LogLevel::kWarn, "lines lost", {{"count", std::to_string(untold)}});
  if (LinesLost() == now_lost) lost_told.store(now_lost, std::memory_order_relaxed);
}

}  // namespace muster::push
