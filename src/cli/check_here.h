// What keeps the cluster of a bundle from running on this machine, as `check` and `up` tell it. Blocks on the
// command's one thread: it asks the server and looks at the machine.
#pragma once

#include <vector>

#include "cli/api_client.h"
#include "cli/bundle.h"
#include "cli/command.h"
#include "model/finding.h"
#include "model/instance.h"

namespace muster::cli {

// `instances` as laid out from the bundle. `api` may be null: nothing of ours runs.
std::vector<Finding> CheckHere(Context& context, const Bundle& bundle, const std::vector<Instance>& instances,
                               ApiClient* api);

// Which secrets that `instances` need are not set: all of them where `api` is null. Errors are the server's.
Result<std::vector<Finding>> CheckSecrets(const Bundle& bundle, const std::vector<Instance>& instances,
                                          ApiClient* api);

}  // namespace muster::cli
