// What the store's tests share: a folder for each test, and children that are killed.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "base/digest.h"
#include "base/files.h"
#include "store/store.h"

namespace muster::store {

class StoreFolder : public ::testing::Test {
 protected:
  StoreFolder() : folder(fs::temp_directory_path() / ("muster-store-" + RandomHex(6))) {}
  ~StoreFolder() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  std::unique_ptr<Store> Open() {
    auto opened = Store::Open(folder.string());
    EXPECT_TRUE(opened.ok()) << opened.error().Text();
    return opened.ok() ? std::move(opened).value() : nullptr;
  }
  // "" where it opens.
  std::string CodeOfOpening() {
    const auto opened = Store::Open(folder.string());
    return opened.ok() ? "" : opened.error().code();
  }

  const fs::path folder;
};

// Runs `work` in a child and gives its wait status. `work` ends by itself, by a signal, or by _exit.
inline int InChild(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

inline ClusterRow SampleCluster(const std::string& key = "mall") {
  return {.key = key,
          .name = key,
          .rehearsal = false,
          .block = 0,
          .epoch = 3,
          .revision = 1,
          .placement = R"({"web-1":{"service":"web"}})",
          .held = "[]",
          .extra = "{}"};
}

inline RevisionRow SampleRevision(const std::string& cluster, int64_t number,
                                  const std::string& bundle = "{}") {
  return {.cluster = cluster,
          .number = number,
          .created = WallTime(Duration(1'000'000 + number)),
          .author = "ann",
          .text = "cluster: " + cluster + "\n",
          .file_name = "mall.yaml",
          .bundle = bundle,
          .renderer = 1,
          .note = "revision " + std::to_string(number)};
}

inline RunRow SampleRun(const std::string& id, const std::string& cluster, int64_t revision,
                        const std::string& state = "running") {
  return {.id = id,
          .cluster = cluster,
          .revision = revision,
          .action = "up",
          .state = state,
          .plan = "{}",
          .started = WallTime(Duration(5)),
          .ended = {},
          .error = "",
          .author = "ann"};
}

}  // namespace muster::store
