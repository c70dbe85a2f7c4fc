#include "recipes/redis_cluster/adopt_read.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "net/addresses.h"
#include "net/resp_client.h"
#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/adopt.h"

namespace muster::redis_cluster {
namespace {

constexpr Duration kConnectWithin = 5s;
constexpr Duration kAnswerWithin = 10s;

using Client = std::unique_ptr<net::RespClient>;
using net::resp::Value;

std::string UserName(uid_t uid) {
  const passwd* entry = getpwuid(uid);
  return entry ? entry->pw_name : std::to_string(uid);
}

// The unit that systemd may start a process of again; sessions and what is in them are none.
std::string UnitOf(int pid) {
  const auto text = ReadFile(fmt::format("/proc/{}/cgroup", pid));
  if (!text.ok()) return "";
  for (const std::string& line : Split(*text, '\n')) {
    if (line.find(":name=systemd:") == std::string::npos && !line.starts_with("0::")) continue;
    const std::string unit = line.substr(line.rfind('/') + 1);
    if (unit.ends_with(".service")) return unit;
  }
  return "";
}

bool SameFolder(const std::string& one, const std::string& other) {
  struct stat first {
  }, second{};
  return ::stat(one.c_str(), &first) == 0 && ::stat(other.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

void LookAtProcess(FoundMember& member) {
  member.here = net::IsLocalAddress(member.address);
  if (!member.here) return;
  const int pid = static_cast<int>(member.info.pid);
  const std::string proc = fmt::format("/proc/{}", pid);
  struct stat status {};
  if (::stat(proc.c_str(), &status) != 0) return;
  member.user = UserName(status.st_uid);
  member.root = status.st_uid == 0;
  member.controllable = ::geteuid() == 0 || ::geteuid() == status.st_uid;
  // Who may not look at another's process is told whose it is.
  member.seen = !member.controllable || SameFolder(proc + "/cwd", member.settings["dir"]);
  member.unit = UnitOf(pid);
  const auto text = ReadFile(member.info.config_file);
  if (member.info.config_file.empty() || !text.ok()) return;
  if (auto lines = redis::ReadConf(*text); lines.ok()) member.config = std::move(*lines);
}

// "" where it is what PATH has, or where nobody can tell.
std::string ProgramOf(const FoundMember& member) {
  const std::string& program = member.executable;
  std::error_code gone;
  if (!member.seen || !program.starts_with('/') || !fs::is_regular_file(program, gone)) return "";
  const fs::path usual = fs::canonical(FindProgram("redis-server"), gone);
  return !gone && usual == fs::canonical(program, gone) ? "" : program;
}

void TakeModules(const Value& answer, FoundMember& member) {
  for (const Value& module : answer.items) {
    std::string path, arguments;
    for (size_t i = 0; i + 1 < module.items.size(); i += 2) {
      if (module.items[i].text == "path") path = module.items[i + 1].text;
      if (module.items[i].text != "args") continue;
      for (const Value& argument : module.items[i + 1].items) arguments += " " + argument.text;
    }
    if (!path.empty()) member.modules.push_back(path + arguments);
  }
}

net::Task<Result<FoundMember>> Ask(net::Loop& loop, std::string address, int port, std::string password) {
  net::RespOptions options;
  options.password = std::move(password);
  MUSTER_CO_TRY(const Client client,
                co_await net::RespClient::Connect(loop, address, port, options, kConnectWithin));
  std::vector<net::resp::Command> questions = {
      {"INFO"}, {"CLUSTER", "NODES"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"MODULE", "LIST"}};
  MUSTER_CO_TRY(const std::vector<Value> answers,
                co_await client->Pipeline(std::move(questions), kAnswerWithin));
  const char* asked[] = {"INFO", "CLUSTER NODES", "CONFIG GET"};
  if (answers[0].is_error()) co_return net::resp::RefusedError(answers[0], asked[0]);
  FoundMember member;
  member.address = address;
  member.port = port;
  MUSTER_CO_TRY(member.info, redis::ParseInfo(answers[0].text));
  const redis::InfoFields fields = redis::ParseInfoFields(answers[0].text);
  if (const auto found = fields.find("executable"); found != fields.end()) member.executable = found->second;
  if (member.info.mode != "cluster") {
    co_return Error::Invalid("not-a-cluster", "the redis at {}:{} is no member of a Redis Cluster ({})",
                             address, port, member.info.mode)
        .Hint("name one that was started with cluster-enabled yes");
  }
  for (size_t i = 1; i < 3; ++i) {
    if (answers[i].is_error()) co_return net::resp::RefusedError(answers[i], asked[i]);
  }
  MUSTER_CO_TRY(member.view, redis::ParseClusterNodes(answers[1].text));
  const auto settings = answers[2].AsPairs();
  if (!settings) {
    co_return Error::Unavailable("bad-answer", "{}:{} tells no settings that can be read", address, port);
  }
  for (const auto& [name, value] : *settings) member.settings[redis::CurrentName(name)] = value;
  if (const auto users = answers[3].AsTexts()) member.users = *users;
  TakeModules(answers[4], member);
  LookAtProcess(member);
  co_return member;
}

}  // namespace

net::Task<Result<Adoption>> AdoptCluster(net::Loop& loop, AdoptRequest request) {
  MUSTER_CO_TRY(FoundMember first, co_await Ask(loop, request.host, request.port, request.password));
  FoundCluster found;
  found.as_root = ::geteuid() == 0;
  for (const redis::ClusterNode& node : first.view.nodes) {
    // Such a one has no name that anybody else knows.
    if (node.handshake || node.no_address) continue;
    const std::string address = node.address.empty() ? request.host : node.address;
    auto member = co_await Ask(loop, address, node.port, request.password);
    if (!member.ok()) {
      const std::string& code = member.error().code();
      if (code != "redis-unreachable" && code != "redis-timeout" && code != "redis-closed")
        co_return member.error();
      co_return Error::Unavailable("member-unreachable", "{}:{}, a member, can't be asked: {}", address,
                                   node.port, member.error().message())
          .Hint("start it, or have all others forget it: redis-cli CLUSTER FORGET {}", node.id);
    }
    found.members.push_back(std::move(*member));
  }
  for (const FoundMember& member : found.members) {
    if (found.program.empty()) found.program = ProgramOf(member);
  }
  co_return AdoptionOf(std::move(found), request);
}

}  // namespace muster::redis_cluster
