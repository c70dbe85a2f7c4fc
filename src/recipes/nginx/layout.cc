#include "recipes/nginx/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "model/secret.h"
#include "model/words.h"
#include "recipes/common/member_change.h"
#include "recipes/common/placement.h"
#include "recipes/common/shapes.h"
#include "recipes/common/values.h"
#include "recipes/nginx/config.h"
#include "recipes/nginx/nginx.h"
#include "recipes/nginx/tries.h"

namespace muster::nginx {
namespace {

// A file of the bundle as one of the instance's.
Result<InstanceFile> FileFrom(const Cluster& cluster, const std::string& path, std::string to, int mode) {
  const auto found = cluster.files.find(path);
  if (found == cluster.files.end()) {
    return Error::NotFound("file-missing", "{} was not sent along with the cluster file", path);
  }
  InstanceFile file{.path = std::move(to), .mode = mode, .impact = Impact::kReload};
  if (found->second.text.empty()) {
    file.blob = found->second.sha256;
  } else {
    file.content = SealWords(found->second.text);
  }
  return file;
}

Status AddTls(const Tls& tls, size_t server, const Cluster& cluster, std::vector<InstanceFile>& files) {
  const auto add = [&](const std::string& file, const std::string& secret, std::string to,
                       bool key) -> Status {
    if (!secret.empty()) {
      files.push_back(
          {.path = std::move(to), .content = SecretMarker(secret), .mode = 0600, .impact = Impact::kReload});
      return Done();
    }
    MUSTER_TRY(InstanceFile made, FileFrom(cluster, file, std::move(to), 0600));
    made.secret = key || made.content.find("PRIVATE KEY-----") != std::string::npos;  // one may hold both
    files.push_back(std::move(made));
    return Done();
  };
  MUSTER_DO(add(tls.certificate, tls.certificate_secret, CertificatePath(server), false));
  return add(tls.key, tls.key_secret, KeyPath(server), true);
}

// All that nginx reads, but for what its operator renders.
Result<std::vector<InstanceFile>> FilesOf(const Settings& settings, const Cluster& cluster) {
  std::vector<InstanceFile> files;
  for (size_t s = 0; s < settings.servers.size(); ++s) {
    const Server& server = settings.servers[s];
    if (server.tls) MUSTER_DO(AddTls(*server.tls, s, cluster, files));
    for (size_t r = 0; r < server.routes.size(); ++r) {
      if (!server.routes[r].files) continue;
      for (const auto& [name, path] : server.routes[r].files->files) {
        MUSTER_TRY(InstanceFile file,
                   FileFrom(cluster, path, StaticFolder(s, server.routes[r]) + "/" + name, 0640));
        file.impact = Impact::kLive;  // Read anew with each request.
        files.push_back(std::move(file));
      }
    }
  }
  return files;
}

// Ports as one member has them: those of the file, moved on where several stand on one host.
void UsePorts(Settings& settings, const Place& place) {
  const std::map<std::string, PortRange> wanted = PortsOf(settings);
  std::map<int, int> moved;
  for (const auto& [name, range] : wanted) {
    const auto found = place.ports.find(name);
    if (found != place.ports.end()) moved[range.first] = found->second.first;
  }
  for (Server& server : settings.servers) {
    for (Listen& listen : server.listen) {
      if (const auto found = moved.find(listen.port); found != moved.end()) listen.port = found->second;
    }
  }
}

}  // namespace

std::map<std::string, PortRange> PortsOf(const Settings& settings) {
  std::map<std::string, PortRange> ports;
  std::set<int> seen;
  for (const Server& server : settings.servers) {
    for (const Listen& listen : server.listen) {
      if (!seen.insert(listen.port).second) continue;
      std::string name = server.tls ? "https" : "http";
      if (ports.contains(name)) name = fmt::format("{}-{}", server.tls ? "tls" : "http", listen.port);
      ports[name] = {.first = listen.port};
    }
  }
  return ports;
}

std::vector<Finding> NginxLayout::Check(const Service& service, const Cluster& cluster, WallTime now) const {
  std::vector<Finding> findings = CheckSettings(ReadSettings(service.settings), service, cluster, now);
  CheckValues(service.settings, findings);
  const common::Count count = common::ReadCount(service.settings.Text("instances", "1 per host"));
  common::CheckTooMany(service, cluster, count, findings);
  return findings;
}

Result<Placement> NginxLayout::PlaceMembers(const Service& service, const Cluster& cluster,
                                            const Placement& so_far) const {
  const std::string written = service.settings.Text("instances", "1 per host");
  return common::PlaceMembers(service, cluster, so_far, common::ReadCount(written),
                              PortsOf(ReadSettings(service.settings)));
}

Result<std::vector<Instance>> NginxLayout::LayOut(const Service& service, const Cluster& cluster,
                                                  const Placement& placement) const {
  const Settings settings = ReadSettings(service.settings);
  MUSTER_TRY(const std::vector<InstanceFile> files, FilesOf(settings, cluster));
  std::vector<Instance> instances;
  for (const auto& [name, place] : common::MembersOf(placement, service.name)) {
    const Host* host = cluster.FindHost(place->host);
    if (!host)
      return Error::Internal("host-missing", "{} stands on {}, which isn't there", name, place->host);
    Settings own = settings;
    UsePorts(own, *place);
    MUSTER_TRY(const Upstreams upstreams, ResolveUpstreams(own, cluster, placement));
    Instance instance;
    instance.name = name;
    instance.service = service.name;
    instance.kind = kind();
    instance.host = host->name;
    instance.address = host->address;
    instance.ordinal = place->ordinal;
    instance.ports = place->ports;
    instance.argv = {"nginx", "-p", "{folder}", "-c", "{folder}/conf/nginx.conf", "-e", "stderr"};
    instance.user = service.user;
    instance.files = files;
    instance.files.push_back({.path = "conf/nginx.conf",
                              .content = RenderConfig(own, upstreams, host->address),
                              .impact = Impact::kReload});
    const Server& front = own.servers.front();
    instance.probe = {.kind = Probe::Kind::kHttp,
                      .target = std::string(kHealthPath),
                      .port = front.listen.empty() ? 0 : front.listen.front().port,
                      .tls = front.tls.has_value()};
    instance.ready_within = 30s;
    instance.stop_signal = SIGQUIT;  // Lets requests under way end.
    common::ReadStop(service.settings.Find("stop"), instance);
    instance.limits = common::ReadLimits(service.settings.Find("limits"));
    instance.restart = common::ReadRestart(service.settings.Find("restart"));
    instance.log = common::ReadLog(service.settings.Find("log"));
    for (const Upstream& upstream : upstreams.all) {
      for (const Member& member : upstream.members) instance.fronts.push_back(member.instance);
    }
    std::sort(instance.fronts.begin(), instance.fronts.end());
    instance.fronts.erase(std::unique(instance.fronts.begin(), instance.fronts.end()), instance.fronts.end());
    instance.extra["upstreams"] = FormatUpstreams(upstreams.all);
    instance.extra["tries"] = FormatTries(TriesOf(own, upstreams));
    for (const auto& [port_name, range] : place->ports) {
      // The agent gives the process CAP_NET_BIND_SERVICE: it doesn't run as root.
      if (range.first < 1024) instance.extra["bind_low_ports"] = "yes";
    }
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::map<std::string, std::string> NginxLayout::AdmissionOf(const Service& service, const Cluster& cluster,
                                                            const Instance& guest) const {
  const std::string seats = SeatsOf(ReadSettings(service.settings), cluster, guest);
  if (seats.empty()) return {};
  return {{"at", seats}};
}

std::optional<std::string> NginxLayout::Export(std::string_view word, const Service& service,
                                               const Cluster& cluster, const Placement& placement) const {
  const auto ports = PortsOf(ReadSettings(service.settings));
  if (ports.empty() || !word.starts_with("endpoints")) return std::nullopt;
  std::string port = ports.begin()->first;
  if (word != "endpoints") {
    if (!word.starts_with("endpoints.")) return std::nullopt;
    port = word.substr(10);
    if (!ports.contains(port)) return std::nullopt;
  }
  return common::Endpoints(cluster, placement, service.name, port);
}

Impact NginxLayout::ImpactOf(std::string_view part) const {
  if (part.find("bind_low_ports") != std::string_view::npos) return Impact::kRestart;
  if (part == "probe" || part == "restart" || part == "stop" || part == "log" || part == "ready_within") {
    return Impact::kLive;
  }
  // nginx opens and closes ports while it runs.
  if (part == "ports" || part == "fronts" || part.starts_with("extra")) return Impact::kReload;
  return part.starts_with("file") ? Impact::kReload : Impact::kRestart;
}

ServiceHealth HealthOf(const std::vector<Instance>& desired,
                       const std::map<std::string, Observed>& observed) {
  ServiceHealth health = common::MemberHealth(desired, observed);
  for (const Instance& nginx : desired) {
    const auto seen = observed.find(nginx.name);
    if (seen == observed.end() || seen->second.state != InstanceState::kReady) continue;
    if (!seen->second.facts.contains("stale")) continue;
    health.reasons.push_back(fmt::format("{} has not taken up its members yet", nginx.name));
    if (health.health == Health::kGreen) health.health = Health::kYellow;
  }
  return health;
}

}  // namespace muster::nginx

namespace muster {

Recipe MakeNginxRecipe() {
  Recipe recipe;
  auto layout = std::make_unique<nginx::NginxLayout>();
  recipe.change = std::make_unique<common::MemberChange>(layout.get(), false);
  recipe.layout = std::move(layout);
  recipe.make_mender = nginx::MakeMender;
  recipe.health = nginx::HealthOf;
  recipe.make_operator = nginx::MakeOperator;
  // The master tells its workers, and starts a new one for each that ends before it knows that all shall end.
  recipe.stops_its_own = true;
  return recipe;
}

}  // namespace muster
