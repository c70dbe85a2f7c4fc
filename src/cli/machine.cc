#include "cli/machine.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "cli/way_out.h"
#include "net/addresses.h"

namespace muster::cli {
namespace {

// One line of /proc/net/tcp or udp.
struct Socket {
  std::string address;
  int port = 0;
  std::string inode;
};

// "0100007F" and friends: words of four bytes, each little-endian.
std::string AddressFrom(const std::string& hex) {
  std::string bytes;
  for (size_t word = 0; word + 8 <= hex.size(); word += 8) {
    for (int i = 3; i >= 0; --i) {
      bytes += static_cast<char>(std::stoi(hex.substr(word + static_cast<size_t>(i) * 2, 2), nullptr, 16));
    }
  }
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

std::vector<Socket> SocketsIn(const std::string& file, const std::string& state) {
  std::vector<Socket> sockets;
  const auto text = ReadFile(file);
  if (!text.ok()) return sockets;
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string slot, local, remote, found_state, queues, timer, retransmits, uid, timeout, inode;
    words >> slot >> local >> remote >> found_state >> queues >> timer >> retransmits >> uid >> timeout >>
        inode;
    const size_t colon = local.find(':');
    if (found_state != state || colon == std::string::npos) continue;
    sockets.push_back(
        {AddressFrom(local.substr(0, colon)), std::stoi(local.substr(colon + 1), nullptr, 16), inode});
  }
  return sockets;
}

// The processes that hold sockets, by the socket's inode.
std::map<std::string, int> SocketHolders() {
  std::map<std::string, int> holders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code unreadable;
    for (fs::directory_iterator fd(entry.path() / "fd", unreadable), end; !unreadable && fd != end;
         fd.increment(unreadable)) {
      std::error_code gone;
      const std::string target = fs::read_symlink(fd->path(), gone);
      if (target.rfind("socket:[", 0) == 0)
        holders.emplace(target.substr(8, target.size() - 9), std::stoi(name));
    }
  }
  return holders;
}

int ParentOf(int pid) {
  const auto stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!stat.ok()) return 0;
  const size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos || name_end + 4 >= stat->size()) return 0;
  return std::atoi(stat->c_str() + name_end + 4);
}

// The instance of this home that the process is, or that started it, or in whose folder it works.
Owner OwnerOf(int pid, const fs::path& home, const Owners& owners) {
  const std::string prefix = (home / "hosts").string() + "/";
  for (int depth = 0; pid > 1 && depth < 8; ++depth, pid = ParentOf(pid)) {
    if (const auto known = owners.find(pid); known != owners.end()) return known->second;
    std::error_code error;
    const std::string folder = fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error);
    if (folder.rfind(prefix, 0) != 0) continue;
    const std::vector<std::string> parts =
        Split(folder.substr(prefix.size()), '/');  // KEY/HOST/instances/NAME
    return {.cluster = parts[0], .instance = parts.size() > 3 ? parts[3] : ""};
  }
  return {};
}

bool IsHere(const Host& host, const std::vector<std::string>& addresses) {
  return host.address == "localhost" || host.address.rfind("127.", 0) == 0 ||
         std::find(addresses.begin(), addresses.end(), host.address) != addresses.end();
}

bool Covers(const Listener& listener, const std::string& address) {
  return listener.address == "0.0.0.0" || listener.address == "::" || listener.address == address ||
         (address == "localhost" && listener.address == "127.0.0.1");
}

Finding MachineFinding(const Service& service, std::string code, std::string message, std::string fix) {
  Finding finding;
  finding.code = std::move(code);
  finding.mark = service.mark;
  finding.message = std::move(message);
  finding.fix = std::move(fix);
  return finding;
}

bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsExecutable(const std::string& path) {
  struct stat file {};
  return stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode) && (file.st_mode & 0111) != 0;
}

// The command's program as the instance will look for it.
void CheckProgram(const Service& service, const Instance& instance, const std::string& program, Mark mark,
                  const Machine& machine, std::set<std::string>& told, std::vector<Finding>& findings) {
  if (program.empty() || !told.insert("program " + service.name + " " + program).second) return;
  const auto add = [&](std::string code, std::string message, std::string fix) {
    findings.push_back(MachineFinding(service, std::move(code), std::move(message), std::move(fix)));
    if (mark.line > 0) findings.back().mark = mark;
  };
  const auto missing = [&] {
    const std::string package = PackageOf(program);
    add("program-missing", program + " of " + service.name + " is not installed on this machine",
        package.empty() ? "install it, or correct the command" : "apt-get install " + package);
  };
  const auto not_executable = [&](const std::string& path, const std::string& fix) {
    add("not-executable", fmt::format("{} of {} is not executable", path, service.name),
        fix + ", or start it through its interpreter");
  };
  if (program == "{artifact}") {
    const Value* file = service.settings.Find("artifact");
    if (!instance.artifact.executable && file) not_executable(file->text, "chmod +x " + file->text);
    return;
  }
  if (program.find('{') != std::string::npos) return;  // a path that only the agent knows
  if (program.find('/') == std::string::npos) {
    const auto path = instance.env.find("PATH");
    for (const std::string& folder :
         path == instance.env.end() ? std::vector<std::string>{} : Split(path->second, ':')) {
      if (machine.is_executable(folder + "/" + program)) return;
    }
    if (machine.find(program).empty()) missing();
    return;
  }
  if (program[0] == '/') {
    if (!machine.is_file(program)) return missing();
    if (!machine.is_executable(program)) not_executable(program, "chmod +x " + program);
    return;
  }
  const std::string inside = program.starts_with("./") ? program.substr(2) : program;
  for (const InstanceFile& file : instance.files) {
    if (file.path != inside) continue;
    if ((file.mode & 0111) == 0) not_executable(program, "give it mode: \"0750\"");
    return;
  }
  // What it makes itself while it runs, and a folder of its own, nobody knows yet.
  if (inside.starts_with("data/") || inside.starts_with("logs/") || !instance.working_folder.empty()) return;
  add("program-missing",
      fmt::format("{} of {} will not be there: it is looked for in the folder of each instance, not beside "
                  "the cluster file",
                  program, service.name),
      "bring it there: artifact: " + program + " and {{artifact}} in its place, or an entry in files:");
}

void CheckWorkingFolder(const Service& service, const Instance& instance, const Machine& machine,
                        std::set<std::string>& told, std::vector<Finding>& findings) {
  const std::string& folder = instance.working_folder;
  if (folder.empty() || folder[0] != '/' || folder.find('{') != std::string::npos) return;
  if (!machine.is_file || machine.is_file(folder) || !told.insert("folder " + service.name).second) return;
  findings.push_back(MachineFinding(
      service, "folder-missing",
      fmt::format("{}, the working_folder of {}, is not there", folder, service.name),
      "make it before it starts, or leave working_folder out: it is the instance's own folder then"));
  findings.back().severity = Severity::kWarning;
  if (const Value* value = service.settings.Find("working_folder")) findings.back().mark = value->mark;
}

void CheckPrograms(const Service& service, const Instance& instance, const Machine& machine,
                   std::set<std::string>& told, std::vector<Finding>& findings) {
  const Value* command = service.settings.Find("command");
  CheckProgram(service, instance, instance.argv.empty() ? "" : instance.argv[0],
               command ? command->mark : Mark{}, machine, told, findings);
  if (instance.probe.kind != Probe::Kind::kCommand) return;
  const auto words = SplitCommand(instance.probe.target);
  const Value* health = service.settings.Find("health");
  const Value* asked = health ? health->Find("command") : nullptr;
  if (!words.ok() || words->empty() || !asked) return;
  CheckProgram(service, instance, (*words)[0], asked->mark, machine, told, findings);
}

void CheckUser(const Service& service, const Machine& machine, std::set<std::string>& told,
               std::vector<Finding>& findings) {
  if (service.user.empty() || !machine.has_user) return;
  const bool there = machine.has_user(service.user);
  const bool root = there && machine.is_root && machine.is_root(service.user);
  if ((there && !root) || !told.insert("user " + service.name).second) return;
  if (root) {
    findings.push_back(MachineFinding(
        service, "user-root",
        fmt::format("{}, whom {} runs as, is root by another name", service.user, service.name),
        "name a user of its own, or leave it out"));
    if (const Value* user = service.settings.Find("user")) findings.back().mark = user->mark;
    return;
  }
  findings.push_back(MachineFinding(
      service, "unknown-user", "there is no user " + service.user + ", whom " + service.name + " runs as",
      "adduser --system " + service.user));
  if (const Value* user = service.settings.Find("user")) findings.back().mark = user->mark;
}

Mark MarkOfPort(const Service& service, const std::string& port) {
  const Value* ports = service.settings.Find("ports");
  if (const Value* value = ports ? ports->Find(port) : nullptr) return value->mark;
  for (const char* key : {"listen", "port"}) {
    if (const Value* value = service.settings.Find(key)) return value->mark;
  }
  return service.mark;
}

void CheckLowPorts(const Service& service, const Instance& instance, const Machine& machine,
                   std::set<std::string>& told, std::vector<Finding>& findings) {
  for (const auto& [name, range] : instance.ports) {
    if (range.first >= machine.first_free_port) continue;
    if (!told.insert("low port " + service.name + " " + name).second) continue;
    findings.push_back(
        MachineFinding(service, "port-needs-root",
                       fmt::format("port {} of {}: only root may listen below {} on this machine",
                                   range.first, instance.name, machine.first_free_port),
                       fmt::format("run muster as root, take a port from {} on, or: sysctl "
                                   "net.ipv4.ip_unprivileged_port_start={}",
                                   machine.first_free_port, range.first)));
    findings.back().mark = MarkOfPort(service, name);
  }
}

// A port that nobody wrote, such as that of a cluster bus, 10000 above the one in the file.
void CheckBusPort(const Service& service, const Instance& instance, const LocalPorts& local_ports,
                  std::set<std::string>& told, std::vector<Finding>& findings) {
  const auto bus = instance.ports.find("bus");
  if (bus == instance.ports.end() || !local_ports.Gives(bus->second.first)) return;
  if (!told.insert("bus port " + service.name).second) return;
  const int port = bus->second.first;
  findings.push_back(MachineFinding(
      service, "bus-port-local",
      fmt::format(
          "the cluster bus of {} has the port {}, which the kernel may give to any connection of this "
          "machine ({} to {}): the member can't start for as long as one has it",
          instance.name, port, local_ports.first, local_ports.last),
      fmt::format("write a port whose one 10000 above lies outside, or keep the kernel from it: sysctl "
                  "net.ipv4.ip_local_reserved_ports={}",
                  port)));
  findings.back().severity = Severity::kWarning;
  findings.back().mark = MarkOfPort(service, "bus");
}

void CheckLimits(const Service& service, const Instance& instance, const LimitSupport& support,
                 std::set<std::string>& told, std::vector<Finding>& findings) {
  const bool memory = instance.limits.memory_bytes > 0 && !support.memory;
  const bool cpus = instance.limits.cpus > 0 && !support.cpus;
  if (!(memory || cpus) || !told.insert("limits " + service.name).second) return;
  const char* which = memory && cpus ? "memory and cpus" : memory ? "memory" : "cpus";
  findings.push_back(MachineFinding(
      service, "limits-unset",
      fmt::format("limits of {} can't be set ({}): {}", service.name, which, support.why), support.fix));
  findings.back().severity = Severity::kWarning;
  if (const Value* limits = service.settings.Find("limits")) findings.back().mark = limits->mark;
}

// The first port that this user may listen on.
int FirstFreePort() {
  if (geteuid() == 0) return 0;
  const auto status = ReadFile("/proc/self/status");
  const size_t ambient = status.ok() ? status->find("CapAmb:") : std::string::npos;
  constexpr unsigned kNetBindService = 10;
  if (ambient != std::string::npos) {
    const unsigned long long rights = std::strtoull(status->c_str() + ambient + 7, nullptr, 16);
    if ((rights >> kNetBindService) & 1) return 0;
  }
  const auto start = ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  return start.ok() ? std::atoi(start->c_str()) : 1024;
}

void CheckPorts(const Service& service, const Instance& instance, const Host& host, const Cluster& cluster,
                const Machine& machine, std::vector<Finding>& findings) {
  for (const auto& [name, range] : instance.ports) {
    for (const Listener& listener : machine.listeners) {
      const bool wanted = listener.port >= range.first && listener.port < range.first + range.count;
      if (!wanted || listener.udp != range.udp || !Covers(listener, host.address)) continue;
      if (listener.cluster == cluster.key()) continue;
      // It is the one that is to be taken over.
      const auto data = instance.extra.find(kDataElsewhere);
      if (data != instance.extra.end() && fs::path(data->second) == listener.folder) continue;
      // The server gives each rehearsal a block of addresses that no other has.
      if (cluster.rehearsal && listener.address.starts_with("127.77.")) continue;
      std::string who = listener.pid > 0 ? fmt::format("pid {} ({})", listener.pid, listener.program)
                                         : "a process that can't be seen from here";
      std::string fix = "end that process, or give " + service.name + " another port";
      if (!listener.cluster.empty()) {
        const std::string member = listener.instance.empty() ? "an instance" : listener.instance;
        who = fmt::format("{} of the cluster {}, {}", member, listener.cluster, who);
        fix = fmt::format("give {} another port, or take that one down: muster down -c {}", service.name,
                          listener.cluster);
      }
      findings.push_back(MachineFinding(
          service, "port-taken",
          fmt::format("port {} of {} on {} is taken by {}", listener.port, instance.name, host.name, who),
          std::move(fix)));
      findings.back().mark = MarkOfPort(service, name);
      break;
    }
  }
}

}  // namespace

std::vector<Listener> ListenersHere(const fs::path& home, const Owners& owners) {
  std::vector<Listener> listeners;
  const std::map<std::string, int> holders = SocketHolders();
  const struct {
    const char* file;
    const char* state;
    bool udp;
  } tables[] = {{"/proc/net/tcp", "0A", false},
                {"/proc/net/tcp6", "0A", false},
                {"/proc/net/udp", "07", true},
                {"/proc/net/udp6", "07", true}};
  for (const auto& table : tables) {
    for (const Socket& socket : SocketsIn(table.file, table.state)) {
      Listener listener{.port = socket.port, .address = socket.address, .udp = table.udp};
      const auto holder = holders.find(socket.inode);
      if (holder != holders.end()) {
        listener.pid = holder->second;
        const auto name = ReadFile("/proc/" + std::to_string(listener.pid) + "/comm");
        if (name.ok()) listener.program = std::string(Trim(*name));
        std::error_code unseen;
        listener.folder = fs::read_symlink(fmt::format("/proc/{}/cwd", listener.pid), unseen);
        Owner owner = OwnerOf(listener.pid, home, owners);
        listener.cluster = std::move(owner.cluster);
        listener.instance = std::move(owner.instance);
      }
      listeners.push_back(std::move(listener));
    }
  }
  return listeners;
}

std::vector<std::string> AddressesHere() {
  std::vector<std::string> addresses;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return addresses;
  for (const ifaddrs* one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
    addresses.emplace_back(text);
  }
  freeifaddrs(all);
  return addresses;
}

Machine LookAtMachine(const fs::path& home, const Owners& owners, bool ports) {
  Machine machine{.listeners = ports ? ListenersHere(home, owners) : std::vector<Listener>(),
                  .addresses = AddressesHere(),
                  .limits = LookAtLimits(),
                  .first_free_port = FirstFreePort(),
                  .local_ports = LocalPortsHere(),
                  .namespaces = geteuid() == 0 && !FindProgram("ip").empty(),
                  .find = FindProgram,
                  .is_file = IsFile,
                  .is_executable = IsExecutable};
  const char* network = std::getenv("MUSTER_REHEARSAL_NETWORK");
  machine.apart = machine.namespaces && !(network && std::string_view(network) == "loopback");
  // Without root everything runs as the caller, whatever the file says.
  if (geteuid() == 0) {
    machine.has_user = [](const std::string& user) { return getpwnam(user.c_str()) != nullptr; };
    machine.is_root = [](const std::string& user) {
      const passwd* entry = getpwnam(user.c_str());
      return entry && entry->pw_uid == 0;
    };
  }
  return machine;
}

std::vector<Finding> CheckHosts(const Cluster& cluster) {
  std::vector<Finding> findings;
  if (cluster.rehearsal || cluster.hosts_left_out) return findings;
  for (const Host& host : cluster.hosts) {
    if (net::IsLocalAddress(host.address)) continue;
    Finding finding;
    finding.code = "host-elsewhere";
    finding.mark = host.mark;
    finding.message =
        fmt::format("{} ({}) is not this machine, and others can't be reached yet", host.name, host.address);
    finding.fix = "--rehearse runs all hosts of the file on this machine";
    findings.push_back(std::move(finding));
  }
  return findings;
}

std::vector<Finding> CheckMachine(const Cluster& cluster, const std::vector<Instance>& instances,
                                  const Machine& machine, const std::set<std::string>& standing) {
  std::vector<Finding> findings;
  std::set<std::string> told;  // what is said once a service
  if (cluster.rehearsal && !machine.namespaces && cluster.hosts.size() > 1) {
    Finding finding;
    finding.severity = Severity::kWarning;
    finding.code = "rehearsal-plain";
    finding.message =
        "without root the rehearsed hosts are plain addresses of this machine: programs that listen on all "
        "addresses are in each other's way, and a host can't be cut off";
    finding.fix = "rehearse as root, or let each program listen on {{address}} only";
    findings.push_back(std::move(finding));
  }
  if (machine.apart) findings = CheckWayOut(cluster);
  for (const Instance& instance : instances) {
    const Host* host = cluster.FindHost(instance.host);
    const Service* service = cluster.FindService(instance.service);
    if (!host || !service || !IsHere(*host, machine.addresses)) continue;
    CheckPrograms(*service, instance, machine, told, findings);
    CheckUser(*service, machine, told, findings);
    CheckWorkingFolder(*service, instance, machine, told, findings);
    if (!standing.contains(instance.name)) CheckLowPorts(*service, instance, machine, told, findings);
    CheckBusPort(*service, instance, machine.local_ports, told, findings);
    // Ports of a namespace are nobody else's.
    const bool apart = cluster.rehearsal && machine.namespaces;
    if (!apart && !standing.contains(instance.name)) {
      CheckPorts(*service, instance, *host, cluster, machine, findings);
    }
    CheckLimits(*service, instance, machine.limits, told, findings);
  }
  return findings;
}

}  // namespace muster::cli
