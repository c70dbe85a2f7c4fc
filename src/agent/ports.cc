#include "agent/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>

#include "base/files.h"
#include "base/text.h"

namespace muster::agent {
namespace {

constexpr std::string_view kRehearsed = "4D7F";  // 127.77.*.* as /proc writes it, last octet first

constexpr std::string_view kMapped = "0000000000000000FFFF0000";  // ::ffff:, before an IPv4 address

struct Listener {
  std::string inode;
  std::string address;
};

using ByPort = std::multimap<int, Listener>;

// IPv4 and IPv6 sockets in this state, by port.
ByPort Sockets(const std::string& protocol, std::string_view wanted_state) {
  ByPort listeners;
  for (const char* version : {"", "6"}) {
    const auto text = ReadFile("/proc/self/net/" + protocol + version);
    if (!text.ok()) continue;
    std::istringstream lines(*text);
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      const size_t colon = local.find(':');
      if (state != wanted_state || colon == std::string::npos) continue;
      const int port = static_cast<int>(std::strtol(local.c_str() + colon + 1, nullptr, 16));
      listeners.emplace(port, Listener{.inode = inode, .address = local.substr(0, colon)});
    }
  }
  return listeners;
}

ByPort Listeners() { return Sockets("tcp", "0A"); }
// A socket that is connected to one peer is no service: those have the state 01.
ByPort UdpSockets() { return Sockets("udp", "07"); }

bool Collides(const Listener& listener, const std::string& address, bool any_address) {
  if (any_address) return !listener.address.ends_with(kRehearsed);
  if (listener.address.find_first_not_of('0') == std::string::npos) return true;  // on all addresses
  in_addr wanted{};
  if (::inet_pton(AF_INET, address.c_str(), &wanted) != 1) return listener.address.size() == 8;
  const std::string hex = fmt::format("{:08X}", wanted.s_addr);
  return listener.address == hex || listener.address == std::string(kMapped) + hex;
}

bool HasSocket(int pid, const std::string& inode) {
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code hidden;
  for (const auto& descriptor : fs::directory_iterator(fmt::format("/proc/{}/fd", pid), hidden)) {
    std::error_code gone;
    if (fs::read_symlink(descriptor.path(), gone).string() == wanted) return true;
  }
  return false;
}

int OwnerOf(const std::string& inode) {
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    const std::string name = process.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (const int pid = std::atoi(name.c_str()); HasSocket(pid, inode)) return pid;
  }
  return 0;
}

// Quick, where reading the kernel's table of sockets takes milliseconds for each thousand connections: an
// address that can be bound with SO_REUSEADDR has no listener. True also where that can't be told.
bool MayBeTaken(const std::string& address, int port) {
  sockaddr_in wanted{};
  wanted.sin_family = AF_INET;
  wanted.sin_port = htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &wanted.sin_addr) != 1) return true;
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!probe.valid() || ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return true;
  return ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&wanted), sizeof wanted) != 0;
}

std::string NameOf(int pid) {
  const auto command = ReadFile(fmt::format("/proc/{}/comm", pid));
  return pid != 0 && command.ok() ? std::string(Trim(*command)) : "";
}

struct Known {
  std::string cluster, instance;
};

// Which instance a process is that works below its folder, HOME/hosts/CLUSTER/HOST/instances/INSTANCE.
std::optional<Known> InstanceOf(int pid) {
  std::error_code hidden;
  const std::string folder = fs::read_symlink(fmt::format("/proc/{}/cwd", pid), hidden).string();
  const std::vector<std::string> parts = Split(folder, '/');
  for (size_t i = 3; i + 1 < parts.size(); ++i) {
    if (parts[i] == "instances" && parts[i - 3] == "hosts")
      return Known{.cluster = parts[i - 2], .instance = parts[i + 1]};
  }
  return std::nullopt;
}

bool AnyMayBeTaken(const Instance& instance) {
  for (const auto& [name, range] : instance.ports) {
    for (int port = range.first; !range.udp && port < range.first + range.count; ++port) {
      if (MayBeTaken(instance.address, port)) return true;
    }
  }
  return false;
}

enum class Whose { kNobodys, kOwn, kUnseen };  // kUnseen: or of who only passes connections on

// Who has the socket that gets what is sent to this port; an error where that is a stranger.
Result<Whose> WhoHas(const ByPort& sockets, const Instance& instance, int port, const std::vector<int>& own) {
  constexpr std::string_view kPassOn[] = {"docker-proxy", "rootlessport", "slirp4netns", "pasta",
                                          "pasta.avx2"};
  std::vector<std::string> here, everywhere;
  const auto [begin, end] = sockets.equal_range(port);
  for (auto found = begin; found != end; ++found) {
    const Listener& listener = found->second;
    if (!Collides(listener, instance.address, false)) continue;
    const bool on_all = listener.address.find_first_not_of('0') == std::string::npos;
    (on_all ? everywhere : here).push_back(listener.inode);
  }
  // Who listens on the address itself is given the connections to it.
  const std::vector<std::string>& inodes = here.empty() ? everywhere : here;
  for (const std::string& inode : inodes) {
    for (const int pid : own) {
      if (HasSocket(pid, inode)) return Whose::kOwn;
    }
  }
  for (const std::string& inode : inodes) {
    const int pid = OwnerOf(inode);
    if (pid == 0) continue;
    const std::string name = NameOf(pid);
    if (std::find(std::begin(kPassOn), std::end(kPassOn), name) == std::end(kPassOn))
      return PortTaken(instance, port, pid);
  }
  return inodes.empty() ? Whose::kNobodys : Whose::kUnseen;
}

}  // namespace

Error PortTaken(const Instance& instance, int port, int pid) {
  std::string who = pid == 0 ? "another process" : fmt::format("pid {}", pid);
  if (const std::string name = NameOf(pid); !name.empty()) who += fmt::format(" ({})", name);
  const auto known = pid == 0 ? std::nullopt : InstanceOf(pid);
  if (known) who = fmt::format("{} of the cluster {}, {}", known->instance, known->cluster, who);
  Error taken = Error::Conflict("port-taken", "port {} of {} on {} is taken by {}", port, instance.name,
                                instance.address, who);
  if (!known) return std::move(taken).Hint("stop that process, or give {} another port", instance.service);
  return std::move(taken).Hint("give {} another port: muster keeps {} running, muster ps -c {} shows it",
                               instance.service, known->instance, known->cluster);
}

Status CheckPortsFree(const Instance& instance, const std::vector<int>& own, bool any_address) {
  if (!any_address && !AnyMayBeTaken(instance)) return Done();
  const auto listeners = Listeners();
  for (const auto& [name, range] : instance.ports) {
    if (range.udp) continue;
    for (int port = range.first; port < range.first + range.count; ++port) {
      const auto [begin, end] = listeners.equal_range(port);
      for (auto found = begin; found != end; ++found) {
        if (!Collides(found->second, instance.address, any_address)) continue;
        const int pid = OwnerOf(found->second.inode);
        if (std::find(own.begin(), own.end(), pid) != own.end() && pid != 0) continue;
        return PortTaken(instance, port, pid);
      }
    }
  }
  return Done();
}

Status CheckListener(const Instance& instance, int port, const std::vector<int>& own) {
  const auto whose = WhoHas(Listeners(), instance, port, own);
  return whose.ok() ? Done() : Status(whose.error());
}

Status CheckListeners(const Instance& instance, const std::vector<int>& own) {
  const ByPort listeners = Listeners();
  for (const auto& [name, range] : instance.ports) {
    for (int port = range.first; !range.udp && port < range.first + range.count; ++port) {
      if (const auto whose = WhoHas(listeners, instance, port, own); !whose.ok()) return whose.error();
    }
  }
  return Done();
}

Result<int> ListenerOf(const Instance& instance, int port) {
  if (!MayBeTaken(instance.address, port)) return 0;
  const auto listeners = Listeners();
  const auto [begin, end] = listeners.equal_range(port);
  for (auto found = begin; found != end; ++found) {
    if (!Collides(found->second, instance.address, false)) continue;
    const int pid = OwnerOf(found->second.inode);
    return pid == 0 ? Result<int>(PortTaken(instance, port, 0)) : Result<int>(pid);
  }
  return 0;
}

Status CheckUdpOpen(const Instance& instance, int port, const std::vector<int>& own) {
  MUSTER_TRY(const Whose whose, WhoHas(UdpSockets(), instance, port, own));
  if (whose != Whose::kNobodys) return Done();
  return Error::Unavailable("port-closed", "nothing has the UDP port {} of {} open on {}", port,
                            instance.name, instance.address);
}

}  // namespace muster::agent
