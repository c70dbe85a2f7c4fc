// For tests of the agent: a real agent in a process of its own, and the server's end of its channel.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "api/agent_messages.h"
#include "net/channel.h"
#include "net/loop.h"

namespace muster::agent {

class AgentTest : public testing::Test {
 protected:
  static constexpr Duration kPatience = 20s;

  void SetUp() override;
  void TearDown() override;

  void StartAgent();
  void KillAgent();      // SIGKILL, and waits
  int TerminateAgent();  // SIGTERM; its exit status
  int WaitForAgentsEnd();
  void WaitForHello();

  // Runs the loop until `condition` holds; fails the test when it never does.
  void Until(const std::function<bool()>& condition, const std::string& what);

  void Send(const api::AgentMessage& message);
  std::string SendOrder(const std::string& verb, const Instance& instance, Duration deadline = 10s,
                        std::map<std::string, std::string> args = {});
  api::Outcome WaitForOutcome(const std::string& id);
  api::Outcome Order(const std::string& verb, const Instance& instance, Duration deadline = 10s,
                     std::map<std::string, std::string> args = {});
  void MustOrder(const std::string& verb, const Instance& instance);
  Observed Observe(const std::string& instance, bool drift = false);
  void UntilState(const std::string& instance, InstanceState state);

  // A member that runs `script` with sh, as a user that isn't root.
  Instance Shell(const std::string& name, const std::string& script) const;
  // One that serves HTTP on a port of its own, a tenth of a second after its start.
  Instance Web(const std::string& name) const;
  static int FreePort();
  // pids of living processes whose command line holds this test's folder.
  std::vector<int> Processes() const;
  std::vector<int> Left() const;  // those that have exec'd another program, too
  std::string InFolder(const std::string& path) const { return host_folder_ + "/" + path; }

  std::string home_, host_folder_;
  net::Loop loop_;
  std::unique_ptr<net::ChannelListener> listener_;
  std::shared_ptr<net::Channel> channel_;
  int agent_pid_ = 0;
  int hellos_ = 0;
  int64_t epoch_ = 1;
  int orders_ = 0;
  api::Hello hello_;
  std::map<std::string, std::vector<api::Outcome>> outcomes_;
  std::map<std::string, std::vector<Observed>> observed_;
  std::vector<Observed> changes_;
  std::vector<api::Chunk> chunks_;
  std::map<std::string, api::End> ends_;
  std::map<std::string, std::string> blobs_;  // what the server has, by SHA-256
  int blobs_sent_ = 0;
};

}  // namespace muster::agent
