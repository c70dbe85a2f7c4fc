#include "recipes/app/app.h"

#include <csignal>

#include "net/http.h"
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

  // What its health says, asked once more and from outside of supervision.
  net::Task<std::vector<Check>> Verify(Context context, std::map<std::string, std::string>) override {
    const Instance& instance = *context.instance;
    Check check{.name = instance.name + " answers", .passed = false, .evidence = {}, .hint = ""};
    net::Endpoint endpoint;
    endpoint.host = instance.address;
    endpoint.port = instance.probe.port;
    endpoint.tls = instance.probe.tls;
    endpoint.tls_verify = false;
    if (instance.probe.kind == Probe::Kind::kHttp) {
      net::Request request;
      request.target = instance.probe.target;
      const auto answer = co_await net::Fetch(*context.loop, endpoint, request, 5s);
      check.passed = answer.ok() && answer->status >= instance.probe.status_min &&
                     answer->status <= instance.probe.status_max;
      check.evidence.push_back(answer.ok() ? fmt::format("GET {}:{}{} → {}", endpoint.host, endpoint.port,
                                                         request.target, answer->status)
                                           : answer.error().message());
    } else if (instance.probe.port != 0) {
      const Status reached = co_await net::TryConnect(*context.loop, endpoint, 5s);
      check.passed = reached.ok();
      check.evidence.push_back(reached.ok()
                                   ? fmt::format("{}:{} takes connections", endpoint.host, endpoint.port)
                                   : reached.error().message());
    } else {
      check.name = instance.name + " runs";
      check.passed = context.pid > 0;
      check.evidence.push_back(context.pid > 0 ? fmt::format("pid {}", context.pid) : "no process");
    }
    if (!check.passed) check.hint = "muster logs " + instance.name;
    co_return std::vector<Check>{check};
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
