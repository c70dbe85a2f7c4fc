// Real redis-servers in a folder of their own, for tests of what is said to one. Nothing of them remains.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/subprocess.h"
#include "net/resp_client.h"
#include "recipes/redis/conf.h"

namespace muster::redis {

inline bool PortIsFree(int port) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

// A port whose bus port, 10000 above, is free as well. Both lie below those that the kernel gives to
// connections, so that nobody takes one by chance in between.
inline int FreeRedisPort() {
  static std::mt19937 random{std::random_device{}()};
  std::uniform_int_distribution<int> ports(12000, 21999);
  while (true) {
    const int port = ports(random);
    if (PortIsFree(port) && PortIsFree(port + 10000)) return port;
  }
}

// One server. Killed, if need be, and its folder removed when this goes.
class RedisServer {
 public:
  explicit RedisServer(ConfSettings settings) : settings_(std::move(settings)) {
    char made[] = "/tmp/muster-redis-XXXXXX";
    folder_ = mkdtemp(made);
    port_ = FreeRedisPort();
  }
  ~RedisServer() {
    Signal(SIGKILL);
    Reap();
    (void)RemoveTree(folder_);
  }
  RedisServer(const RedisServer&) = delete;

  const std::string& folder() const { return folder_; }
  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string log() const { return ReadFile(folder_ + "/log").ok() ? *ReadFile(folder_ + "/log") : ""; }
  // For its next start.
  void Set(const std::string& name, const std::string& value) { settings_[name] = {value}; }
  void ChoosePort() { port_ = FreeRedisPort(); }

  // Starts it (again); what it has in its folder stays.
  void Start() {
    ConfSettings settings = {{"port", {std::to_string(port_)}},
                             {"bind", {"127.0.0.1"}},
                             {"dir", {folder_}},
                             {"save", {""}},
                             {"repl-diskless-sync-delay", {"0"}}};
    for (const auto& [name, values] : settings_) settings[name] = values;
    const std::string conf = folder_ + "/redis.conf";
    ASSERT_TRUE(WriteFile(conf, RenderConf(DirectivesOf(settings)), {.mode = 0600}).ok());
    const std::string program = FindProgram("redis-server"), log_path = folder_ + "/log";
    const pid_t parent = getpid();
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // also where a test dies
      if (getppid() != parent) _exit(1);
      const int log = open(log_path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
      dup2(log, 1);
      dup2(log, 2);
      execl(program.c_str(), "redis-server", conf.c_str(), nullptr);
      _exit(127);
    }
  }

  void Signal(int signal_number) const {
    if (pid_ > 0) kill(pid_, signal_number);
  }
  // Waits for its end.
  void Reap() {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  bool HasEnded() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
    return pid_ <= 0;
  }

 private:
  ConfSettings settings_;
  std::string folder_;
  int port_ = 0;
  pid_t pid_ = 0;
};

class RedisTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (FindProgram("redis-server").empty()) GTEST_SKIP() << "redis-server is not installed";
  }
  void TearDown() override { servers_.clear(); }

  // One that answers. `settings` beside those that it needs.
  RedisServer& StartRedis(const ConfSettings& settings = {}) {
    servers_.push_back(std::make_unique<RedisServer>(settings));
    RedisServer& server = *servers_.back();
    server.Start();
    const Time end = Now() + 20s;
    while (!Answers(server)) {
      // Somebody was faster to take the port.
      if (server.HasEnded() && server.log().find("in use") != std::string::npos) {
        server.ChoosePort();
        server.Start();
      }
      if (server.HasEnded() || Now() > end) {
        ADD_FAILURE() << "redis-server doesn't start: " << server.log();
        break;
      }
    }
    return server;
  }

  Result<std::unique_ptr<net::RespClient>> Connect(const RedisServer& server, std::string password = "") {
    net::RespOptions options{.password = std::move(password)};
    return loop_.RunTask(net::RespClient::Connect(loop_, "127.0.0.1", server.port(), options, 5s));
  }

  // The answer to one command over a connection of its own; an error of the connection reads as one of Redis.
  net::resp::Value Call(const RedisServer& server, net::resp::Command command,
                        const std::string& password = "") {
    auto client = Connect(server, password);
    const auto failed = [](const Error& error) {
      return net::resp::Value{.type = net::resp::Type::kError, .text = error.Text()};
    };
    if (!client.ok()) return failed(client.error());
    auto answer = loop_.RunTask((*client)->Command(std::move(command), 10s));
    return answer.ok() ? *answer : failed(answer.error());
  }

  // Polls until `holds`, for at most `most`.
  template <class Condition>
  bool Eventually(Condition holds, Duration most = 20s) {
    for (const Time end = Now() + most; Now() < end;) {
      if (holds()) return true;
      loop_.RunTask(Pause());
    }
    return holds();
  }

  net::Loop loop_;
  std::vector<std::unique_ptr<RedisServer>> servers_;

 private:
  net::Task<bool> Pause() {
    co_await loop_.Sleep(2ms);
    co_return true;
  }
  bool Answers(const RedisServer& server) {
    const net::resp::Value answer = Call(server, {"PING"});
    if (answer.text == "PONG" || answer.error_code() == "NOAUTH") return true;
    loop_.RunTask(Pause());
    return false;
  }
};

}  // namespace muster::redis
