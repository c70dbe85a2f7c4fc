// A drill under way: what was chosen, and what is seen meanwhile. Loop thread only; shared by the controller
// and the drill's task.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "control/controller.h"

namespace muster::control {

struct Controller::Drilling {
  DrillOptions options;
  Instance target;
  int pid = 0;  // of the target, before
  std::shared_ptr<DrillClient> client;
  std::function<void(const std::string&)> tell;
  std::shared_ptr<const bool> given_up;
  std::optional<Time> broken;
  bool frozen = false;
  DrillReport report;

  // An order of the mender has ended. Those that nobody wants to know of afterwards are left out.
  void Saw(const Order& order, std::optional<Error> error) {
    if (!broken || !order.notable) return;
    tell(fmt::format("muster: {}: {}{}", order.instance, order.reason,
                     error ? " (failed: " + error->message() + ")" : ""));
    report.deeds.push_back({.after = Now() - *broken, .order = order, .error = std::move(error)});
  }
};

}  // namespace muster::control
