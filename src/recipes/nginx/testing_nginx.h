// A real nginx in front of real servers, for tests of what is done to one.
#pragma once

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

using ::testing::HasSubstr;
using ::testing::IsEmpty;

inline int FreePort() {
  const Fd fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t length = sizeof address;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

inline net::Task<void> Answer(net::Exchange& exchange, std::string name) {
  net::Response response;
  response.headers["content-type"] = "text/plain";
  response.headers["x-instance"] = name;
  for (const char* seen : {"x-forwarded-for", "x-real-ip"}) {
    const auto found = exchange.request().headers.find(seen);
    if (found != exchange.request().headers.end())
      response.headers[std::string("seen-") + seen] = found->second;
  }
  // "/answers/404" answers that.
  const std::string& target = exchange.request().target;
  if (target.starts_with("/answers/")) response.status = std::atoi(target.c_str() + 9);
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

  // What the cluster file promises; what stands in its folder stays.
  void Promise(const std::string& settings) {
    Cluster cluster = MakeCluster(settings);
    cluster.hosts = {{"h1", "127.0.0.1", {}}};
    cluster.files["page"] = {.sha256 = "x", .text = "<p>hello</p>\n"};
    cluster.files["script"] = {.sha256 = "y", .text = "alert('" + std::string(2000, 'x') + "');\n"};
    instance_ = LayOutEdge(cluster, placement_);
  }

  // Writes the files as an agent would.
  void Install(const std::string& settings) {
    Promise(settings);
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

}  // namespace muster::nginx
