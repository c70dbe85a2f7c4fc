#include "recipes/recipe.h"

#include "net/task.h"

namespace muster {

Impact Layout::ImpactOf(std::string_view) const { return Impact::kRestart; }

net::Task<Status> Operator::Prepare(Context) { co_return Done(); }
net::Task<Result<std::vector<std::string>>> Operator::TakeOver(Context) {
  co_return std::vector<std::string>();
}
net::Task<Status> Operator::MayStop(Context) { co_return Done(); }
std::vector<std::string> Operator::StartWords(const Context&) { return {}; }
net::Task<Status> Operator::Reload(Context) { co_return Done(); }

net::Task<Result<std::map<std::string, std::string>>> Operator::Perform(Context context, std::string verb,
                                                                        std::map<std::string, std::string>) {
  co_return Error::Invalid("unknown-verb", "{} knows no verb {}", context.instance->name, verb);
}

net::Task<Status> Operator::Health(Context) { co_return Done(); }
Duration Operator::GuardEvery(const Instance&) { return 0ms; }
net::Task<void> Operator::Guard(Context) { co_return; }
std::map<std::string, std::string> Operator::Facts(const Context&) { return {}; }
std::map<std::string, std::string> Operator::Measures(const Context&) { return {}; }
net::Task<std::vector<Check>> Operator::Verify(Context, std::map<std::string, std::string>) {
  co_return std::vector<Check>{};
}

}  // namespace muster
