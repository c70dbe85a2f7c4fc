#include "cli/local_ports.h"

#include <gtest/gtest.h>

namespace muster::cli {
namespace {

TEST(LocalPorts, AreThoseOfTheRange) {
  const LocalPorts ports = ParseLocalPorts("32768\t60999\n", "\n");
  EXPECT_FALSE(ports.Gives(32767));
  EXPECT_TRUE(ports.Gives(32768));
  EXPECT_TRUE(ports.Gives(60999));
  EXPECT_FALSE(ports.Gives(61000));
}

TEST(LocalPorts, AreNotThoseThatAreReserved) {
  const LocalPorts ports = ParseLocalPorts("10000 60999", "17001-17006,18001\n");
  EXPECT_TRUE(ports.Gives(17000));
  EXPECT_FALSE(ports.Gives(17001));
  EXPECT_FALSE(ports.Gives(17006));
  EXPECT_TRUE(ports.Gives(17007));
  EXPECT_FALSE(ports.Gives(18001));
  EXPECT_TRUE(ports.Gives(18002));
}

TEST(LocalPorts, AreNoneWhereNothingIsSaid) {
  EXPECT_FALSE(ParseLocalPorts("", "").Gives(40000));
  EXPECT_FALSE(LocalPorts().Gives(0));
}

TEST(LocalPorts, AreReadFromThisMachine) { EXPECT_GT(LocalPortsHere().last, LocalPortsHere().first); }

}  // namespace
}  // namespace muster::cli
