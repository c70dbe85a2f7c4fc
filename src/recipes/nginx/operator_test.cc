// A real nginx in front of real servers: prepared, reloaded, drained.
#include <atomic>
#include <functional>

#include "recipes/nginx/testing_nginx.h"

namespace muster::nginx {
namespace {

TEST_F(NginxOperatorTest, SendsToAGuestUntilItIsDismissed) {
  const Place app_2 = placement_.at("app-2");
  placement_.erase("app-2");  // it is the guest here
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1"}));
  const std::string at = fmt::format("app=127.0.0.1:{},feed=127.0.0.1:1", app_2.ports.at("http").first);
  EXPECT_EQ(Order("admit", {{"member", "app-x1"}, {"by", "run"}, {"at", at}}), "");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1", "app-2"}));

  // It stands in for one that is out, over a reload and an agent that starts anew.
  EXPECT_EQ(Order("drain", {{"member", "app-1"}, {"by", "run"}}), "app-1");
  operator_ = MakeOperator();
  EXPECT_EQ(operator_->Facts(Context()).at("guests"), "app-x1");
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-2"}));
  EXPECT_EQ(Order("restore", {{"member", "app-1"}, {"by", "run"}, {"ready", "yes"}}), "");

  // One that isn't well is out like any member.
  EXPECT_EQ(Order("backends", {{"out", "app-x1"}}), "app-x1");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1"}));
  EXPECT_EQ(Order("dismiss", {{"member", "app-x1"}, {"by", "run"}}), "");
  EXPECT_EQ(Order("dismiss", {{"member", "app-x1"}, {"by", "run"}}), "");
  EXPECT_EQ(operator_->Facts(Context()).contains("guests"), false);
  EXPECT_EQ(operator_->Facts(Context()).at("health"), "");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1"}));
  EXPECT_THAT(Order("admit", {{"member", "app-x1"}}), HasSubstr("bad-args"));
}

TEST_F(NginxOperatorTest, SendsToAMemberWhereItCameBackUntilItsNewListIsThere) {
  const int port =
      std::exchange(placement_.at("app-1").ports.at("http").first, 1);  // nothing is there any more
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  EXPECT_EQ(Order("drain", {{"member", "app-1"}, {"by", "run"}}), "app-1");
  const std::string at = fmt::format("app=127.0.0.1:{}", port);
  EXPECT_EQ(Order("restore", {{"member", "app-1"}, {"by", "run"}, {"ready", "yes"}, {"at", at}}), "");
  operator_ = MakeOperator();
  EXPECT_EQ(Order("drain", {{"member", "app-2"}, {"by", "run"}}), "app-2");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1"}));

  placement_.at("app-1").ports.at("http").first = port;
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1"}));
  // With that it is over: another list, though it has been there before, is as it says.
  placement_.at("app-1").ports.at("http").first = 1;
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  EXPECT_THAT(ReadFile(folder_ + "/" + std::string(kUpstreamsFile)).value(), HasSubstr("127.0.0.1:1 "));
}

TEST_F(NginxOperatorTest, DrainsRestoresAndRemembers) {
  Install(Plain());
  const Status prepared = loop_.RunTask(operator_->Prepare(Context()));
  ASSERT_TRUE(prepared.ok()) << prepared.error().Text();
  StartNginx();
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1", "app-2"}));

  EXPECT_EQ(Order("drain", {{"member", "app-1"}, {"by", "run"}}), "app-1");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-2"}));
  EXPECT_EQ(operator_->Facts(Context()).at("reloads"), "1");

  // What is out already costs no reload, whoever says so.
  EXPECT_EQ(Order("backends", {{"out", "app-1"}}), "app-1");
  EXPECT_EQ(operator_->Facts(Context()).at("reloads"), "1");

  // An agent that starts anew knows it all from the file; and it takes both to let it in.
  operator_ = MakeOperator();
  EXPECT_EQ(operator_->Facts(Context()).at("run"), "app-1");
  EXPECT_EQ(Order("restore", {{"member", "app-1"}, {"by", "run"}}), "app-1");
  EXPECT_EQ(Order("backends", {{"out", ""}}), "");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1", "app-2"}));

  // All out: none is.
  EXPECT_EQ(Order("backends", {{"out", "app-1,app-2"}}), "");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1", "app-2"}));
  EXPECT_EQ(Order("restore", {{"member", "app-2"}, {"by", "run"}, {"ready", "yes"}}), "app-1");
  EXPECT_THAT(Order("dance", {}), HasSubstr("unknown-verb"));
}

net::Task<void> DrainBoth(Operator* nginx, Operator::Context context, int* done) {
  std::map<std::string, std::string> args{{"member", *done == 0 ? "app-1" : "app-2"}, {"by", "run"}};
  const std::string verb = "drain";
  auto told = co_await nginx->Perform(context, verb, args);
  EXPECT_TRUE(told.ok());
  ++*done;
  if (*done == 3) context.loop->Stop();
}

TEST_F(NginxOperatorTest, MergesReloads) {
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  int done = 0;
  for (int i = 0; i < 3; ++i) net::Spawn(DrainBoth(operator_.get(), Context(), &done));
  loop_.Run();
  EXPECT_EQ(done, 3);
  EXPECT_EQ(operator_->Facts(Context()).at("reloads"), "1");
}

TEST_F(NginxOperatorTest, ComesToWhatIsWantedAfterAReloadThatCameLate) {
  operator_ = MakeOperatorFor(200ms);
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  EXPECT_FALSE(operator_->Facts(Context()).contains("stale"));
  ASSERT_EQ(kill(pid_, SIGSTOP), 0);
  EXPECT_THAT(Order("backends", {{"out", "app-1"}}), HasSubstr("nginx-reload"));
  EXPECT_EQ(operator_->Facts(Context()).at("stale"), "yes");
  ASSERT_EQ(kill(pid_, SIGCONT), 0);
  // Given up on, it does what it was told all the same.
  const Time end = Now() + 10s;
  while (WhoAnswers() != std::set<std::string>{"app-2"}) ASSERT_LT(Now(), end);
  operator_ = MakeOperator();  // which one asks makes no difference
  EXPECT_EQ(operator_->Facts(Context()).at("stale"), "yes");
  EXPECT_EQ(Order("backends", {{"out", ""}}), "");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1", "app-2"}));
  EXPECT_FALSE(operator_->Facts(Context()).contains("stale"));

  // What a drain did that failed is undone, in nginx too; here nothing else would tell.
  operator_ = MakeOperatorFor(200ms);
  EXPECT_FALSE(operator_->Facts(Context()).contains("stale"));
  ASSERT_EQ(kill(pid_, SIGSTOP), 0);
  EXPECT_THAT(Order("drain", {{"member", "app-2"}, {"by", "run"}}), HasSubstr("nginx-reload"));
  ASSERT_EQ(kill(pid_, SIGCONT), 0);
  while (WhoAnswers() != std::set<std::string>{"app-1"}) ASSERT_LT(Now(), end);
  EXPECT_EQ(operator_->Facts(Context()).at("run"), "");
  EXPECT_EQ(operator_->Facts(Context()).at("stale"), "yes");
  operator_ = MakeOperator();
  EXPECT_EQ(Order("backends", {{"out", ""}}), "");
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1", "app-2"}));
}

TEST_F(NginxOperatorTest, AnAgentThatFindsItRunningComparesTheFile) {
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  // As an earlier release leaves it: nothing is told of what was applied, and a member is out in the file.
  const std::string record = records_ + "/upstreams.state";
  std::string text = ReadFile(record).value();
  text.erase(text.find("applied "));
  ASSERT_TRUE(WriteFile(record, text).ok());
  operator_ = MakeOperator();
  EXPECT_FALSE(operator_->Facts(Context()).contains("stale"));
  const std::string file = folder_ + "/" + std::string(kUpstreamsFile);
  std::string upstreams = ReadFile(file).value();
  ASSERT_NE(AsEarlier(upstreams), upstreams);
  ASSERT_TRUE(WriteFile(file, AsEarlier(upstreams), {.mode = 0644}).ok());
  operator_ = MakeOperator();
  EXPECT_FALSE(operator_->Facts(Context()).contains("stale")) << "the same members, said as they were then";
  upstreams.replace(upstreams.find(";  # app-1"), 1, " down;");
  ASSERT_TRUE(WriteFile(file, upstreams, {.mode = 0644}).ok());
  operator_ = MakeOperator();
  EXPECT_EQ(operator_->Facts(Context()).at("stale"), "yes");
  EXPECT_EQ(Order("backends", {{"out", ""}}), "");
  EXPECT_EQ(operator_->Facts(Context()).at("reloads"), "1");
  EXPECT_FALSE(operator_->Facts(Context()).contains("stale"));
}

net::Task<void> Perform(Operator* nginx, Operator::Context context, std::string verb, std::string member,
                        int* left) {
  std::map<std::string, std::string> args{{"member", member}, {"out", member}, {"by", "run"}};
  const auto told = co_await nginx->Perform(context, verb, args);
  EXPECT_FALSE(told.ok());
  if (--*left == 0) context.loop->Stop();
}

TEST_F(NginxOperatorTest, TakesBackOnlyItsOwnWhereItFails) {
  operator_ = MakeOperatorFor(200ms);
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  ASSERT_EQ(kill(pid_, SIGSTOP), 0);
  int left = 2;
  net::Spawn(Perform(operator_.get(), Context(), "drain", "app-1", &left));
  net::Spawn(Perform(operator_.get(), Context(), "backends", "app-1", &left));
  loop_.Run();
  ASSERT_EQ(kill(pid_, SIGCONT), 0);
  EXPECT_EQ(operator_->Facts(Context()).at("run"), "");
  EXPECT_EQ(operator_->Facts(Context()).at("health"), "app-1");
  EXPECT_EQ(operator_->Facts(Context()).at("stale"), "yes");
}

TEST_F(NginxOperatorTest, WritesThroughNoLinkOfItsUsers) {
  Install(Plain());
  const std::string outside = records_ + "/outside";
  ASSERT_TRUE(MakeFolder(outside).ok());
  fs::rename(folder_ + "/conf", folder_ + "/moved");
  fs::create_directory_symlink(outside, folder_ + "/conf");
  const Status refused = loop_.RunTask(operator_->Prepare(Context()));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), "not-a-folder");
  EXPECT_TRUE(fs::is_empty(outside));
}

// Calls `act` as soon as there is a file at `path`.
net::Task<void> WhenThere(net::Loop* loop, std::string path, std::function<void()> act) {
  while (!fs::exists(path)) co_await loop->Sleep(2ms);
  act();
}

TEST_F(NginxOperatorTest, SignalsNobodyWhereNginxStopsBeforeItsReload) {
  static std::atomic<int> hang_ups = 0;
  const auto before = signal(SIGHUP, [](int) { ++hang_ups; });
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  // Its configuration is tested for as long as it takes to stop it and to look at it.
  const std::string tester = folder_ + "/slow-nginx";
  const std::string script =
      "#!/bin/sh\n: >testing\nwhile [ ! -e go ]; do sleep 0.01; done\nexec nginx \"$@\"\n";
  ASSERT_TRUE(WriteFile(tester, script, {.mode = 0755}).ok());
  const std::string program = std::exchange(instance_.argv.front(), tester);
  const std::function<void()> stop = [this] {
    StopNginx(SIGTERM);
    EXPECT_EQ(operator_->Facts(Context()).at("reloads"), "0");
    EXPECT_TRUE(WriteFile(folder_ + "/go", "").ok());
  };
  net::Spawn(WhenThere(&loop_, folder_ + "/testing", stop));
  int done = 2;
  net::Spawn(DrainBoth(operator_.get(), Context(), &done));
  loop_.Run();
  signal(SIGHUP, before);
  EXPECT_EQ(hang_ups, 0);
  EXPECT_EQ(operator_->Facts(Context()).at("out"), "app-2");
  EXPECT_EQ(operator_->Facts(Context()).at("reloads"), "0");
  // It starts from what was written.
  instance_.argv.front() = program;
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  EXPECT_EQ(WhoAnswers(), (std::set<std::string>{"app-1"}));
}

TEST_F(NginxOperatorTest, RefusesWhatNginxRefusesAndKeepsServing) {
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  const std::string good = ReadFile(folder_ + "/" + std::string(kUpstreamsFile)).value();
  Install(Settings(R"("raw": "no_such_directive on",)", R"({"path": "/", "to": "app"})"));
  const Status refused = loop_.RunTask(operator_->Reload(Context()));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), "nginx-config");
  EXPECT_THAT(refused.error().Text(), HasSubstr("no_such_directive"));
  EXPECT_EQ(ReadFile(folder_ + "/" + std::string(kUpstreamsFile)).value(), good);
  EXPECT_EQ(Fetch("/")->status, 200);
  const std::string told = Order("drain", {{"member", "app-1"}, {"by", "run"}});
  EXPECT_THAT(told, HasSubstr("nginx-config"));
  EXPECT_EQ(operator_->Facts(Context()).at("run"), "");
}

net::Task<void> AskAgainAndAgain(net::Loop* loop, net::Endpoint endpoint, std::string target, int* left) {
  const net::Request request{.target = target};
  while (*left > 0) (void)co_await net::Fetch(*loop, endpoint, request, 5s);
  loop->Stop();
}

net::Task<void> DrainWell(Operator* nginx, Operator::Context context, int* left) {
  const std::map<std::string, std::string> args{{"member", "app-1"}, {"by", "run"}};
  const std::string verb = "drain";
  const auto told = co_await nginx->Perform(context, verb, args);
  EXPECT_TRUE(told.ok()) << told.error().Text();
  --*left;
}

// nginx logs a path that it doesn't find as decoded: who asks for it writes lines of any form into its log.
TEST_F(NginxOperatorTest, NoVisitorSpeaksForNginx) {
  Install(Settings(
      "", R"({"path": "/", "static": {"files": {"index.html": "page"}}}, {"path": "/a/", "to": "app"})"));
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  const std::string word = fmt::format("[emerg]%20{}%23{}:%20no", pid_, pid_);
  const std::string target = "/" + word + "%0A2026/11/21%2014:00:00%20" + word + "%0A";
  ASSERT_EQ(Fetch(target)->status, 404);
  ASSERT_THAT(ReadFile(folder_ + "/logs/current.log").value(), HasSubstr("[emerg] "));
  int left = 1;
  net::Spawn(AskAgainAndAgain(&loop_, {.host = "127.0.0.1", .port = port_}, target, &left));
  net::Spawn(DrainWell(operator_.get(), Context(), &left));
  loop_.Run();
  EXPECT_EQ(operator_->Facts(Context()).at("run"), "app-1");
}

TEST_F(NginxOperatorTest, TakesUpANewPort) {
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  const int before = port_;
  port_ = FreePort();
  Install(Plain());
  const Status reloaded = loop_.RunTask(operator_->Reload(Context()));
  ASSERT_TRUE(reloaded.ok()) << reloaded.error().Text();
  EXPECT_EQ(Fetch("/")->status, 200);
  port_ = before;
  EXPECT_FALSE(Fetch("/").ok());
}

TEST_F(NginxOperatorTest, TellsWhoAProxySpeaksForAndWhichProxy) {
  const auto seen = [&](net::Headers headers) {
    auto answer = Fetch("/", std::move(headers));
    return answer.ok() ? answer->headers["seen-x-forwarded-for"] + " | " + answer->headers["seen-x-real-ip"]
                       : answer.error().Text();
  };
  Install(Settings(R"("real_ip": {"from": "127.0.0.0/8"},)", R"({"path": "/", "to": "app"})"));
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  EXPECT_EQ(seen({{"x-forwarded-for", "8.8.8.8"}}), "8.8.8.8, 127.0.0.1 | 8.8.8.8");
  EXPECT_EQ(seen({{"x-forwarded-for", "9.9.9.9, 8.8.8.8"}}), "9.9.9.9, 8.8.8.8, 127.0.0.1 | 8.8.8.8");
  EXPECT_EQ(seen({}), "127.0.0.1 | 127.0.0.1");

  // A proxy that names the client otherwise; one that isn't trusted; none at all.
  Install(Settings(R"("real_ip": {"from": "127.0.0.0/8", "header": "X-Real-IP"},)",
                   R"({"path": "/", "to": "app"})"));
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  EXPECT_EQ(seen({{"x-real-ip", "8.8.8.8"}}), "8.8.8.8, 127.0.0.1 | 8.8.8.8");
  Install(Settings(R"("real_ip": {"from": "10.0.0.0/8"},)", R"({"path": "/", "to": "app"})"));
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  EXPECT_EQ(seen({{"x-forwarded-for", "8.8.8.8"}}), "8.8.8.8, 127.0.0.1 | 127.0.0.1");
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  EXPECT_EQ(seen({{"x-forwarded-for", "8.8.8.8"}}), "8.8.8.8, 127.0.0.1 | 127.0.0.1");
}

TEST_F(NginxOperatorTest, EndsWhenAskedTo) {
  Install(Plain());
  ASSERT_TRUE(loop_.RunTask(operator_->Prepare(Context())).ok());
  StartNginx();
  kill(pid_, SIGQUIT);
  int status = 0;
  ASSERT_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = 0;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace muster::nginx
