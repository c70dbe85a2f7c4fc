#include "base/result.h"

#include <array>
#include <cstring>

namespace muster {
namespace {

constexpr std::array<std::string_view, 8> kKindNames = {"invalid", "not-found",   "conflict", "refused",
                                                        "denied",  "unavailable", "timeout",  "internal"};

}  // namespace

std::string_view ErrorKindName(ErrorKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

ErrorKind ErrorKindNamed(std::string_view name) {
  for (size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == name) return static_cast<ErrorKind>(i);
  }
  return ErrorKind::kInternal;
}

Error Error::Os(std::string_view what, int error_number) {
  char buffer[128];
  const char* text = strerror_r(error_number, buffer, sizeof buffer);
  return Error(ErrorKind::kInternal, "os-error", fmt::format("{}: {}", what, text));
}

std::string Error::Text() const {
  std::string text = fmt::format("{} [{}]", message_, code_);
  if (!hint_.empty()) text += "\n  fix: " + hint_;
  for (const std::string& line : evidence_) text += "\n  | " + line;
  return text;
}

}  // namespace muster
