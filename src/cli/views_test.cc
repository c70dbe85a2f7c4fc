#include "cli/views.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/log_merge.h"
#include "cli/table.h"

namespace muster::cli {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const View kPlain{false, 0, WallTime(Duration(1'000'000))};

TEST(InstancesText, ShowsAWholeRangeOfPorts) {
  const json answer = {{"instances",
                        {{{"name", "rtc-1"},
                          {"state", "ready"},
                          {"ports", {{"http", 80}, {"media", 10000}}},
                          {"port_counts", {{"media", 100}}}}}}};
  EXPECT_THAT(InstancesText(answer, kPlain), HasSubstr("http=80 media=10000-10099"));
}

TEST(Table, AlignsByWhatIsSeenNotByBytes) {
  Table table({"NAME", "STATE"});
  table.Add({{"网关-1", Color::kGreen}, {"ready"}});
  table.Add({{"web-10"}, {"failed", Color::kRed}});
  EXPECT_EQ(table.Text(false), "NAME    STATE\n网关-1  ready\nweb-10  failed\n");
  EXPECT_EQ(table.Text(false, 8), "NAME   …\n网关-1 …\nweb-10 …\n");
}

TEST(Console, CutsAtTheWidthAndKeepsEscapesWhole) {
  EXPECT_EQ(Fit("abcdef", 6), "abcdef");
  EXPECT_EQ(Fit("abcdef", 4), "abc…");
  EXPECT_EQ(Fit("\x1b[31mabcdef\x1b[0m", 4), "\x1b[31mabc…\x1b[0m");
  EXPECT_EQ(Width("\x1b[31m网ab\x1b[0m"), 4u);
  EXPECT_FALSE(Fit("\xff\xfe bad", 3).empty());
}

TEST(StatusText, TellsHowFarTheRunIs) {
  json status = {
      {"cluster", "demo"},
      {"run", "r1"},
      {"run_state", "running"},
      {"active_run",
       {{"run", "r1"}, {"action", "up"}, {"author", "anna"}, {"steps_done", 3}, {"steps_total", 15}}}};
  EXPECT_THAT(StatusText(status, kPlain), HasSubstr("run r1 (up by anna) is under way: 3 of 15 steps\n"));
  status["active_run"]["cancelling"] = true;
  EXPECT_THAT(StatusText(status, kPlain), HasSubstr("(up by anna) is being cancelled: 3 of 15 steps\n"));
  status.erase("active_run");  // of an earlier server
  EXPECT_THAT(StatusText(status, kPlain), HasSubstr("run r1 is running\n"));
}

TEST(Table, SaysTimesAndSizesShortly) {
  EXPECT_EQ(ShortDuration(3s), "3s");
  EXPECT_EQ(ShortDuration(252s), "4m12s");
  EXPECT_EQ(ShortDuration(5h + 3min), "5h03m");
  EXPECT_EQ(ShortDuration(26h), "1d2h");
  EXPECT_EQ(ShortDuration(-1s), "-");
  EXPECT_EQ(ShortSize(12), "12 B");
  EXPECT_EQ(ShortSize(13 << 20), "13.0 MB");
}

TEST(Views, ListInstancesWithTheirPortsAndTroubles) {
  const json answer = {
      {"instances",
       {{{"name", "web-1"},
         {"state", "ready"},
         {"host", "node1"},
         {"ports", {{"http", 8101}}},
         {"pid", 77},
         {"since", 940'000},
         {"restarts", 0},
         {"memory_bytes", 1 << 20}},
        {{"name", "web-2"}, {"state", "failed"}, {"last_exit", "exit 1"}, {"restarts", 5}}}}};
  EXPECT_EQ(InstancesText(answer, kPlain),
            "NAME   STATE            HOST   PORTS      PID  FOR    RESTARTS  MEMORY\n"
            "web-1  ready            node1  http=8101  77   1m00s  0         1.0 MB\n"
            "web-2  failed (exit 1)                    -    -      5         -\n");
}

TEST(Views, ShowStatusWithReasonsDriftAndEvidence) {
  const json status = {
      {"cluster", "demo"},
      {"revision", 3},
      {"health", "yellow"},
      {"services",
       {{{"name", "web"},
         {"kind", "app"},
         {"health", "yellow"},
         {"reasons", {"web-2 has failed"}},
         {"ready", 1},
         {"wanted", 2}}}},
      {"hosts",
       {{{"name", "node1"}, {"address", "127.0.0.1"}, {"used", true}, {"connected", false}},
        {{"name", "node2"}, {"address", "127.0.0.2"}, {"used", false}, {"connected", false}}}},
      {"instances",
       {{{"name", "web-1"}, {"state", "ready"}, {"drift", {{{"path", "conf/a"}, {"what", "changed"}}}}},
        {{"name", "web-2"}, {"state", "failed"}, {"last_exit", "exit 1"}, {"evidence", {"no such table"}}}}},
      {"held", {"web-3"}},
      {"run", "r7"},
      {"run_state", "paused"}};
  const std::string text = StatusText(status, kPlain);
  EXPECT_THAT(text, HasSubstr("demo is yellow: 1 of 2 instances ready (revision 3)"));
  EXPECT_THAT(text, HasSubstr("web      app   yellow  1/2    web-2 has failed"));
  EXPECT_THAT(text, HasSubstr("node1  127.0.0.1  silent"));
  EXPECT_THAT(text, HasSubstr("node2  127.0.0.2  -\n"));
  EXPECT_THAT(text, HasSubstr("drift: conf/a of web-1 changed"));
  EXPECT_THAT(text, HasSubstr("  | no such table"));
  EXPECT_THAT(text, HasSubstr("stopped by hand: web-3"));
  EXPECT_THAT(text, HasSubstr("muster resume"));
}

TEST(Views, TellHowTheLastRunEndedWhereItDidNotDoAllOfIt) {
  json status = {{"cluster", "demo"},
                 {"last_run",
                  {{"action", "up"},
                   {"revision", 4},
                   {"state", "failed"},
                   {"error", {{"code", "not-ready"}, {"message", "web-2 was not ready within 30s"}}}}}};
  EXPECT_THAT(StatusText(status, kPlain),
              HasSubstr("the last run (up of revision 4) failed: web-2 was not ready within 30s; muster "
                        "history --runs lists all\n"));
  status["last_run"]["state"] = "done";
  EXPECT_THAT(StatusText(status, kPlain), testing::Not(HasSubstr("last run")));
}

TEST(Views, TellWhyWhatRunsWasRestarted) {
  const json answer = {{"instances",
                        {{{"name", "web-1"},
                          {"state", "ready"},
                          {"restarts", 2},
                          {"last_exit", "killed as hung: no answer"}}}}};
  EXPECT_THAT(InstancesText(answer, kPlain), HasSubstr("2 (killed as hung: no answer)"));
}

TEST(Views, BearAnswersOfAnyShape) {
  for (const json& odd : {json(), json(3), json::array({1}), json{{"instances", {1, "a", nullptr}}},
                          json{{"services", 3}, {"health", 7}}}) {
    for (const auto view :
         {ClustersText, StatusText, InstancesText, HistoryText, RunsText, AuditText, ChecksText}) {
      EXPECT_FALSE(view(odd, kPlain).empty());
    }
    EXPECT_FALSE(SummaryText(odd, "", 1s, kPlain).empty());
  }
}

TEST(Views, SumUpWhereToLookAndWhatToTry) {
  const json status = {{"cluster", "demo"},
                       {"health", "green"},
                       {"services", {{{"name", "web"}, {"kind", "app"}}}},
                       {"instances", {{{"state", "ready"}}}},
                       {"endpoints", {{{"service", "edge"}, {"url", "http://127.0.0.1:8080/"}}}}};
  EXPECT_THAT(SummaryText(status, "", 1s, kPlain), testing::Not(HasSubstr("by hand")));
  json held = status;
  held["held"] = {"web-1"};
  EXPECT_THAT(SummaryText(held, " -c demo", 1s, kPlain),
              HasSubstr("stopped by hand: web-1; muster start -c demo brings them back"));
  const std::string text = SummaryText(status, " -c demo", 2100ms, kPlain);
  EXPECT_THAT(text, HasSubstr("demo is green: 1 of 1 instances ready after 2.1s"));
  EXPECT_THAT(text, HasSubstr("http://127.0.0.1:8080/  (edge)"));
  EXPECT_THAT(text, HasSubstr("muster restart -c demo web "));
}

TEST(LogMerge, OrdersByTimeAndKeepsEachInstancesOwnOrder) {
  LogMerge merge({"web-1", "edge-10"});
  merge.Add({"web-1", 10, "a"});
  merge.Add({"web-1", 30, "b"});
  merge.Add({"web-1", 20, "c: its clock went back"});
  merge.Add({"edge-10", 25, "d"});
  std::vector<std::string> texts;
  for (const LogLine& line : merge.Take()) texts.push_back(merge.Format(line, false));
  EXPECT_THAT(texts,
              ElementsAre("web-1   | a", "edge-10 | d", "web-1   | b", "web-1   | c: its clock went back"));
  EXPECT_TRUE(merge.Take().empty());
}

}  // namespace
}  // namespace muster::cli
