#include "cli/way_out.h"

#include <gtest/gtest.h>

#include "model/testing_values.h"

namespace muster::cli {
namespace {

TEST(OutsideAddress, IsWhatAProgramWouldConnectTo) {
  EXPECT_EQ(OutsideAddress("DB", "10.1.2.3:3306"), "10.1.2.3:3306");
  EXPECT_EQ(OutsideAddress("", "run --db=192.168.1.9:5432 --x"), "192.168.1.9:5432");
  EXPECT_EQ(OutsideAddress("", "run --es http://10.1.2.3/"), "10.1.2.3");
  EXPECT_EQ(OutsideAddress("DB_HOST", "10.1.2.3"), "10.1.2.3");
  EXPECT_EQ(OutsideAddress("X", "jdbc:mysql://db.example.org:3306/shop?a=b"), "db.example.org:3306");
  EXPECT_EQ(OutsideAddress("X", "mongodb+srv://Cluster0.example.org/shop"), "cluster0.example.org");
  EXPECT_EQ(OutsideAddress("X", "postgres://a.example.org:1,b.example.org:2/x"), "a.example.org:1");
}

TEST(OutsideAddress, NeverHasAUserOrPassword) {
  EXPECT_EQ(OutsideAddress("X", "mysql://me:s3cret@db.example.org/shop"), "db.example.org");
  EXPECT_EQ(OutsideAddress("X", "mysql://me:p@ss@db.example.org/shop"), "db.example.org");
  EXPECT_EQ(OutsideAddress("X", "redis://:{{secret.redis}}@10.1.2.3:6379"), "10.1.2.3:6379");
}

TEST(OutsideAddress, IsNoneWhereItMayBeAnythingElse) {
  for (const char* text : {"",
                           "127.0.0.1:80",
                           "0.0.0.0:80",
                           "239.1.2.3:5000",
                           "255.255.255.0",
                           "1.2.3.4",
                           "v1.2.3.4:5",
                           "1.2.3.4.5:6",
                           "http://shop.example.org:8443/",
                           "https://www.w3.org/2001/XMLSchema",
                           "mysql://localhost:3306/x",
                           "mysql://db:3306/x",
                           "mysql://{{db.endpoints}}/x",
                           "redis://127.0.0.1:6379",
                           "a://",
                           "mysql://",
                           "mysql://x@/",
                           "10.0.0.0/8",
                           "10.1.2.3:x",
                           "at 10:20:30",
                           "10.1.2.3:123456"}) {
    EXPECT_EQ(OutsideAddress("X", text), "") << text;
  }
  EXPECT_EQ(OutsideAddress("PUBLIC_URL", "http://10.1.2.3:80/"), "");
  EXPECT_EQ(OutsideAddress("", "run --listen 10.1.2.3:80 --trusted-proxy=10.1.2.3:1"), "");
  EXPECT_EQ(OutsideAddress("VERSION", "10.1.2.3"), "");
}

Cluster With(const std::string& key, Value value) {
  Cluster cluster;
  cluster.rehearsal = true;
  cluster.hosts = {{.name = "a", .address = "127.77.1.1", .mark = {}}};
  Service service;
  service.name = "web";
  service.kind = "app";
  service.settings = Map({{key, std::move(value)}});
  cluster.services = {service};
  return cluster;
}

TEST(CheckWayOut, TellsEachServiceOnceWithItsPlace) {
  Cluster cluster = With("env", Map({{"DB", Scalar("10.1.2.3:3306")}, {"CACHE", Scalar("10.1.2.3:6379")}}));
  const auto findings = CheckWayOut(cluster);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "rehearsal-apart");
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  EXPECT_EQ(findings[0].mark, (Mark{7, 14}));
  EXPECT_NE(findings[0].message.find("env DB of web names 10.1.2.3:3306"), std::string::npos);
  EXPECT_NE(findings[0].fix.find("MUSTER_REHEARSAL_NETWORK=loopback"), std::string::npos);
  cluster.rehearsal = false;
  EXPECT_TRUE(CheckWayOut(cluster).empty());
}

TEST(CheckWayOut, ReadsFilesLineByLineAndNoComments) {
  Cluster cluster = With("files", Map({{"app.conf", Scalar("./app.conf")}}));
  cluster.files["./app.conf"].text = "# db=10.1.2.3:1\nname=x\ndb=10.1.2.3:2\n";
  const auto findings = CheckWayOut(cluster);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_NE(findings[0].message.find("line 3 of ./app.conf of web names 10.1.2.3:2"), std::string::npos);
  cluster.files["./app.conf"].text = "# db=10.1.2.3:1\nlisten=10.1.2.3:1\npeer=127.77.1.1:80\n";
  EXPECT_TRUE(CheckWayOut(cluster).empty());
}

}  // namespace
}  // namespace muster::cli
