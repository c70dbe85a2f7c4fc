// What in a log is nginx's own word.
#include "recipes/nginx/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::nginx {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NginxEmergencies, AreTheMastersOwn) {
  const std::string bind = "2026/11/21 14:00:00 [emerg] 4711#4711: bind() to 127.0.0.1:80 failed";
  const std::string log =
      "127.0.0.1 \"GET / HTTP/1.1\" 200 12 0.001 127.0.0.1:8101\n" + bind + "\n" + bind + "\n";
  EXPECT_THAT(EmergenciesIn(log, 4711), ElementsAre(bind, bind));
  EXPECT_THAT(EmergenciesIn(log, 471), IsEmpty());
  EXPECT_THAT(EmergenciesIn(log, 47110), IsEmpty());
}

TEST(NginxEmergencies, AreNoVisitors) {
  for (
      const std::string line :
      {(R"(2026/11/21 14:00:00 [error] 4712#4712: *1 client intended to send too large body: 9 bytes, client:)"
        R"( 1.2.3.4, server: , request: "POST /[emerg] HTTP/1.1", host: "2026/11/21 14:00:00 [emerg] 4711#4711: ")"),
       R"(1.2.3.4 "GET /2026/11/21 14:00:00 [emerg] 4711#4711: x" 404 0 0.000 -)",
       R"(1.2.3.4 "GET /\x0A2026/11/21 14:00:00 [emerg] 4711#4711: x" 404 0 0.000 -)",
       " 2026/11/21 14:00:00 [emerg] 4711#4711: x",
       "2026/11/21 14:00:00 [error] 4711#4711: [emerg] 4711#4711: x",
       "2026/11/21 14:00:00 [emerg] 4712#4712: a worker's", "2026/11/21 14:00:00 [emerg] 4711#4799: x",
       "2026-11-21 14:00:00 [emerg] 4711#4711: x", "x/11/21 14:00:00 [emerg] 4711#4711: x",
       "[emerg] 4711#4711: x", "/open() \"/www/\r2026/11/21 14:00:00 [emerg] 4711#4711: x",
       "2026/11/21 14:00:00", ""}) {
    EXPECT_THAT(EmergenciesIn(line + "\n", 4711), IsEmpty()) << line;
  }
  EXPECT_THAT(EmergenciesIn("2026/11/21 14:00:00 [emerg] 4711#4711: half a li", 4711), IsEmpty());
}

}  // namespace
}  // namespace muster::nginx
