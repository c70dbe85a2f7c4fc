#include "model/listens.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

TEST(Listens, ReadsBackWhatItWrites) {
  const std::map<std::string, PortRange> ports = {{"a", {.first = 8101}},
                                                  {"b", {.first = 9000, .count = 10}},
                                                  {"c", {.first = 5353, .udp = true}},
                                                  {"d", {.first = 70, .count = 2, .udp = true}}};
  const std::string text = FormatListens("10.0.0.1", ports);
  EXPECT_EQ(text, "10.0.0.1 8101 9000-9009 5353/udp 70-71/udp");
  const Listens listens = ParseListens(text);
  EXPECT_EQ(listens.address, "10.0.0.1");
  ASSERT_EQ(listens.ports.size(), 4u);
  EXPECT_EQ(listens.ports[1], (PortRange{.first = 9000, .count = 10}));
  EXPECT_EQ(listens.ports[3], (PortRange{.first = 70, .count = 2, .udp = true}));
  EXPECT_EQ(FormatListens("10.0.0.1", {}), "");
}

TEST(Listens, LeavesOutWhatCantBeRead) {
  EXPECT_EQ(ParseListens(""), Listens{});
  EXPECT_EQ(ParseListens("10.0.0.1"), Listens{});
  EXPECT_EQ(ParseListens("::1 x 9-8 1-999999 80").ports, (std::vector<PortRange>{{.first = 80}}));
  EXPECT_EQ(ListensOf({}), Listens{});
}

}  // namespace
}  // namespace muster
