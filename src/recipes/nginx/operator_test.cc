// A real nginx in front of real servers: prepared, reloaded, drained, verified.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>

#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "net/http.h"
#include "recipes/nginx/config.h"
#include "recipes/nginx/testing.h"

namespace muster::nginx {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

int FreePort() {
  const Fd fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t length = sizeof address;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

net::Task<void> Answer(net::Exchange& exchange, std::string name) {
  net::Response response;
  response.headers["content-type"] = "text/plain";
  response.headers["x-instance"] = name;
  for (const char* seen : {"x-forwarded-for", "x-real-ip"}) {
    const auto found = exchange.request().headers.find(seen);
    if (found != exchange.request().headers.end())
      response.headers[std::string("seen-") + seen] = found->second;
  }
  response.body = name + " got " + exchange.request().target + "\n" + std::string(4000, 'x');
  (void)co_await exchange.Send(response);
}

// Two apps and an nginx in a folder of its own, run by a user without rights where the test is root.
class NginxOperatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (FindProgram("nginx").empty()) GTEST_SKIP() << "nginx is not installed";
    char made[] = "/tmp/muster-nginx-XXXXXX";
    folder_ = mkdtemp(made);
    char beside[] = "/tmp/muster-nginx-XXXXXX";
    records_ = mkdtemp(beside);
    uid_ = geteuid() == 0 ? 65534 : geteuid();
    gid_ = geteuid() == 0 ? 65534 : getegid();
    for (const int n : {1, 2}) {
      const std::string name = "app-" + std::to_string(n);
      const net::Endpoint endpoint{.host = "127.0.0.1"};
      auto server = net::HttpServer::Listen(
          loop_, endpoint, [name](net::Exchange& exchange) { return Answer(exchange, name); });
      ASSERT_TRUE(server.ok()) << server.error().Text();
      Place place{.service = "app", .host = "h1", .ordinal = n};
      place.ports["http"] = {.first = (*server)->port()};
      placement_[name] = place;
      servers_.push_back(std::move(server).value());
    }
    port_ = FreePort();
  }

  void TearDown() override {
    StopNginx(SIGKILL);
    if (!folder_.empty()) (void)RemoveTree(folder_);
    if (!records_.empty()) (void)RemoveTree(records_);
  }

  // Writes the files as an agent would.
  void Install(const std::string& settings) {
    Cluster cluster = MakeCluster(settings);
    cluster.hosts = {{"h1", "127.0.0.1", {}}};
    cluster.files["page"] = {.sha256 = "x", .text = "<p>hello</p>\n"};
    instance_ = LayOutEdge(cluster, placement_);
    for (const InstanceFile& file : instance_.files) {
      std::string content = file.content;
      for (size_t at; (at = content.find("{folder}")) != std::string::npos;) content.replace(at, 8, folder_);
      const fs::path path = fs::path(folder_) / file.path;
      ASSERT_TRUE(MakeFolder(path.parent_path()).ok());
      ASSERT_TRUE(WriteFile(path, content, {.mode = 0644}).ok());
    }
    ASSERT_TRUE(MakeFolder(folder_ + "/logs").ok());
    if (geteuid() == 0) {
      ASSERT_TRUE(RunCommand({.argv = {"chown", "-R", std::to_string(uid_), folder_}}, 5s).ok());
    }
  }

  void StartNginx() {
    std::vector<std::string> argv = {"nginx", "-p",    folder_, "-c", folder_ + "/conf/nginx.conf",
                                     "-e",    "stderr"};
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      setpgid(0, 0);
      const int log = open((folder_ + "/logs/current.log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0666);
      dup2(log, 1);
      dup2(log, 2);
      if (geteuid() == 0 && (setgid(gid_) != 0 || setuid(uid_) != 0)) _exit(1);
      execl(FindProgram("nginx").c_str(), "nginx", "-p", folder_.c_str(), "-c",
            (folder_ + "/conf/nginx.conf").c_str(), "-e", "stderr", nullptr);
      _exit(127);
    }
    const Time end = Now() + 10s;
    while (!Fetch(std::string(kHealthPath)).ok()) {
      ASSERT_LT(Now(), end) << ReadFile(folder_ + "/logs/current.log").value();
    }
  }

  void StopNginx(int signal_number) {
    if (pid_ <= 0) return;
    kill(pid_, signal_number);
    waitpid(pid_, nullptr, 0);
    // Workers outlive a master that is killed. They are in its group, and nobody adds to it any more.
    (void)kill(-pid_, SIGKILL);
    pid_ = 0;
  }

  Operator::Context Context() {
    return {.loop = &loop_,
            .instance = &instance_,
            .folder = folder_,
            .records = records_,
            .pid = pid_,
            .uid = uid_,
            .gid = gid_};
  }

  std::string Order(const std::string& verb, std::map<std::string, std::string> args) {
    auto told = loop_.RunTask(operator_->Perform(Context(), verb, std::move(args)));
    return told.ok() ? told->at("out") : told.error().Text();
  }

  Result<net::Response> Fetch(std::string target, net::Headers headers = {}) {
    const net::Endpoint endpoint{.host = "127.0.0.1", .port = port_};
    return loop_.RunTask(net::Fetch(loop_, endpoint, {.target = target, .headers = std::move(headers)}, 5s));
  }

  std::set<std::string> WhoAnswers(int requests = 8) {
    std::set<std::string> who;
    for (int i = 0; i < requests; ++i) {
      auto answer = Fetch("/");

      who.insert(answer.ok() ? answer->headers["x-instance"] : answer.error().Text());
    }
    return who;
  }

  std::string Settings(const std::string& more, const std::string& routes) {
    return R"({"listen": )" + std::to_string(port_) + R"(, "workers": 2, )" + more + R"( "routes": [)" +
           routes + "]}";
  }
  std::string Plain() { return Settings("", R"({"path": "/", "to": "app"})"); }

  net::Loop loop_;
  std::string folder_, records_;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  pid_t pid_ = 0;
  int port_ = 0;
  std::vector<std::unique_ptr<net::HttpServer>> servers_;
  Placement placement_;
  Instance instance_;
  std::unique_ptr<Operator> operator_ = MakeOperator();
};

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

TEST_F(NginxOperatorTest, VerifiesEachRoute) {
  const std::string routes = R"(
      {"path": "/", "to": "app", "body_limit": "8k"},
      {"path": "/api/", "to": "app", "strip": true, "try": "/api/x/y"},
      {"path": "/sticky/", "to": "app", "balance": "ip_hash"},
      {"path": "/one/", "to": "app-2", "strip": "/one"},
      {"path": "/no/", "status": 404}, {"path": "/deny/", "deny": true},
      {"path": "/old", "redirect": {"to": "/new$is_args$args", "status": 301}},
      {"path": "/ui/", "static": {"files": {"index.html": "page"}, "fallback": "index.html"}})";
  Install(Settings(R"("gzip": true, "real_ip": {"from": "127.0.0.0/8"},)", routes));
  const Status prepared = loop_.RunTask(operator_->Prepare(Context()));
  ASSERT_TRUE(prepared.ok()) << prepared.error().Text();
  StartNginx();
  EXPECT_EQ(Fetch("/ui/some/page")->body, "<p>hello</p>\n");
  EXPECT_EQ(Fetch("/")->headers.count("x-muster-upstream"), 0u);
  const std::vector<Check> checks = loop_.RunTask(operator_->Verify(Context(), {}));
  std::string told;
  std::vector<std::string> failed;
  for (const Check& check : checks) {
    told += check.name + "\n";
    if (!check.passed) failed.push_back(check.name + ": " + Join(check.evidence, " | "));
  }
  EXPECT_THAT(failed, IsEmpty());
  for (const char* name :
       {"/ reaches app", "/ spreads 8 requests over 2", "/ refuses a body over 8k", "/api/ arrives as /x/y",
        "/sticky/ sends one client to one", "/sticky/ spreads 16 clients", "/one/ arrives as /",
        "/no/ answers 404", "/deny/ answers 403", "/old redirects to", "/ui/ serves its files",
        "/ is compressed"}) {
    EXPECT_THAT(told, HasSubstr(name));
  }

  // What isn't as it should be is found: here nobody listens where the apps should.
  for (auto& [name, place] : placement_) place.ports["http"].first = FreePort();
  Install(
      Settings("", R"({"path": "/", "to": "app"}, {"path": "/sticky/", "to": "app", "balance": "ip_hash"})"));
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  size_t bad = 0;
  for (const Check& check : loop_.RunTask(operator_->Verify(Context(), {}))) bad += check.passed ? 0 : 1;
  EXPECT_GE(bad, 2u);
}

TEST_F(NginxOperatorTest, VerifiesWhoIsLetIn) {
  const std::string routes = R"(
      {"path": "/", "to": "app"},
      {"path": "/far/", "to": "app", "allow_from": "203.0.113.0/24"},
      {"path": "/far-files/", "static": {"files": {"index.html": "page"}}, "allow_from": "203.0.113.0/24"},
      {"path": "/near/", "to": "app", "allow_from": ["203.0.113.0/24", "127.0.0.9"]},
      {"path": "/near-files/", "static": {"files": {"index.html": "page"}}, "allow_from": "127.0.0.0/8"})";
  Install(Settings("", routes));
  const Status prepared = loop_.RunTask(operator_->Prepare(Context()));
  ASSERT_TRUE(prepared.ok()) << prepared.error().Text();
  StartNginx();
  const auto verified = [&] {
    std::map<std::string, bool> passed;
    for (const Check& check : loop_.RunTask(operator_->Verify(Context(), {})))
      passed[check.name] = check.passed;
    return passed;
  };
  const std::map<std::string, bool> passed = verified();
  const auto of = [&](const char* route) {
    std::string told;
    for (const auto& [name, good] : passed) {
      if (name.starts_with(std::string("edge-1: ") + route + " "))
        told += (good ? "+" : "-") + name.substr(8) + "\n";
    }
    return told;
  };
  EXPECT_EQ(of("/far/"), "+/far/ refuses this host, as `allow_from` says\n");
  EXPECT_EQ(of("/far-files/"), "+/far-files/ refuses this host, as `allow_from` says\n");
  EXPECT_THAT(of("/near/"), HasSubstr("+/near/ reaches app\n"));
  EXPECT_THAT(of("/near/"), HasSubstr("+/near/ refuses 127.0.0.1, as `allow_from` says\n"));
  EXPECT_THAT(of("/near/"), HasSubstr("+/near/ spreads 8 requests over 2 instances\n"));
  EXPECT_THAT(of("/near-files/"), HasSubstr("+/near-files/ serves its files\n"));

  // A file that nginx may not read is no rule at work.
  ASSERT_EQ(chmod((folder_ + "/www/1-5/index.html").c_str(), 0), 0);
  const std::map<std::string, bool> unread = verified();
  EXPECT_FALSE(unread.at("edge-1: /near-files/ serves its files"));
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
