#include "recipes/app/texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::app {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Texts = std::vector<std::string>;

// "column code severity message" of each.
Texts Told(const std::vector<Finding>& findings) {
  Texts told;
  for (const Finding& finding : findings) {
    told.push_back(fmt::format("{} {}{}", finding.mark.column,
                               finding.severity == Severity::kWarning ? "warning: " : "", finding.message));
  }
  return told;
}

Value Scalar(const std::string& text) {
  Value value;
  value.type = Value::Type::kString;
  value.text = text;
  value.mark = {.line = 3, .column = 10};
  return value;
}

Cluster Three() {
  Cluster cluster;
  cluster.name = "c";
  for (const int number : {1, 2, 3}) {
    cluster.hosts.push_back(
        {.name = "n" + std::to_string(number), .address = "10.0.0." + std::to_string(number), .mark = {}});
  }
  return cluster;
}

struct Texting {
  Cluster cluster = Three();
  Value value;
  Part part;

  // In the cluster file; in another file where `value` is not of it.
  Texting(const std::string& where, const std::string& text, bool other_file = false) : value(Scalar(text)) {
    part = {.value = other_file ? nullptr : &value, .text = text, .mark = value.mark, .where = where};
  }

  Texts Localhost() const {
    std::vector<Finding> findings;
    CheckLocalhost(part, cluster, findings);
    return Told(findings);
  }
  Texts Seeds() const {
    Service service;
    service.name = "web";
    Placement members;
    for (int i = 1; i <= 3; ++i) {
      Place place;
      place.service = "web";
      place.host = "n" + std::to_string(i);
      place.ordinal = i;
      place.ports["gossip"] = {.first = 7000, .count = 1};
      members["web-" + std::to_string(i)] = place;
    }
    std::vector<Finding> findings;
    CheckSeeds(service, part, cluster, members, findings);
    return Told(findings);
  }
  Texts Ids() const {
    Service service;
    service.name = "web";
    std::vector<Finding> findings;
    CheckStartIds(service, part, findings);
    return Told(findings);
  }
};

TEST(Localhost, IsFoundEachTimeAndByEachOfItsNames) {
  EXPECT_THAT(
      Texting("command", "run --api=http://localhost/a --b=ws://127.0.0.1:80/ --c=[::1]:9000").Localhost(),
      ElementsAre("27 command points at localhost, which is another machine for everyone else",
                  "48 command points at 127.0.0.1, which is another machine for everyone else",
                  "66 warning: command points at [::1], which is another machine for everyone else"));
  for (const char* text :
       {"http://LocalHost/", "http://127.1.2.3:80", "http://user:pw@localhost:80/x", "http://[::1]/",
        "mongodb://10.0.0.1:1,127.0.1.1:2/db", "tcp://localhost.localdomain"}) {
    EXPECT_EQ(Texting("env API", text).Localhost().size(), 1u) << text;
  }
  for (const char* text : {"localhost:{{ports.http}}", "127.0.0.5:80"}) {
    EXPECT_EQ(Texting("env API", text).Localhost().size(), 1u) << text;
  }
}

TEST(Localhost, IsNotFoundWhereItIsAnothersNameOrAnotherMatter) {
  for (const char* text : {"http://localhost.example.com/", "http://mylocalhost/", "http://x/localhost:80x",
                           "10.127.0.0.1:80", "127.0.0.0/8", "1127.0.0.1:80", "127.0.0.1.5:80",
                           "127.0.0.999:80", "localhost", "http://x/?next=a", "0.0.0.0/0", "10.0.0.0.1"}) {
    EXPECT_THAT(Texting("env X", text).Localhost(), IsEmpty()) << text;
  }
}

TEST(Localhost, OfAllAddressesIsToListenAtAndNotToTellOthers) {
  EXPECT_THAT(
      Texting("command", "run --bind=0.0.0.0:80 --listen tcp://0.0.0.0:90 --host 0.0.0.0").Localhost(),
      IsEmpty());
  EXPECT_EQ(Texting("env ASPNETCORE_URLS", "http://0.0.0.0:80").Localhost(), Texts{});
  EXPECT_EQ(Texting("env APP_URL", "http://0.0.0.0:80").Localhost().size(), 1u);
  EXPECT_EQ(Texting("command", "run --advertise 0.0.0.0:80 --peers=[::]:90").Localhost().size(), 2u);
  EXPECT_EQ(Texting("env ADVERTISE_HOST", "localhost").Localhost().size(), 1u);
}

TEST(Localhost, InAnotherFileIsToldByItsLineAndNotInAComment) {
  EXPECT_THAT(
      Texting("app.env", "# http://localhost/\nA=1\nB=http://localhost/\n  ; 127.0.0.1:80\n", true)
          .Localhost(),
      ElementsAre("10 line 3 of app.env points at localhost, which is another machine for everyone else"));
}

TEST(Seeds, AreMissedByAddressByNameAndInPart) {
  EXPECT_THAT(Texting("command", "run 10.0.0.1:7000,10.0.0.3:7000").Seeds(),
              ElementsAre("14 command lists members of web without 10.0.0.2:7000"));
  EXPECT_THAT(Texting("command", "run --seeds=n1:7000,n2:7000").Seeds(),
              ElementsAre("22 command lists members of web without 10.0.0.3:7000"));
  EXPECT_THAT(Texting("command", "run --seeds n1,n2").Seeds(),
              ElementsAre("22 command lists members of web without 10.0.0.3"));
  EXPECT_THAT(Texting("env PEERS", "10.0.0.2:7000").Seeds(),
              ElementsAre("10 warning: env PEERS lists members of web without 10.0.0.1:7000, 10.0.0.3:7000"));
  EXPECT_THAT(Texting("app.yaml", "seeds:\n  - n1\n  - n3\n  # - n2\n", true).Seeds(),
              ElementsAre("10 line 2 of app.yaml lists members of web without 10.0.0.2"));
}

TEST(Seeds, AreAllThereInWhateverForm) {
  for (const char* text :
       {"run --seeds=10.0.0.1:7000,10.0.0.2:7000,10.0.0.3:7000", "run --seeds=n1:7000,10.0.0.2:7000,n3:7000",
        "run --seeds n1,n2,n3", "run --me=10.0.0.1:7000",
        "run --join n1:7000 --peers n1:7000,n2:7000,n3:7000", "run n1 n2", "run --seeds={{peers.gossip}}"}) {
    EXPECT_THAT(Texting("command", text).Seeds(), IsEmpty()) << text;
  }
}

TEST(StartIds, AreMadeByAShellAtEachStart) {
  for (const char* text : {"sh -c 'exec app --id=$RANDOM'", "sh -c 'exec app --node-id node-$$'",
                           "sh -c 'NODE_NAME=$(uuidgen) app'", "sh -c 'app --name=`date +%s`'",
                           "sh -c 'app --id=${RANDOM}'", "sh -c 'app --id=$HOSTNAME'"}) {
    EXPECT_EQ(Texting("command", text).Ids().size(), 1u) << text;
  }
  EXPECT_THAT(
      Texting("env NODE_ID", "gw-$RANDOM").Ids(),
      ElementsAre("13 the id gw-$RANDOM in env NODE_ID would differ at each start; members could not be "
                  "told apart"));
}

TEST(StartIds, AreNothingElseThatChanges) {
  for (const char* text :
       {"sh -c 'app --seed=$RANDOM'", "sh -c 'app --run-id=$(date +%s)'", "sh -c 'app > /tmp/x.$$'",
        "sh -c 'app --id=$HOSTNAME-{{ordinal}}'", "app --id={{instance}}", "sh -c 'app --id=$NODE'"}) {
    EXPECT_THAT(Texting("command", text).Ids(), IsEmpty()) << text;
  }
}

}  // namespace
}  // namespace muster::app
