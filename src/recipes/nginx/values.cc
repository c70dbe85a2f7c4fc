// Values of an nginx service that have the right form and can't be meant.
#include "recipes/common/values.h"

#include <fmt/format.h>

#include "base/text.h"
#include "model/template.h"
#include "recipes/nginx/layout.h"

namespace muster::nginx {
namespace {

using common::AddBadValue;
using common::CheckDuration;
using common::CheckSize;

// One value, or each of a list.
template <class Act>
void Each(const Value* value, Act act) {
  if (!value) return;
  if (!value->is_list()) return act(*value);
  for (const Value& item : value->items) act(item);
}

void CheckAddresses(const Value* value, std::vector<Finding>& findings) {
  Each(value, [&](const Value& one) {
    if (common::IsNetwork(one.text)) return;
    AddBadValue(one, fmt::format("{} is no address", one.text), "write 10.0.0.1, 10.0.0.0/8 or fd00::/8",
                findings);
  });
}

// nginx would hand {{...}} on as it stands.
void CheckHeaders(const Value* headers, std::vector<Finding>& findings) {
  if (!headers) return;
  for (const Value::Entry& entry : headers->entries) {
    for (const Variable& variable : VariablesIn(entry.value.text)) {
      if (variable.name.empty()) continue;
      AddBadValue(entry.value, fmt::format("{{{{{}}}}} is not filled in here", variable.name),
                  "write the value itself; nginx's $variables can be used", findings);
    }
  }
}

void CheckTuning(const Value& value, std::vector<Finding>& findings) {
  CheckHeaders(value.Find("headers"), findings);
  CheckHeaders(value.Find("response_headers"), findings);
  constexpr std::string_view kNoTime = "every request would fail at once";
  constexpr std::string_view kSomeTime = "write how long it may take, such as 60s";
  if (const Value* timeout = value.Find("timeout")) {
    CheckDuration(timeout, kNoTime, kSomeTime, findings);
    for (const char* key : {"connect", "read", "send"}) {
      CheckDuration(timeout->Find(key), kNoTime, kSomeTime, findings);
    }
  }
  constexpr std::string_view kNoBuffer = "nginx takes no buffer of nothing";
  constexpr std::string_view kSomeBuffer = "write a size, such as 8k";
  if (const Value* buffers = value.Find("buffers")) {
    CheckSize(buffers->Find("header"), 1, kNoBuffer, kSomeBuffer, findings);
    CheckSize(buffers->Find("size"), 1, kNoBuffer, kSomeBuffer, findings);
  }
  if (const Value* gzip = value.Find("gzip")) {
    if (const Value* buffers = gzip->Find("buffers")) {
      CheckSize(buffers->Find("size"), 1, kNoBuffer, kSomeBuffer, findings);
    }
  }
}

void CheckRoute(const Value& route, std::vector<Finding>& findings) {
  CheckTuning(route, findings);
  CheckAddresses(route.Find("allow_from"), findings);
  const Value* redirect = route.Find("redirect");
  const Value* status = redirect ? redirect->Find("status") : nullptr;
  if (!status) return;
  const int64_t number = redirect->Integer("status", 302);
  if (number <= 303 || number >= 307) return;
  AddBadValue(*status, fmt::format("{} is no status of a redirect", number),
              "write 301, 302, 303, 307 or 308", findings);
}

void CheckServer(const Value& server, std::vector<Finding>& findings) {
  CheckTuning(server, findings);
  Each(server.Find("routes"), [&](const Value& route) { CheckRoute(route, findings); });
}

}  // namespace

void CheckValues(const Value& settings, std::vector<Finding>& findings) {
  CheckServer(settings, findings);
  Each(settings.Find("servers"), [&](const Value& server) { CheckServer(server, findings); });
  CheckDuration(settings.Find("shutdown_timeout"), "to nginx that means to wait for ever",
                "write how long old workers may finish, such as 30s", findings);
  if (const Value* real_ip = settings.Find("real_ip")) CheckAddresses(real_ip->Find("from"), findings);
  if (const Value* instances = settings.Find("instances");
      instances && std::atoi(instances->text.c_str()) < 1) {
    AddBadValue(*instances, "instances is 0: nothing would run", "write at least 1, or remove the service",
                findings);
  }
}

}  // namespace muster::nginx
