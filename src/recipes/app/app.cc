#include "recipes/app/app.h"

#include <algorithm>
#include <csignal>

#include "net/loop.h"
#include "recipes/app/layout.h"
#include "recipes/common/member_change.h"

namespace muster {
namespace {

class AppOperator : public Operator {
 public:
  net::Task<Status> Reload(Context context) override {
    if (context.pid > 0) ::kill(context.pid, common::ReloadSignal(*context.instance));
    co_return Done();
  }

  // What its health says, asked once more; and where it is asked nothing, that it runs.
  net::Task<std::vector<Check>> Verify(Context context, std::map<std::string, std::string>) override {
    std::vector<Check> checks;
    const Instance& instance = *context.instance;
    const bool only_udp = std::all_of(instance.ports.begin(), instance.ports.end(),
                                      [](const auto& port) { return port.second.udp; });
    const bool silent = instance.probe.kind == Probe::Kind::kNone;
    if (!silent || !only_udp || instance.ports.empty()) {
      Check check = co_await AskHealth(context);
      checks.push_back(std::move(check));
    }
    for (const auto& [name, range] : instance.ports) {
      if (!range.udp) continue;
      // It is all that tells of one that has nothing else to be asked by.
      Check check = co_await AskUdp(context, name, range, silent && only_udp);
      checks.push_back(std::move(check));
    }
    co_return checks;
  }

 private:
  static net::Task<Check> AskHealth(Context context) {
    const Instance& instance = *context.instance;
    const Probe& probe = instance.probe;
    Check check{.name = instance.name + " answers"};
    Status status = Done();
    if (probe.kind != Probe::Kind::kNone && context.ask_health) status = co_await context.ask_health();
    const std::string pid = fmt::format("pid {}", context.pid);
    switch (probe.kind) {
      case Probe::Kind::kHttp:
        check.evidence = {fmt::format("GET {} on port {}", probe.target, probe.port)};
        break;
      case Probe::Kind::kTcp:
        check.evidence = {fmt::format("{}:{} takes connections", instance.address, probe.port)};
        break;
      case Probe::Kind::kCommand:
        check.name = instance.name + " is well by its health command";
        check.evidence = {probe.target};
        break;
      case Probe::Kind::kLog:
        check.name = instance.name + " runs, and its log had the line that makes it ready";
        check.evidence = {pid, probe.target};
        break;
      case Probe::Kind::kOperator:  // no app's
      case Probe::Kind::kNone:
        check.name = instance.name + " runs";
        check.evidence = {pid};
    }
    check.passed = context.pid > 0 && status.ok();
    if (check.passed) co_return check;
    check.evidence = {status.ok() ? "no process" : status.error().message()};
    check.hint = "muster logs " + instance.name;
    co_return check;
  }

  static net::Task<Check> AskUdp(Context context, std::string name, PortRange range, bool must_be_open) {
    Check check{.name = fmt::format("{} has its UDP port {} open", context.instance->name, name),
                .passed = true,
                .skipped = true};
    if (range.count > 1) {
      check.evidence = {"of a range of ports a program opens those that it needs, when it does"};
      co_return check;
    }
    if (!context.has_udp) {
      check.evidence = {"nobody can be asked here"};
      co_return check;
    }
    const Status open = co_await context.has_udp(range.first);
    check.evidence = {open.ok() ? fmt::format("port {}", range.first) : open.error().message()};
    if (!open.ok() && open.error().code() == "port-closed" && !must_be_open) co_return check;
    check.skipped = false;
    check.passed = open.ok();
    if (!check.passed) {
      const std::string hint = open.error().hint();
      check.hint = hint.empty() ? "muster logs " + context.instance->name : hint;
    }
    co_return check;
  }
};

}  // namespace

Recipe MakeAppRecipe() {
  auto layout = std::make_unique<app::AppLayout>();
  auto change = std::make_unique<common::MemberChange>(layout.get(), true);
  Recipe recipe;
  recipe.layout = std::move(layout);
  recipe.change = std::move(change);
  recipe.health = &common::MemberHealth;
  recipe.make_operator = []() -> std::unique_ptr<Operator> { return std::make_unique<AppOperator>(); };
  return recipe;
}

}  // namespace muster
