// What tests of one instance share: real processes on a real loop.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <set>

#include "agent/member.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"

namespace muster::agent {

class MemberTest : public ::testing::Test {
 protected:
  MemberTest() : root("/tmp/mm-" + RandomHex(4)) {
    fs::create_directories(root);
    host.loop = &loop;
    host.cluster = "t" + RandomHex(4);
    host.host = "h1";
    host.folder = root + "/host";
    host.changed = [this](const Observed& observed) {
      const std::string state(StateName(observed.state));
      if (states.empty() || states.back() != state) states.push_back(state);
      if (state == "starting" && observed.pid > 0) told_while_starting = true;
      hosts.insert(observed.host);
      if (observed.pid > 0) pids.push_back(observed.pid);
      loop.Stop();
    };
    host.fetch_blob = [this](std::string sha256) { return Fetch(std::move(sha256)); };
    host.clean_artifacts = [] {};
    member = std::make_shared<Member>(&host, "web-1");
  }
  ~MemberTest() override {
    pids.push_back(member ? member->Observe(false).pid : 0);
    member.reset();
    for (const int pid : pids) {
      if (pid <= 0) continue;
      if (::waitpid(pid, nullptr, WNOHANG) != 0) continue;
      ::kill(-pid, SIGKILL);
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    runtime::RemoveCgroups(host.cluster, "");
    fs::remove_all(root);
  }

  net::Task<Status> Fetch(std::string) { co_return Error::Unavailable("server-gone", "nobody is there"); }

  // Ready once it has said "up".
  static Instance Shell(const std::string& script) {
    Instance instance;
    instance.name = "web-1";
    instance.service = "web";
    instance.kind = "app";
    instance.host = "one";
    instance.address = "127.0.0.1";
    instance.argv = {"/bin/sh", "-c", script};
    instance.user = "daemon";  // root is refused
    instance.probe = {.kind = Probe::Kind::kLog, .target = "^up$", .every = 10ms};
    instance.ready_within = 20s;
    instance.restart = {.backoff_first = 5ms, .backoff_most = 20ms, .healthy_after = 60s, .crashes_most = 5};
    instance.hash = "h1";
    return instance;
  }
  static Instance Sleeper() { return Shell("echo up; exec sleep 1000"); }

  using Outcome = std::shared_ptr<std::optional<Result<Values>>>;
  Outcome Begin(const std::string& verb, std::optional<Instance> instance = {}, Values args = {},
                std::shared_ptr<const bool> given_up = nullptr) {
    const auto outcome = std::make_shared<std::optional<Result<Values>>>();
    const Step step{
        .id = "web-1." + verb, .instance = "web-1", .verb = verb, .args = std::move(args), .impact = impact};
    net::SpawnThen(member->Perform(step, std::move(instance), std::move(given_up)),
                   [this, outcome](Result<Values> done) {
                     outcome->emplace(std::move(done));
                     loop.Stop();
                   });
    return outcome;
  }
  // Runs the loop until `condition`, which can change only by what stops the loop.
  bool Until(const std::function<bool()>& condition) {
    bool late = false;
    const auto deadline = loop.After(20s, [&] {
      late = true;
      loop.Stop();
    });
    while (!condition() && !late) loop.Run();
    loop.Cancel(deadline);
    EXPECT_FALSE(late) << "nothing came within 20 s; states: " << Join(states, " ");
    return !late;
  }
  bool UntilState(InstanceState state) {
    return Until([this, state] { return member->Observe(false).state == state; });
  }
  Result<Values> Wait(const Outcome& outcome) {
    if (!Until([&] { return outcome->has_value(); })) return Error::Timeout("late", "it didn't end");
    return **outcome;
  }
  // "" or the error's code.
  static std::string CodeOf(const Result<Values>& done) { return done.ok() ? "" : done.error().code(); }
  std::string Do(const std::string& verb, std::optional<Instance> instance = {}, Values args = {}) {
    return CodeOf(Wait(Begin(verb, std::move(instance), std::move(args))));
  }
  // As when the agent dies: what runs goes on, and another agent finds it.
  void ReplaceAgent() {
    member = std::make_shared<Member>(&host, "web-1");
    member->Restore();
  }
  Observed Now() const { return member->Observe(false); }
  std::string State() const { return std::string(StateName(Now().state)); }
  std::string Of(const std::string& path) const { return member->paths().folder + "/" + path; }
  static bool Lives(int pid) { return ::kill(pid, 0) == 0; }

  const std::string root;
  net::Loop loop;
  HostContext host;
  Impact impact = Impact::kNone;     // of the steps
  bool told_while_starting = false;  // of its pid, before it was ready
  std::vector<std::string> states;
  std::set<std::string> hosts;  // as told with them
  std::vector<int> pids;
  std::shared_ptr<Member> member;
};

}  // namespace muster::agent
