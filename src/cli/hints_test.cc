#include "cli/hints.h"

#include <gtest/gtest.h>

namespace muster::cli {
namespace {

TEST(Hints, NameTheClusterBehindTheCommand) {
  EXPECT_EQ(NameCluster("muster logs web-1 --tail 50", " -c mall"), "muster logs -c mall web-1 --tail 50");
  EXPECT_EQ(NameCluster("muster ps lists them", " -c mall"), "muster ps -c mall lists them");
  EXPECT_EQ(NameCluster("muster resume", " -c mall"), "muster resume -c mall");
  EXPECT_EQ(NameCluster("muster secret set token", " -c mall"), "muster secret set -c mall token");
  EXPECT_EQ(NameCluster("muster scale web 2, or: muster stop web", " -c a@rehearsal"),
            "muster scale -c a@rehearsal web 2, or: muster stop -c a@rehearsal web");
  EXPECT_EQ(NameCluster("muster ps; muster logs cache-1", " -c mall"),
            "muster ps -c mall; muster logs -c mall cache-1");
  EXPECT_EQ(NameCluster("muster switchover cache, or muster failover cache --force", " -c mall"),
            "muster switchover -c mall cache, or muster failover -c mall cache --force");
}

TEST(Hints, LeaveAloneWhatIsAboutNoClusterOrNamesOne) {
  for (const char* text :
       {"bring one up: muster up FILE", "muster server start", "muster logs -c other web-1",
        "say which: --cluster mall", "muster startle", "", "muster"}) {
    EXPECT_EQ(NameCluster(text, " -c mall"), text);
  }
  EXPECT_EQ(NameCluster("muster ps lists them", ""), "muster ps lists them");
}

}  // namespace
}  // namespace muster::cli
