#include "cli/bundle.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/files.h"

namespace muster::cli {
namespace {

using testing::HasSubstr;

class BundleTest : public testing::Test {
 protected:
  BundleTest() : folder_(fs::temp_directory_path() / ("muster-bundle-test-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~BundleTest() override { fs::remove_all(folder_); }

  void Write(const std::string& name, std::string_view text, mode_t mode = 0644) {
    WriteOptions options;
    options.mode = mode;
    ASSERT_TRUE(WriteFile(folder_ / name, text, options).ok());
  }
  Result<Bundle> Load(const std::string& text) {
    Write("demo.yaml", text);
    return LoadBundle(folder_ / "demo.yaml", false);
  }

  fs::path folder_;
};

constexpr const char* kWithArtifact =
    "cluster: demo\n"
    "services:\n"
    "  web:\n"
    "    kind: app\n"
    "    command: \"{{artifact}} --port {{ports.http}}\"\n"
    "    artifact: ./web\n"
    "    ports: { http: 8100 }\n";

std::string FindingsOf(const Bundle& bundle) {
  std::string text;
  for (const Finding& finding : bundle.findings) text += FormatFinding(finding) + "\n";
  return text;
}

TEST_F(BundleTest, CarriesTheFilesThatTheClusterFileNames) {
  Write("web", "#!/bin/sh\n", 0755);
  const auto bundle = Load(kWithArtifact);
  ASSERT_TRUE(bundle.ok());
  EXPECT_FALSE(HasErrors(bundle->findings)) << FindingsOf(*bundle);
  const auto json = BundleJson(*bundle);
  EXPECT_EQ(json["file_name"], "demo.yaml");
  EXPECT_EQ(json["text"], kWithArtifact);
  const auto file = json["files"].value("./web", nlohmann::json::object());
  EXPECT_EQ(file.value("sha256", ""), Sha256Hex("#!/bin/sh\n"));
  EXPECT_EQ(file.value("size", 0), 10);
  EXPECT_EQ(file.value("executable", false), true);
  EXPECT_EQ(file.value("text", ""), "#!/bin/sh\n");
}

TEST_F(BundleTest, SendsSecretFilesAsNoBlobs) {
  Write("web", "#!/bin/sh\n", 0755);
  Write("web.env", "TOKEN=hunter2\n");
  auto bundle = Load(std::string(kWithArtifact) + "    env_file: web.env\n");
  ASSERT_TRUE(bundle.ok());
  EXPECT_THAT(bundle->unsent, testing::ElementsAre("web.env"));
  EXPECT_EQ(BundleJson(*bundle)["files"]["web.env"]["text"], "TOKEN=hunter2\n");
  // What is an artifact as well has to be there as one.
  bundle = Load(std::string(kWithArtifact) + "    env_file: ./web\n");
  ASSERT_TRUE(bundle.ok());
  EXPECT_THAT(bundle->unsent, testing::IsEmpty());
}

TEST_F(BundleTest, LeavesBytesThatAreNoTextToTheBlobs) {
  Write("web", std::string("\x7f"
                           "ELF\0\xff",
                           6));
  const auto bundle = Load(kWithArtifact);
  ASSERT_TRUE(bundle.ok());
  EXPECT_FALSE(BundleJson(*bundle)["files"]["./web"].contains("text"));
  Write("web", std::string(static_cast<size_t>(kInlineMaxBytes) + 1, 'a'));
  EXPECT_FALSE(BundleJson(*Load(kWithArtifact))["files"]["./web"].contains("text"));
}

TEST_F(BundleTest, PointsAtAFileThatIsNotThere) {
  const auto bundle = Load(kWithArtifact);
  ASSERT_TRUE(bundle.ok());
  EXPECT_THAT(FindingsOf(*bundle), HasSubstr("demo.yaml:6:15: error: \"./web\" is not there [file-missing]"));
}

TEST_F(BundleTest, SaysWhichFileCannotBeRead) {
  EXPECT_EQ(LoadBundle(folder_ / "absent.yaml", false).error().code(), "file-missing");
  EXPECT_THAT(LoadBundle(folder_, false).error().hint(), HasSubstr("muster.yaml"));
}

TEST_F(BundleTest, ReadsTheNameOfACluster) {
  Write("demo.yaml", "cluster: demo\n");
  EXPECT_EQ(ClusterNameIn(folder_ / "demo.yaml"), "demo");
  Write("bad.yaml", ": : :\n\x01");
  EXPECT_EQ(ClusterNameIn(folder_ / "bad.yaml"), "");
  EXPECT_EQ(ClusterNameIn(folder_ / "absent.yaml"), "");
}

}  // namespace
}  // namespace muster::cli
