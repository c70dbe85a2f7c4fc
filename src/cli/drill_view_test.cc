#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/views.h"

namespace muster::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

const View kPlain{false, 0, WallTime(Duration(1'000'000)), " -c mall"};

json Writes(int acknowledged, int lost, const json& outage) {
  return {{"acknowledged", acknowledged}, {"lost", lost}, {"outage_ms", outage}, {"longest_gap_ms", 20}};
}

TEST(DrillText, TellsWhatItCostAndWhatWasDone) {
  json hit = Writes(402, 3, 110);
  hit["first_failure"] = "the connection was closed";
  hit.update({{"failed", 9}, {"resets", 2}, {"refused", 6}, {"redirects", 1}});
  const json report = {
      {"service", "cache"},
      {"host", "node1"},
      {"ranges",
       {{{"name", "0-5460"}, {"plain", hit}, {"wait", Writes(231, 0, 120)}},
        {{"name", "5461-16383"}, {"plain", Writes(431, 0, nullptr)}, {"wait", Writes(394, 0, nullptr)}}}},
      {"did",
       {{{"after_ms", 101}, {"instance", "cache-4"}, {"verb", "take-over"}, {"reason", "cache-1 is dead"}}}},
      {"green_after_ms", 1620},
      {"healed_after_ms", nullptr},
      {"plan", json::array()},
      {"failures", json::array()}};
  EXPECT_EQ(
      DrillText(report, kPlain),
      "RANGE       OUTAGE  LONGEST GAP  WRITES  LOST  WITH WAIT  LOST\n"
      "0-5460      0.11s   0.02s        402     3     231        0\n"
      "5461-16383  -       0.02s        431     0     394        0\n"
      "\n"
      "0-5460: first error: the connection was closed\n"
      "writes that failed: 2 by a connection that was reset, 6 that was refused, 1 otherwise; redirects "
      "followed: 1\n"
      "what muster did:\n"
      "  +0.10s  cache-4 take-over: cache-1 is dead\n"
      "cache was green again, whole and settled, after 1.62s\n"
      "muster plan has nothing to do\n");
}

TEST(DrillText, TellsWhyItFailed) {
  const json report = {{"service", "cache"},        {"host", "node1"},
                       {"ranges", json::array()},   {"did", json::array()},
                       {"green_after_ms", nullptr}, {"healed_after_ms", 4000},
                       {"plan", {"cache-1.start"}}, {"failures", {"cache was not well again within 1m"}}};
  const std::string text = DrillText(report, kPlain);
  EXPECT_THAT(text, HasSubstr("FAIL  cache was not well again within 1m\n"));
  EXPECT_THAT(text, HasSubstr("has something to do: cache-1.start"));
  EXPECT_THAT(text, HasSubstr("node1 was healed after 4.00s"));
  EXPECT_THAT(text, Not(HasSubstr("green again")));
}

}  // namespace
}  // namespace muster::cli
