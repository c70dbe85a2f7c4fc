#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "model/testing_values.h"
#include "recipes/app/layout.h"

namespace muster::app {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// "line:column what" of each finding in the file.
std::vector<std::string> Told(const std::string& text, int64_t size = -1) {
  Cluster cluster;
  cluster.files["app.env"] = {
      .sha256 = "f", .size = size < 0 ? static_cast<int64_t>(text.size()) : size, .text = text};
  Service service;
  service.name = "web";
  service.settings = Map({{"env_file", Scalar("app.env")}});
  std::vector<Finding> findings;
  CheckEnvFile(service, cluster, findings);
  std::vector<std::string> told;
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.code, "bad-env-file");
    told.push_back(
        fmt::format("{}:{}:{} {}", finding.file, finding.mark.line, finding.mark.column, finding.message));
  }
  return told;
}

TEST(EnvFile, TellsEachLineThatWouldSetNothingOrSomethingElse) {
  EXPECT_THAT(Told("KEY=ok\nbroken line\n1A=3\n  Q = \"unclosed\n export 'x=1\nR='\n"),
              ElementsAre("app.env:2:1 this line is no KEY=VALUE: it would set nothing",
                          "app.env:3:1 what stands before the = is no name of an environment variable",
                          "app.env:4:7 the quote that Q begins with isn't closed in its line",
                          "app.env:5:9 what stands before the = is no name of an environment variable",
                          "app.env:6:3 the quote that R begins with isn't closed in its line"));
}

TEST(EnvFile, HasNothingToSayOfLinesThatAreRight) {
  EXPECT_THAT(
      Told("\n# a comment\n  # another\r\nexport A='one'\r\nB=\"a \\\"b\\\" c\"\nC=\n_d9=it's \"fine\"\n"
           "E=x=y\n  F = {{address}}\n"),
      IsEmpty());
  EXPECT_THAT(Told(""), IsEmpty());
}

TEST(EnvFile, TellsAFileThatIsNoText) {
  EXPECT_THAT(Told("", 1 << 20), ElementsAre(":7:14 app.env is no text, or too big to be an environment"));
}

TEST(EnvFile, SaysNothingOfWhatABrokenLineHas) {
  for (const std::string& told : Told("tiger\ntiger two=3\nA=\"tiger\n")) {
    EXPECT_THAT(told, testing::Not(testing::HasSubstr("tiger")));
  }
}

}  // namespace
}  // namespace muster::app
