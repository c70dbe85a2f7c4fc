#include "base/search_path.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster {
namespace {

TEST(FindInPath, TakesTheFirstThatCanBeExecuted) {
  const std::string top = "/tmp/muster-path-" + RandomHex(6);
  fs::create_directories(top + "/folder/tool");
  for (const char* folder : {"plain", "good", "later"}) {
    ASSERT_TRUE(MakeFolder(top + "/" + folder).ok());
    const WriteOptions options{.mode = static_cast<mode_t>(std::string(folder) == "plain" ? 0644 : 0755)};
    ASSERT_TRUE(WriteFile(top + "/" + folder + "/tool", "#!/bin/sh\n", options).ok());
  }
  const std::string path =
      "::tmp:" + top + "/none:" + top + "/folder:" + top + "/plain:" + top + "/good:" + top + "/later";
  EXPECT_EQ(FindInPath(path, "tool"), top + "/good/tool");
  EXPECT_EQ(FindInPath(path, "tools"), "");
  EXPECT_EQ(FindInPath("", "tool"), "");
  // A folder that is another one for each who looks.
  const fs::path before = fs::current_path();
  fs::current_path(top);
  EXPECT_EQ(FindInPath("good:./good", "tool"), "");
  fs::current_path(before);
  fs::remove_all(top);
}

}  // namespace
}  // namespace muster
