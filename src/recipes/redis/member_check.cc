#include "recipes/redis/member_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "model/template.h"
#include "recipes/common/placement.h"
#include "recipes/common/values.h"
#include "recipes/common/variables.h"
#include "recipes/redis/settings.h"

namespace muster::redis {
namespace {

// In bytes; 0 where there is no bound.
int64_t MaxMemory(const ConfSettings& values) {
  const auto found = values.find("maxmemory");
  const Setting* setting = FindSetting("maxmemory");
  if (found == values.end() || !setting) return 0;
  return std::atoll(RunningValue(*setting, found->second).c_str());
}

}  // namespace

void MemberChecker::Report(std::string_view code, const Value* value, std::string message, std::string fix,
                           Severity severity) {
  findings_.push_back({.severity = severity,
                       .code = std::string(code),
                       .mark = value ? value->mark : service_.mark,
                       .message = std::move(message),
                       .fix = std::move(fix),
                       .file = ""});
}

void MemberChecker::CheckMember(const std::map<std::string, PortRange>& ports, const ConfSettings& values) {
  CheckPassword(ports);
  CheckProgram();
  CheckSettingsGiven(values);
  CheckMemory(values);
  if (const Value* health = settings_.Find("health")) common::CheckHealthValues(*health, findings_);
}

bool MemberChecker::IsReachedFromElsewhere() const {
  const auto hosts = common::HostsOf(service_, cluster_);
  return std::any_of(hosts.begin(), hosts.end(), [](const Host* host) {
    return !host->address.starts_with("127.") && host->address != "::1";
  });
}

void MemberChecker::CheckProtectedMode() {
  const Value* written = settings_.Find("settings");
  const Value* protect = written ? written->Find("protected-mode") : nullptr;
  if (!protect || !ReadBool(*protect, false) || !settings_.Text("password").empty()) return;
  if (!IsReachedFromElsewhere()) return;
  Report("bad-value", protect,
         "protected-mode lets in nobody from other hosts where there is no password, not even other members",
         "give it a password, or leave protected-mode out");
}

void MemberChecker::CheckPassword(const std::map<std::string, PortRange>& ports) {
  const Value* password = settings_.Find("password");
  if (!password || password->text.empty()) {
    if (!IsReachedFromElsewhere() || cluster_.rehearsal) return;
    Report("no-password", password,
           fmt::format("{} has no password: whoever reaches its hosts can read and delete everything",
                       service_.name),
           fmt::format("write password: \"{{{{secret.{}}}}}\" and set it: muster secret set {}",
                       service_.name, service_.name),
           Severity::kWarning);
    return;
  }
  const common::Known known{.service = &service_, .cluster = &cluster_, .ports = ports};
  common::CheckVariables(known, *password, findings_);
  const auto variables = VariablesIn(password->text);
  const bool secret = std::any_of(variables.begin(), variables.end(), [](const Variable& variable) {
    return variable.name.starts_with("secret.");
  });
  if (secret) return;
  Report(
      "password-in-clear", password,
      fmt::format("the password of {} stands in the cluster file, for everybody who reads it", service_.name),
      fmt::format("write \"{{{{secret.{}}}}}\" and set it: muster secret set {}", service_.name,
                  service_.name),
      Severity::kWarning);
}

void MemberChecker::CheckProgram() {
  const Value* program = settings_.Find("program");
  if (!program) return;
  if (settings_.Find("artifact")) {
    Report("bad-value", program, "both program and artifact are given", "keep one of them");
  } else if (program->text.find('/') != std::string::npos && program->text[0] != '/') {
    Report("bad-value", program,
           fmt::format("{} would be looked for in the folder of each member, where it is not", program->text),
           fmt::format("write artifact: {} to send a file of yours, or an absolute path", program->text));
  }
}

void MemberChecker::CheckSettingsGiven(const ConfSettings& values) {
  const Value* written = settings_.Find("settings");
  if (!written) return;
  std::vector<GivenSetting> given;
  for (const Value::Entry& entry : written->entries) {
    const Value& value = entry.value;
    GivenSetting one{.name = entry.key, .mark = value.mark.line > 0 ? value.mark : entry.key_mark};
    // As they are rendered; a setting that stands there twice is told by its names.
    if (const auto ours = values.find(CurrentName(entry.key)); ours != values.end())
      one.values = ours->second;
    given.push_back(std::move(one));
    const bool variable = !VariablesIn(value.text).empty();
    if (variable) {
      Report("bad-value", &value,
             fmt::format("{} is handed on as it stands: {{{{…}}}} isn't filled in", entry.key),
             "write the value itself; a password goes into password:");
    }
  }
  for (Finding& finding : CheckSettings(given)) findings_.push_back(std::move(finding));
}

void MemberChecker::CheckMemory(const ConfSettings& values) {
  const Value* written = settings_.Find("settings");
  const int64_t most = MaxMemory(values);
  if (!written || most <= 0 || HasErrors(findings_)) return;
  const Value* value = written->Find("maxmemory");
  if (!values.contains("maxmemory-policy")) {
    Report("maxmemory-policy", value,
           "maxmemory without maxmemory-policy: a full member refuses writes (noeviction)",
           "write maxmemory-policy: noeviction if that is meant, or allkeys-lru for a cache",
           Severity::kWarning);
  }
  const Value* limits = settings_.Find("limits");
  const Value* memory = limits ? limits->Find("memory") : nullptr;
  const auto limit = memory ? ParseSize(memory->text) : Result<int64_t>(int64_t{0});
  if (limit.ok() && *limit > 0 && most >= *limit) {
    Report("bad-value", value,
           fmt::format("maxmemory is {}, limits.memory {}: the kernel kills a member before it is full",
                       value ? value->text : "", memory->text),
           "leave room above maxmemory, for clients, replicas and a fork while it saves", Severity::kWarning);
  }
}

}  // namespace muster::redis
