#include "server/local_agents.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster::server {
namespace {

net::Task<bool> Remove(net::Loop& loop, std::string home) {
  const Status removed = co_await RemoveHosts(loop, std::move(home), "mall", 1ms);
  co_return removed.ok();
}

TEST(RemoveHosts, KeepsTheFolderOfAnAgentThatHasNotLeft) {
  const fs::path home = fs::temp_directory_path() / ("muster-hosts-" + RandomHex(6));
  const fs::path hosts = HostsFolder(home.string(), "mall");
  for (const char* host : {"a", "b", "c"}) fs::create_directories(hosts / host / "instances/web-1/data");
  net::Loop loop;
  {
    const auto held = FileLock::TryTake(hosts / "a/agent.lock");
    ASSERT_TRUE(held.ok());
    ASSERT_TRUE(WriteFile(hosts / "b/agent.lock", "").ok());
    EXPECT_FALSE(loop.RunTask(Remove(loop, home.string())));
    EXPECT_TRUE(fs::exists(hosts / "a/instances/web-1/data"));
    EXPECT_FALSE(fs::exists(hosts / "b"));
    EXPECT_FALSE(fs::exists(hosts / "c"));
  }
  EXPECT_TRUE(loop.RunTask(Remove(loop, home.string())));
  EXPECT_FALSE(fs::exists(hosts));
  fs::remove_all(home);
}

}  // namespace
}  // namespace muster::server
