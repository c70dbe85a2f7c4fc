#include "control/superseded.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "control/outcomes.h"

namespace muster::control {

std::vector<store::RunRow> SupersededBy(const store::RunRow& next, std::vector<store::RunRow> runs) {
  const bool all = Brings(next.action) || next.action == "down";
  std::erase_if(runs, [&](const store::RunRow& run) {
    return run.state != "paused" || run.id == next.id || (!all && Brings(run.action));
  });
  for (store::RunRow& run : runs) {
    run.state = "cancelled";
    const Error why =
        next.action == "resume"
            ? Error::Conflict("run-superseded", "run {} (resume by {}) goes on with it", next.id, next.author)
            : Error::Conflict("run-superseded", "run {} ({} by {}) came in its place", next.id, next.action,
                              next.author);
    run.error = api::ToJson(why).dump();
  }
  return runs;
}

}  // namespace muster::control
