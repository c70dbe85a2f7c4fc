#include "cli/confirm.h"

#include <string_view>

#include "cli/console.h"

namespace muster::cli {

Result<std::string> Confirmed(Context& context, const std::string& key, const std::string& given,
                              const Parting& parting) {
  const std::string name = key.substr(0, key.find('@'));
  const auto meant = [&](std::string_view typed) { return typed == name || typed == key; };
  const auto refused = [&](const std::string& why) {
    return Error::Refused("confirm-name", "{}; nothing was done", why)
        .Hint("{} --confirm {}", parting.command, name);
  };
  if (!given.empty()) {
    if (meant(given)) return name;
    return refused("--confirm says " + given + ", the cluster's name is " + name);
  }
  if (!context.console.in_is_terminal) return refused(parting.act + " has to be confirmed");
  MUSTER_TRY(const std::string typed, Ask(context.console, parting.question, false));
  if (meant(typed)) return name;
  return refused("that is not the cluster's name");
}

}  // namespace muster::cli
