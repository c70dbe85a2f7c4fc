#include "base/moment.h"

#include <algorithm>
#include <ctime>

#include "base/files.h"
#include "base/text.h"

namespace muster {

std::string BootId() {
  const Result<std::string> id = ReadFile("/proc/sys/kernel/random/boot_id", 256);
  return id.ok() ? std::string(Trim(*id)) : "-";
}

Moment Moment::Before(Duration ago) const { return {wall - ago, boot, since_boot - ago}; }

Moment MomentNow() {
  std::string boot = BootId();
  if (boot == "-") boot.clear();
  timespec since{};
  clock_gettime(CLOCK_BOOTTIME, &since);
  return {WallNow(), std::move(boot),
          std::chrono::seconds(since.tv_sec) + Duration(since.tv_nsec / 1'000'000)};
}

std::optional<Duration> AgeOf(const Moment& moment, const Moment& now) {
  const bool known = !moment.boot.empty() && !now.boot.empty();
  const bool same = known && moment.boot == now.boot;
  const Duration age = same ? now.since_boot - moment.since_boot : now.wall - moment.wall;
  if (age < 0ms) return std::nullopt;
  return known && !same ? std::max(age, now.since_boot) : age;
}

}  // namespace muster
