// What `muster ps` goes without on a terminal that is too narrow for all.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/console.h"
#include "cli/views.h"

namespace muster::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

View Of(size_t columns) { return {false, columns, WallTime(Duration(1'000'000))}; }

json Redis() {
  json answer;
  for (int i = 1; i <= 3; ++i) {
    answer["instances"].push_back({{"name", fmt::format("cache-{}", i)},
                                   {"state", "ready"},
                                   {"role", i == 1 ? "primary" : "replica of cache-1, 0 B behind"},
                                   {"host", fmt::format("node{}", i)},
                                   {"ports", {{"port", 6379}}},
                                   {"pid", 12345},
                                   {"since", 940'000},
                                   {"restarts", 0},
                                   {"memory_bytes", 27 << 17},
                                   {"facts", {{"offset", "123456"}}}});
  }
  return answer;
}

std::vector<size_t> Widths(const std::string& text) {
  std::vector<size_t> widths;
  std::string line;
  for (std::istringstream lines(text); std::getline(lines, line);) widths.push_back(Width(line));
  return widths;
}

TEST(InstancesText, ShowsAllInAHundredAndTwentyColumns) {
  EXPECT_EQ(
      InstancesText(Redis(), Of(120)),
      "NAME     STATE  ROLE                            HOST   PID    FOR    RESTARTS  MEMORY  OFFSET  PORTS\n"
      "cache-1  ready  primary                         node1  12345  1m00s  0         3.4 MB  123456  "
      "port=6379\n"
      "cache-2  ready  replica of cache-1, 0 B behind  node2  12345  1m00s  0         3.4 MB  123456  "
      "port=6379\n"
      "cache-3  ready  replica of cache-1, 0 B behind  node3  12345  1m00s  0         3.4 MB  123456  "
      "port=6379\n");
}

TEST(InstancesText, GoesWithoutOffsetsInAHundredColumns) {
  EXPECT_EQ(
      InstancesText(Redis(), Of(100)),
      "NAME     STATE  ROLE                            HOST   PID    FOR    RESTARTS  MEMORY  PORTS\n"
      "cache-1  ready  primary                         node1  12345  1m00s  0         3.4 MB  port=6379\n"
      "cache-2  ready  replica of cache-1, 0 B behind  node2  12345  1m00s  0         3.4 MB  port=6379\n"
      "cache-3  ready  replica of cache-1, 0 B behind  node3  12345  1m00s  0         3.4 MB  port=6379\n");
}

TEST(InstancesText, KeepsLagMemoryAndPortsInEightyColumns) {
  EXPECT_EQ(InstancesText(Redis(), Of(80)),
            "NAME     STATE  ROLE                            HOST   FOR    MEMORY  PORTS\n"
            "cache-1  ready  primary                         node1  1m00s  3.4 MB  6379\n"
            "cache-2  ready  replica of cache-1, 0 B behind  node2  1m00s  3.4 MB  6379\n"
            "cache-3  ready  replica of cache-1, 0 B behind  node3  1m00s  3.4 MB  6379\n");
}

TEST(InstancesText, ShowsRestartsWhereThereWereSome) {
  json answer = Redis();
  answer["instances"][1]["restarts"] = 2;
  answer["instances"][1]["last_exit"] = "signal 9: killed";
  EXPECT_THAT(InstancesText(answer, Of(100)), AllOf(HasSubstr("2 (signal 9)"), HasSubstr("6379\n")));
  EXPECT_THAT(Widths(InstancesText(answer, Of(80))), Each(testing::Le(80u)));
}

TEST(InstancesText, ShowsManyPortsBelowEachOtherAndAllElseBesideThem) {
  json answer = Redis();
  for (int i = 0; i < 9; ++i) answer["instances"][0]["ports"][fmt::format("lane-{}", i)] = 7000 + i;
  const std::string text = InstancesText(answer, Of(120));
  EXPECT_THAT(text, AllOf(HasSubstr("lane-8=7008"), HasSubstr("OFFSET"), Not(HasSubstr("…"))));
  EXPECT_THAT(Widths(text), Each(testing::Le(120u)));
}

}  // namespace
}  // namespace muster::cli
