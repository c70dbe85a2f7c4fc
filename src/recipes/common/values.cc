#include "recipes/common/values.h"

#include <arpa/inet.h>

#include <set>

#include "base/line_pattern.h"
#include "base/text.h"

namespace muster::common {
namespace {

constexpr int64_t kMemoryLeast = 1 << 20;
constexpr int64_t kLogLeast = 1 << 10;
constexpr double kCpusLeast = 0.01, kCpusMost = 1024;  // the kernel counts in hundredths of one

void CheckLimits(const Value& limits, std::vector<Finding>& findings) {
  CheckSize(limits.Find("memory"), kMemoryLeast, "no program runs in that little memory",
            "write at least 1m, or leave it out for no limit", findings);
  if (const Value* cpus = limits.Find("cpus")) {
    char* end = nullptr;
    const double number = std::strtod(cpus->text.c_str(), &end);
    const bool is_number = !cpus->text.empty() && *end == '\0' &&
                           cpus->text.find_first_not_of("0123456789.eE+-") == std::string::npos;
    if (!is_number || number < kCpusLeast || number > kCpusMost) {
      AddBadValue(*cpus, fmt::format("cpus is {}: that is no share of processors", cpus->text),
                  "write a number from 0.01, such as 0.5 or 2, or leave it out for no limit", findings);
    }
  }
}

Duration DurationOf(const Value* value, Duration fallback) {
  const auto parsed = value ? ParseDuration(value->text) : Result<Duration>(fallback);
  return parsed.ok() ? *parsed : fallback;
}

void CheckRestart(const Value& restart, std::vector<Finding>& findings) {
  const RestartPolicy normal;
  const Value *first = restart.Find("first"), *most = restart.Find("most");
  CheckDuration(first, "a program that crashes at once would be started without a pause",
                "write a pause, such as 200ms", findings);
  CheckDuration(most, "a program that crashes at once would be started without a pause",
                "write a pause, such as 30s", findings);
  CheckDuration(restart.Find("healthy_after"), "crashes would never add up, so it would never be given up",
                "write how long it must stay up, such as 10s", findings);
  const Duration least = DurationOf(first, normal.backoff_first);
  const Duration longest = DurationOf(most, normal.backoff_most);
  if (longest > 0ms && least > longest) {
    AddBadValue(
        most ? *most : *first,
        fmt::format("the first pause is {}, the longest {}", FormatDuration(least), FormatDuration(longest)),
        "make most longer than first", findings);
  }
}

void CheckUpdate(const Service& service, std::vector<Finding>& findings) {
  const Value* update = service.settings.Find("update");
  if (!update) return;
  CheckDuration(update->Find("deadline"), "nothing is ready in no time",
                "write how long one may take to become ready, such as 600s", findings);
  const Value* away = update->Find("max_unavailable");
  if (!away) return;
  const Share& share = service.update.max_unavailable;
  if (share.percent && share.amount > 100) {
    AddBadValue(*away, fmt::format("max_unavailable is {}: there are never more than all", away->text),
                "write at most 100%", findings);
  } else if (share.amount == 0 && service.update.max_surge.amount == 0) {
    AddBadValue(*away,
                "max_unavailable is 0, and no guest may stand in: one would have to be away all the same",
                "write max_surge: 1, or max_unavailable: 1", findings);
  }
}

void CheckWhere(const Service& service, const Cluster& cluster, std::vector<Finding>& findings) {
  if (const Value* hosts = service.settings.Find("hosts")) {
    if (hosts->is_list() && hosts->items.empty() && !hosts->stand_in) {
      AddBadValue(*hosts, service.name + " may stand on no host", "name a host, or leave `hosts` out for all",
                  findings);
    }
    std::set<std::string> seen;
    for (const Value& one : hosts->items) {
      if (seen.insert(one.text).second) continue;
      AddBadValue(one, fmt::format("{} stands here twice", one.text), "leave one out", findings);
    }
  }
  const Value* require = service.settings.Find("require");
  if (!require || service.require.kind != Require::Kind::kNumber) return;
  const size_t hosts = HostsOf(service, cluster).size();
  if (service.require.number == 0) {
    AddBadValue(*require, "require is 0: a run would go on though no host answers",
                "write at least 1, all or quorum", findings);
  } else if (static_cast<size_t>(service.require.number) > hosts) {
    AddBadValue(*require,
                fmt::format("require is {}, but {} has {} host{}", require->text, service.name, hosts,
                            hosts == 1 ? "" : "s"),
                "write at most that, all or quorum", findings);
  }
}

void CheckUser(const Value& user, std::vector<Finding>& findings) {
  const std::string& name = user.text;
  const bool good =
      !name.empty() && name.size() <= 32 && name.front() != '-' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$-") ==
          std::string::npos;
  if (name == "root" || (good && name.find_first_not_of('0') == std::string::npos)) {
    AddBadValue(user, "an instance never runs as root",
                "name a user of its own, or leave it out: muster makes one for the cluster", findings);
    findings.back().code = "user-root";
    return;
  }
  if (good) return;
  AddBadValue(user, fmt::format("\"{}\" can't be the name of a user", name),
              "write the name of a user of the host, or leave it out", findings);
}

}  // namespace

void AddBadValue(const Value& value, std::string message, std::string fix, std::vector<Finding>& findings,
                 Severity severity) {
  findings.push_back({.severity = severity,
                      .code = "bad-value",
                      .mark = value.mark,
                      .message = std::move(message),
                      .fix = std::move(fix),
                      .file = ""});
}

bool CheckTooMany(const Service& service, const Cluster& cluster, const Count& count,
                  std::vector<Finding>& findings) {
  constexpr size_t kMembersMost = 20000;
  const size_t hosts = std::max<size_t>(1, HostsOf(service, cluster).size());
  const size_t wanted = static_cast<size_t>(std::max(count.number, 0)) * (count.per_host ? hosts : 1);
  if (wanted <= kMembersMost) return false;
  const Value* value = service.settings.Find("instances");
  findings.push_back({.severity = Severity::kError,
                      .code = "out-of-range",
                      .mark = value ? value->mark : service.mark,
                      .message = fmt::format("{} would have {} instances", service.name, wanted),
                      .fix = fmt::format("write at most {} for one service", kMembersMost),
                      .file = ""});
  return true;
}

void CheckDuration(const Value* value, std::string_view what, std::string_view fix,
                   std::vector<Finding>& findings) {
  if (!value || !value->is_scalar()) return;
  const auto parsed = ParseDuration(value->text);
  if (!parsed.ok() || *parsed > 0ms) return;
  AddBadValue(*value, fmt::format("{}: {}", value->text, what), std::string(fix), findings);
}

void CheckSize(const Value* value, int64_t least, std::string_view what, std::string_view fix,
               std::vector<Finding>& findings) {
  if (!value || !value->is_scalar()) return;
  const auto parsed = ParseSize(value->text);
  if (!parsed.ok() || *parsed >= least) return;
  const bool bytes = value->text.find_first_not_of("0123456789") == std::string::npos;
  AddBadValue(*value, fmt::format("{}{}: {}", value->text, bytes ? " bytes" : "", what), std::string(fix),
              findings);
}

bool IsNetwork(const std::string& text) {
  const size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  in6_addr bytes{};
  const bool four = ::inet_pton(AF_INET, address.c_str(), &bytes) == 1;
  if (!four && ::inet_pton(AF_INET6, address.c_str(), &bytes) != 1) return false;
  return slash == std::string::npos || std::atoi(text.c_str() + slash + 1) <= (four ? 32 : 128);
}

void CheckHealthValues(const Value& health, std::vector<Finding>& findings) {
  CheckDuration(health.Find("every"), "it would be asked without a pause",
                "write the time between two probes, such as 2s", findings);
  CheckDuration(health.Find("timeout"), "no probe is over in no time",
                "write how long one may take, such as 1s", findings);
  if (const Value* http = health.Find("http"); http && !http->text.starts_with('/')) {
    AddBadValue(*http, fmt::format("\"{}\" is no path", http->text),
                fmt::format("write a path, such as /{}",
                            http->text.find("//") == std::string::npos ? http->text : "health"),
                findings);
  }
  if (const Value* command = health.Find("command")) {
    const auto words = SplitCommand(command->text);
    if (!words.ok() || words->empty()) {
      findings.push_back({.severity = Severity::kError,
                          .code = "bad-quoting",
                          .mark = command->mark,
                          .message = words.ok() ? "the command is empty" : words.error().message(),
                          .fix = "write a program and its arguments; a quote is closed, or escaped with \\",
                          .file = ""});
    }
  }
  if (const Value* log = health.Find("log")) {
    std::string why = log->text.empty() ? "it is empty, so every line matches" : "";
    if (const auto pattern = LinePattern::Of(log->text); !pattern.ok()) why = pattern.error().message();
    if (!why.empty()) {
      findings.push_back(
          {.severity = Severity::kError,
           .code = "bad-regex",
           .mark = log->mark,
           .message = fmt::format("\"{}\" is no regular expression to wait for: {}", log->text, why),
           .fix = "write one as JavaScript has them; \\ before ( [ { . * + ? to mean the character",
           .file = ""});
    }
  }
  if (const Value* status = health.Find("status"); status && status->text.size() == 7) {
    if (std::atoi(status->text.c_str()) > std::atoi(status->text.c_str() + 4)) {
      AddBadValue(*status, fmt::format("status is {}: the range ends before it begins", status->text),
                  "write the lower number first", findings);
    }
  }
}

void CheckCommonValues(const Service& service, const Cluster& cluster, std::vector<Finding>& findings) {
  const Value& settings = service.settings;
  if (const Value* limits = settings.Find("limits")) CheckLimits(*limits, findings);
  if (const Value* restart = settings.Find("restart")) CheckRestart(*restart, findings);
  if (const Value* log = settings.Find("log")) {
    CheckSize(log->Find("rotate"), kLogLeast, "a log would be rotated all the time",
              "write a size, such as 16m", findings);
  }
  if (const Value* user = settings.Find("user")) CheckUser(*user, findings);
  CheckUpdate(service, findings);
  CheckWhere(service, cluster, findings);
}

}  // namespace muster::common
