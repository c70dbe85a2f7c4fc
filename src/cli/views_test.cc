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

TEST(Table, GoesOnBelowWhatDoesNotFitIntoTheLastColumn) {
  Table table({"SERVICE", "WHY"});
  table.Add({{"cache"}, {"slots 0-5460 are out: cache-1 is gone"}});
  table.Add({{"web"}, {"a-word-that-has-no-place-to-be-broken"}});
  EXPECT_EQ(table.WrappedText(false, 30),
            "SERVICE  WHY\n"
            "cache    slots 0-5460 are out:\n"
            "         cache-1 is gone\n"
            "web      a-word-that-has-no-p…\n");
  EXPECT_EQ(table.WrappedText(false, 24),
            "SERVICE  WHY\n"
            "cache\n"
            "    slots 0-5460 are\n"
            "    out: cache-1 is gone\n"
            "web\n"
            "    a-word-that-has-no-…\n");
  EXPECT_EQ(table.WrappedText(false), table.Text(false));
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
            "NAME   STATE            HOST   PID  FOR    RESTARTS  MEMORY  PORTS\n"
            "web-1  ready            node1  77   1m00s  0         1.0 MB  http=8101\n"
            "web-2  failed (exit 1)         -    -      5         -\n");
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
  const View narrow{false, 70, kPlain.now};
  EXPECT_THAT(InstancesText(answer, narrow), HasSubstr("2 (killed as hung)"));
}

TEST(InstancesText, LeavesOutABusThatFollowsFromThePort) {
  json answer = {{"instances", {{{"name", "cache-1"}, {"ports", {{"port", 7001}, {"bus", 17001}}}}}}};
  EXPECT_THAT(InstancesText(answer, kPlain),
              AllOf(HasSubstr("port=7001\n"), testing::Not(HasSubstr("17001"))));
  answer["instances"][0]["ports"]["bus"] = 9001;
  EXPECT_THAT(InstancesText(answer, kPlain), HasSubstr("bus=9001 port=7001\n"));
}

json ChecksOf(int members, int checks) {
  json answer = {{"checks", json::array()}};
  for (int i = 1; i <= members; ++i) {
    for (int j = 1; j <= checks; ++j) {
      answer["checks"].push_back({{"service", "cache"},
                                  {"name", fmt::format("cache-{}: does {} well", i, j)},
                                  {"passed", true},
                                  {"skipped", false}});
    }
  }
  return answer;
}

TEST(ChecksText, HasOneLineForEachOfManyMembersThatPassManyChecks) {
  json answer = ChecksOf(3, 4);
  answer["checks"].push_back({{"service", "web"}, {"name", "web-1 answers"}, {"passed", true}});
  EXPECT_EQ(ChecksText(answer, kPlain),
            "pass  cache-1: 4 of 4 checks\npass  cache-2: 4 of 4 checks\npass  cache-3: 4 of 4 checks\n"
            "pass  web-1 answers\n13 passed, 0 failed (--all lists each)\n");
  EXPECT_THAT(EachCheckText(answer, kPlain),
              AllOf(HasSubstr("pass  cache-2: does 3 well\n"), HasSubstr("13 passed, 0 failed\n")));
}

TEST(ChecksText, ShowsWhatFailedOfWhoElsePasses) {
  json answer = ChecksOf(2, 3);
  answer["checks"][1]["passed"] = false;
  answer["checks"][1]["evidence"] = {"nobody is there"};
  answer["checks"][1]["hint"] = "look";
  EXPECT_EQ(
      ChecksText(answer, kPlain),
      "pass  cache-1: 2 of 3 checks\nFAIL  cache-1: does 2 well\n      | nobody is there\n      fix: look\n"
      "pass  cache-2: 3 of 3 checks\n5 passed, 1 failed (--all lists each)\n");
}

TEST(ChecksText, ListsTheFewOfAnyAndTheManyOfOne) {
  EXPECT_THAT(ChecksText(ChecksOf(1, 9), kPlain),
              HasSubstr("pass  cache-1: does 9 well\n9 passed, 0 failed\n"));
  EXPECT_THAT(ChecksText(ChecksOf(9, 1), kPlain),
              HasSubstr("pass  cache-9: does 1 well\n9 passed, 0 failed\n"));
}

TEST(InstancesText, TellsOffsetsWhereThereAreSome) {
  json answer = {{"instances",
                  {{{"name", "cache-1"}, {"state", "ready"}, {"facts", {{"offset", "1234"}}}},
                   {{"name", "web-1"}, {"state", "ready"}}}}};
  EXPECT_THAT(InstancesText(answer, kPlain),
              AllOf(HasSubstr("MEMORY  OFFSET  PORTS\n"), HasSubstr("-       1234\n")));
  answer["instances"].erase(0);
  EXPECT_THAT(InstancesText(answer, kPlain), testing::Not(HasSubstr("OFFSET")));
}

TEST(Views, BearAnswersOfAnyShape) {
  for (const json& odd : {json(), json(3), json::array({1}), json{{"instances", {1, "a", nullptr}}},
                          json{{"services", 3}, {"health", 7}}}) {
    for (const auto view : {ClustersText, StatusText, InstancesText, HistoryText, RunsText, AuditText,
                            ChecksText, EachCheckText}) {
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

json RedisStatus() {
  json status = {{"cluster", "shop"},
                 {"health", "green"},
                 {"services", {{{"name", "cache"}, {"kind", "redis"}}}},
                 {"instances", json::array()}};
  for (int i = 1; i <= 3; ++i) {
    status["instances"].push_back({{"name", fmt::format("cache-{}", i)},
                                   {"service", "cache"},
                                   {"kind", "redis"},
                                   {"state", "ready"},
                                   {"role", i == 2 ? "primary" : "replica of cache-2, 0 B behind"},
                                   {"address", fmt::format("10.0.0.{}", i)},
                                   {"ports", {{"port", 6379}}}});
  }
  return status;
}

TEST(SummaryText, TellsClientsOfARedisItsPrimaryAndWhomToAskOnceItMoves) {
  json status = RedisStatus();
  EXPECT_THAT(SummaryText(status, "", 1s, kPlain),
              HasSubstr("\npoint clients to\n  10.0.0.2:6379  (cache: cache-2, the primary; should it move, "
                        "ROLE tells, asked of it or of 10.0.0.1:6379, 10.0.0.3:6379)\n\ntry next\n"));
  EXPECT_THAT(StatusText(status, kPlain), HasSubstr("\nclients connect to\n  10.0.0.2:6379  (cache: "));
  status["down"] = true;
  EXPECT_THAT(StatusText(status, kPlain), testing::Not(HasSubstr("10.0.0.2:6379")));
  status["instances"][1]["role"] = "stale primary, beside cache-9";
  EXPECT_THAT(SummaryText(status, "", 1s, kPlain), testing::Not(HasSubstr("point clients")));
}

TEST(SummaryText, TellsClientsOfALoneRedisNothingOfMoves) {
  json status = RedisStatus();
  status["instances"] = json::array({status["instances"][1]});
  status["instances"][0]["address"] = "fd00::2";
  EXPECT_THAT(SummaryText(status, "", 1s, kPlain), HasSubstr("  [fd00::2]:6379  (cache)\n"));
}

TEST(SummaryText, TellsClientsOfARedisClusterAllMembers) {
  json status = RedisStatus();
  status["services"][0]["kind"] = "redis-cluster";
  EXPECT_THAT(
      SummaryText(status, "", 1s, kPlain),
      HasSubstr("\npoint clients to\n  cache  any of 3: 10.0.0.1:6379, 10.0.0.2:6379, 10.0.0.3:6379\n"));
  status["instances"][0].erase("kind");  // it is to leave
  EXPECT_THAT(SummaryText(status, "", 1s, kPlain), HasSubstr("  any of 2: 10.0.0.2:6379, 10.0.0.3:6379\n"));
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
