#include "agent/artifacts.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "agent/install.h"
#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Artifacts : public ::testing::Test {
 protected:
  Artifacts() : root("/tmp/ar-" + RandomHex(4)), paths(PathsOf(root + "/host", "web-1")) {
    fs::create_directories(root);
    Arrives();
    instance.name = "web-1";
    instance.artifact = {.name = "program", .sha256 = sha256, .executable = true};
    EXPECT_TRUE(WriteInstance(paths, instance, nullptr, {}).ok());
  }
  ~Artifacts() override { fs::remove_all(root); }

  void Arrives() const {
    EXPECT_TRUE(WriteFile(root + "/arriving", bytes).ok());
    EXPECT_TRUE(TakeBlob(paths, sha256, root + "/arriving").ok());
  }
  std::string Named() const { return ArtifactPath(paths, sha256, "program"); }
  void WriteInPlace(const std::string& text) const {
    const Fd file(::open(Named().c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string What() const {
    DriftWatch watch;
    const auto drifts = watch.Look(paths, instance);
    return drifts.empty() ? "" : drifts[0].path + " " + drifts[0].what;
  }

  const std::string root, bytes = "#!/bin/sh\nexec true\n", sha256 = Sha256Hex(bytes);
  const Paths paths;
  Instance instance;
};

TEST_F(Artifacts, AreRightAsTheyCame) {
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kRight) << "nothing is hashed a second time";
  EXPECT_EQ(What(), "");
  EXPECT_THAT(MissingBlobs(paths, instance), IsEmpty());
}

TEST_F(Artifacts, AnotherProgramInItsPlaceIsSeenAndPutRight) {
  ASSERT_TRUE(WriteFile(Named(), "#!/bin/sh\necho foreign\n", {.mode = 0755}).ok());  // a rename, as of mv
  EXPECT_EQ(What(), "artifact program changed");
  EXPECT_EQ(CheckBlob(paths, sha256), Bytes::kRight) << "the blob has lost a name, and nothing else";
  EXPECT_THAT(MissingBlobs(paths, instance), IsEmpty());
  ASSERT_TRUE(LinkArtifact(paths, instance).ok());
  EXPECT_EQ(ReadFile(Named()).value(), bytes);
  EXPECT_EQ(What(), "");
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kRight);
}

TEST_F(Artifacts, OneThatIsWrittenOverHasToBeBroughtAgain) {
  WriteInPlace("#!/bin/sh\nexec fals\n");
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kUnknown) << "that takes reading all of it";
  EXPECT_EQ(CheckBlob(paths, sha256), Bytes::kWrong);
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kWrong) << "read once";
  EXPECT_EQ(What(), "artifact program changed");
  EXPECT_THAT(MissingBlobs(paths, instance), ElementsAre(sha256));
  Arrives();
  EXPECT_EQ(What(), "artifact program changed") << "its name is the old file's still";
  ASSERT_TRUE(LinkArtifact(paths, instance).ok());
  EXPECT_EQ(What(), "");
  EXPECT_EQ(ReadFile(Named()).value(), bytes);
}

TEST_F(Artifacts, OneThatIsTouchedOrCopiedIsReadOnceAndRight) {
  WriteInPlace(bytes);
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kUnknown);
  EXPECT_EQ(What(), "") << "of what isn't known nothing is said";
  EXPECT_EQ(CheckBlob(paths, sha256), Bytes::kRight);
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kRight);
}

TEST_F(Artifacts, ItsModeAndItsAbsenceAreSeenAndPutRight) {
  ASSERT_EQ(::chmod(Named().c_str(), 0644), 0);
  EXPECT_EQ(What(), "artifact program mode");
  EXPECT_EQ(CheckBlob(paths, sha256), Bytes::kRight);
  ASSERT_TRUE(LinkArtifact(paths, instance).ok());
  EXPECT_EQ(What(), "");
  fs::remove(Named());
  EXPECT_EQ(What(), "artifact program missing");
  ASSERT_TRUE(LinkArtifact(paths, instance).ok());
  EXPECT_EQ(What(), "");
}

// An agent of an earlier release has noted nothing.
TEST_F(Artifacts, WithoutANoteItIsReadOnce) {
  fs::remove(ArtifactPath(paths, sha256, ".seen"));
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kUnknown);
  EXPECT_EQ(CheckBlob(paths, sha256), Bytes::kRight);
  EXPECT_EQ(LookAtBlob(paths, sha256), Bytes::kRight);
}

}  // namespace
}  // namespace muster::agent
