// Requests that break something on purpose: a host cut off, a drill.
#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "server/api.h"

namespace muster::server {
namespace {

constexpr int64_t kMostMs = 3600 * 1000;

Json WritesJson(const DrillWrites& writes) {
  Json json{{"sent", writes.sent},
            {"acknowledged", writes.acknowledged.size()},
            {"failed", writes.failed},
            {"resets", writes.resets},
            {"refused", writes.refused},
            {"redirects", writes.redirects},
            {"unconfirmed", writes.unconfirmed},
            {"lost", writes.lost.size()},
            {"longest_gap_ms", writes.longest_gap.count()},
            {"outage_ms", nullptr}};
  if (writes.outage) json["outage_ms"] = writes.outage->count();
  if (!writes.first_failure.empty()) json["first_failure"] = writes.first_failure;
  return json;
}

Json MillisecondsOrNull(const std::optional<Duration>& duration) {
  return duration ? Json(duration->count()) : Json(nullptr);
}

Json ReportJson(const control::DrillReport& report) {
  Json ranges = Json::array(), deeds = Json::array();
  for (const DrillRange& range : report.ranges) {
    ranges.push_back(
        {{"name", range.name}, {"plain", WritesJson(range.plain)}, {"wait", WritesJson(range.confirmed)}});
  }
  for (const control::DrillReport::Deed& deed : report.deeds) {
    deeds.push_back({{"after_ms", deed.after.count()},
                     {"instance", deed.order.instance},
                     {"verb", deed.order.verb},
                     {"reason", deed.order.reason}});
    if (deed.error) deeds.back()["error"] = api::ToJson(*deed.error);
  }
  return {{"service", report.service},
          {"how", report.how},
          {"instance", report.instance},
          {"host", report.host},
          {"ranges", ranges},
          {"did", deeds},
          {"green_after_ms", MillisecondsOrNull(report.green_after)},
          {"healed_after_ms", MillisecondsOrNull(report.healed_after)},
          {"state", report.state},
          {"plan", report.plan},
          {"failures", report.failures},
          {"passed", report.failures.empty()}};
}

}  // namespace

net::Task<Answer> Api::CutHost(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> controller = *found;
  bool cut = true;
  const Status read = api::Fields(*call.body, "body").Bool("cut", cut).Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  const std::string host = call.part("host");
  const bool was = controller->cut_hosts().contains(host);
  const Status done = co_await controller->CutHost(host, cut, call.who);
  if (!done.ok()) co_return Bad(done.error());
  co_return Good({{"host", host}, {"cut", cut}, {"changed", was != cut}});
}

net::Task<void> Api::Drill(net::Exchange& exchange, Call call) {
  const auto found = FindController(call);
  if (!found.ok()) {
    co_await Refuse(exchange, found.error());
    co_return;
  }
  const std::shared_ptr<control::Controller> controller = *found;
  control::DrillOptions options;
  options.how = "kill";
  std::string confirm;
  int64_t most_ms = options.most.count();
  const Status read = api::Fields(*call.body, "body")
                          .Text("service", options.service)
                          .Text("how", options.how)
                          .Text("instance", options.instance)
                          .Integer("most_ms", most_ms)
                          .Text("confirm", confirm)
                          .Give(Ok{});
  options.most = Duration(std::clamp<int64_t>(most_ms, 1000, kMostMs));
  const store::ClusterRow& row = controller->row();
  std::optional<Error> error;
  if (!read.ok()) {
    error = read.error();
  } else if (!row.rehearsal && confirm != row.name && confirm != row.key) {
    error = Error::Refused("confirm-name",
                           "{} is no rehearsal: to break something there needs its name typed", row.key)
                .Hint("muster drill --confirm {}", row.name);
  }
  if (error) {
    co_await Refuse(exchange, *error);
    co_return;
  }
  auto queue = std::make_shared<EventQueue>();
  const auto given_up = std::make_shared<bool>(false);
  const std::function<void(const std::string&)> tell = [queue](const std::string& text) {
    queue->Push(net::FormatSse("phase", Dump({{"text", text}})));
  };
  net::SpawnThen(controller->Drill(options, call.who, tell, given_up),
                 [queue, key = row.key](Result<control::DrillReport> report) {
                   Json json = report.ok() ? ReportJson(*report) : Json::object();
                   json["cluster"] = key;
                   if (!report.ok()) json["error"] = api::ToJson(report.error());
                   queue->Push(net::FormatSse("end", Dump(json)));
                   queue->Close();
                 });
  co_await Pump(exchange, queue);
  *given_up = true;  // who has gone away wants nothing broken any more
}

}  // namespace muster::server
