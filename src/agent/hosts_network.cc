#include "agent/hosts_network.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/magic.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"

namespace muster::agent {
namespace {

constexpr const char* kLockPath = "/run/muster-network.lock";
constexpr Duration kIpTimeout = 10s;

std::string BridgeName(int block) { return fmt::format("muster-{}", block); }
std::string BridgeAddress(int block) { return fmt::format("127.77.{}.254", block); }
std::string NamespacePath(const std::string& name) { return "/run/netns/" + name; }

bool LinkExists(const std::string& name) { return if_nametoindex(name.c_str()) != 0; }

// `ip netns add` first makes the file and then mounts the namespace on it: killed in between, only the file
// is there.
bool NamespaceStands(const std::string& name) {
  struct statfs file {};
  return statfs(NamespacePath(name).c_str(), &file) == 0 && file.f_type == NSFS_MAGIC;
}

Status WriteSetting(const std::string& path, std::string_view value) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return Error::Os("write " + path, errno);
  }
  return Done();
}

// Addresses of 127/8 are thrown away on anything but lo unless this is set.
Status RouteLoopbackAddresses(const std::string& link) {
  return WriteSetting("/proc/sys/net/ipv4/conf/" + link + "/route_localnet", "1");
}

Status Ip(const std::vector<std::string>& commands, bool go_on = false) {
  if (commands.empty()) return Done();
  Exec exec{.argv = {"ip", "-batch", "-"}, .input = Join(commands, "\n") + "\n"};
  if (go_on) exec.argv.insert(exec.argv.begin() + 1, "-force");
  MUSTER_TRY(const Output output, RunCommand(exec, kIpTimeout));
  if (output.status == 0 || go_on) return Done();
  return Error::Internal("host-network-failed",
                         "the network of a rehearsed host can't be made: ip ended with {}", output.status)
      .Hint("MUSTER_REHEARSAL_NETWORK=loopback does without network namespaces")
      .Evidence(LastLines(output.err, 5));
}

// Does the work in a thread of its own, so that a network namespace it enters is left with it.
Status Apart(const std::function<Status()>& work) {
  Status status = Done();
  std::thread([&] { status = work(); }).join();
  return status;
}

Status Enter(const std::string& name) {
  const Fd fd(open(NamespacePath(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || !NamespaceStands(name)) {
    return Error::NotFound("host-network-missing", "the network namespace {} doesn't exist", name)
        .Hint("it is made by `muster up FILE --rehearse`");
  }
  if (setns(fd.get(), CLONE_NEWNET) != 0) return Error::Os("enter the network namespace " + name, errno);
  return Done();
}

// One at a time on this machine. The file is removed by whoever removes the last host, hence the second look.
class NetworkLock {
 public:
  static Result<NetworkLock> Take() {
    while (true) {
      Fd fd(open(kLockPath, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (!fd.valid()) return Error::Os(kLockPath, errno);
      int locked;
      do {
        locked = flock(fd.get(), LOCK_EX);
      } while (locked != 0 && errno == EINTR);
      if (locked != 0) return Error::Os(kLockPath, errno);
      struct stat held {
      }, named{};
      const bool same =
          fstat(fd.get(), &held) == 0 && stat(kLockPath, &named) == 0 && held.st_ino == named.st_ino;
      if (same) return NetworkLock(std::move(fd));
    }
  }
  void Remove() { unlink(kLockPath); }

 private:
  explicit NetworkLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

bool AnyLinkStartsWith(const std::string& prefix) {
  struct if_nameindex* const links = if_nameindex();
  bool found = false;
  for (struct if_nameindex* link = links; link && link->if_index != 0; ++link) {
    found = found || std::string_view(link->if_name).starts_with(prefix);
  }
  if (links) if_freenameindex(links);
  return found;
}

// Where iptables also sees what crosses a bridge, a firewall that forwards nothing (dockerd sets one) would
// cut the hosts off from each other. Says what to run to let them through, or to take that back.
std::vector<std::string> ForwardRule(const std::string& verb, const std::string& bridge) {
  return {"iptables", "-w", verb, "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"};
}
bool FirewallSeesBridges() {
  const Result<std::string> setting = ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables", 64);
  return setting.ok() && Trim(*setting) == "1" && !FindProgram("iptables").empty();
}
std::string ForwardRules() {
  const Exec list{.argv = {"iptables", "-w", "-S", "FORWARD"}};
  const Result<Output> output = RunCommand(list, kIpTimeout);
  return output.ok() ? std::string(Trim(output->out)) : "";
}
Status OpenFirewall(const std::string& bridge) {
  if (!FirewallSeesBridges()) return Done();
  const std::string rules = ForwardRules();
  if (rules.empty() || rules == "-P FORWARD ACCEPT" ||
      rules.find("-i " + bridge + " -o") != std::string::npos) {
    return Done();
  }
  const Exec insert{.argv = ForwardRule("-I", bridge)};
  MUSTER_TRY(const Output output, RunCommand(insert, kIpTimeout));
  if (output.status == 0) return Done();
  return Error::Internal("host-network-failed", "the firewall doesn't take a rule for {}", bridge)
      .Evidence(LastLines(output.err, 5));
}
void CloseFirewall(const std::string& bridge) {
  if (!FirewallSeesBridges() || ForwardRules().find("-i " + bridge + " -o") == std::string::npos) return;
  const Exec remove{.argv = ForwardRule("-D", bridge)};
  const Result<Output> ignored = RunCommand(remove, kIpTimeout);
}

Status CheckNumbers(int block, int host_number) {
  if (block >= 1 && block <= 255 && host_number >= 1 && host_number <= 253) return Done();
  return Error::Invalid("host-number", "127.77.{}.{} can't be the address of a rehearsed host", block,
                        host_number)
      .Hint("a rehearsal has at most 253 hosts");
}

// Inside: lo without the rest of 127/8, and the host's own address. All of it can be done again.
Status FurnishHost(int block, int host_number) {
  MUSTER_DO(Enter(HostNamespace(block, host_number)));
  MUSTER_DO(RouteLoopbackAddresses("eth0"));
  // Given an address before it is up, lo doesn't take 127.0.0.1/8 by itself. 127.0.0.0/16 stays local, since
  // Debian's /etc/hosts has the machine's name at 127.0.1.1.
  const std::vector<std::string> commands = {
      "addr replace 127.0.0.1/32 dev lo",
      "link set lo up",
      "route replace local 127.0.0.0/16 dev lo table local src 127.0.0.1",
      fmt::format("addr replace {}/24 dev eth0", HostAddress(block, host_number)),
      "link set eth0 up",
  };
  return Ip(commands);
}

Status Build(int block, int host_number) {
  const std::string bridge = BridgeName(block), name = HostNamespace(block, host_number);
  if (!LinkExists(bridge)) {
    // An address of its own, as a bridge else takes the lowest of its ports and changes it with each new
    // host.
    MUSTER_DO(Ip({fmt::format("link add {} address 02:6d:75:73:00:{:02x} type bridge", bridge, block)}));
  }
  MUSTER_DO(RouteLoopbackAddresses(bridge));
  std::vector<std::string> commands = {
      fmt::format("addr replace {}/24 dev {}", BridgeAddress(block), bridge),
      fmt::format("link set {} up", bridge),
      // Stronger than lo's own 127.0.0.0/8, which stands in the same table.
      fmt::format("route replace unicast 127.77.{}.0/24 dev {} table local scope link src {}", block, bridge,
                  BridgeAddress(block)),
  };
  if (!NamespaceStands(name)) {
    unlink(NamespacePath(name).c_str());
    if (LinkExists(name)) commands.push_back("link del " + name);
    commands.push_back("netns add " + name);
  }
  const bool joined = NamespaceStands(name) && LinkExists(name);
  if (!joined) commands.push_back(fmt::format("link add {} type veth peer name eth0 netns {}", name, name));
  commands.push_back(fmt::format("link set {} master {} up", name, bridge));
  MUSTER_DO(Ip(commands));
  return Apart([&] { return FurnishHost(block, host_number); });
}

Status TryNamespaces() {
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return Error::Os("make a namespace", errno);
  // Namespaces are kept by mounting them. Here only this thread sees the mount.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("/proc/thread-self/ns/net", "/dev/null", nullptr, MS_BIND, nullptr) != 0) {
    return Error::Os("mount a namespace", errno);
  }
  umount2("/dev/null", MNT_DETACH);
  MUSTER_DO(RouteLoopbackAddresses("lo"));
  const std::vector<std::string> commands = {"link add muster-b type bridge",
                                             "link add muster-v type veth peer name muster-w"};
  return Ip(commands);
}

NetworkMeans Probe() {
  const char* wanted = std::getenv("MUSTER_REHEARSAL_NETWORK");
  if (wanted && std::string_view(wanted) == "loopback") {
    return {.reason = "MUSTER_REHEARSAL_NETWORK=loopback is set"};
  }
  if (geteuid() != 0) return {.reason = "muster doesn't run as root"};
  if (FindProgram("ip").empty()) return {.reason = "the program ip is missing (apt-get install iproute2)"};
  const Status tried = Apart(TryNamespaces);
  if (!tried.ok()) return {.reason = "this machine doesn't allow it: " + tried.error().message()};
  return {.namespaces = true};
}

}  // namespace

std::string HostAddress(int block, int host_number) {
  return fmt::format("127.77.{}.{}", block, host_number);
}
std::string HostNamespace(int block, int host_number) {
  return fmt::format("muster-{}-{}", block, host_number);
}

Result<NetworkMeans> ProbeNetwork() {
  static const NetworkMeans means = Probe();
  return means;
}

Status SetUpHost(int block, int host_number) {
  MUSTER_DO(CheckNumbers(block, host_number));
  MUSTER_TRY(const NetworkMeans means, ProbeNetwork());
  if (!means.namespaces) return Done();
  MUSTER_TRY(NetworkLock lock, NetworkLock::Take());
  const bool first = !LinkExists(BridgeName(block));
  MUSTER_DO(Build(block, host_number).While("setting up {}", HostNamespace(block, host_number)));
  return first ? OpenFirewall(BridgeName(block)) : Done();
}

Status EnterHost(int block, int host_number) {
  MUSTER_DO(CheckNumbers(block, host_number));
  MUSTER_TRY(const NetworkMeans means, ProbeNetwork());
  return means.namespaces ? Enter(HostNamespace(block, host_number)) : Done();
}

Status CutHost(int block, int host_number, bool cut) {
  MUSTER_DO(CheckNumbers(block, host_number));
  MUSTER_TRY(const NetworkMeans means, ProbeNetwork());
  if (!means.namespaces) {
    if (!cut) return Done();
    return Error::Conflict("cut-impossible", "a rehearsed host can't be cut off here: {}", means.reason)
        .Hint("it takes root and network namespaces, in which the server and the hosts' agents were started");
  }
  MUSTER_TRY(NetworkLock lock, NetworkLock::Take());
  const std::string name = HostNamespace(block, host_number);
  if (!LinkExists(name)) return Done();
  return Ip({fmt::format("link set {} {}", name, cut ? "down" : "up")}).While("setting the link {}", name);
}

Status TearDownHost(int block, int host_number) {
  MUSTER_DO(CheckNumbers(block, host_number));
  const std::string bridge = BridgeName(block), name = HostNamespace(block, host_number);
  const bool nothing =
      !LinkExists(name) && !LinkExists(bridge) && access(NamespacePath(name).c_str(), F_OK) != 0;
  if (nothing || geteuid() != 0) return Done();
  MUSTER_TRY(NetworkLock lock, NetworkLock::Take());
  // The link by itself: a namespace that something still uses would keep its end of it.
  std::vector<std::string> commands;
  if (LinkExists(name)) commands.push_back("link del " + name);
  if (NamespaceStands(name)) commands.push_back("netns del " + name);
  MUSTER_DO(Ip(commands).While("removing {}", name));
  unlink(NamespacePath(name).c_str());
  if (LinkExists(bridge) && !AnyLinkStartsWith(bridge + "-")) {
    CloseFirewall(bridge);
    MUSTER_DO(Ip({"link del " + bridge}));
  }
  if (!AnyLinkStartsWith("muster-")) lock.Remove();
  return Done();
}

}  // namespace muster::agent
