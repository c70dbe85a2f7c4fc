#include "recipes/nginx/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "recipes/common/placement.h"
#include "recipes/nginx/layout.h"

namespace muster::nginx {
namespace {

int Number(std::string_view text) {
  int number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stop == text.data() + text.size() ? number : -1;
}

std::string_view BalanceWord(Balance balance) {
  switch (balance) {
    case Balance::kLeastConn:
      return "least_conn";
    case Balance::kIpHash:
      return "ip_hash";
    case Balance::kRoundRobin:
      break;
  }
  return "round_robin";
}

Balance BalanceNamed(std::string_view word) {
  if (word == "least_conn") return Balance::kLeastConn;
  if (word == "ip_hash") return Balance::kIpHash;
  return Balance::kRoundRobin;
}

std::vector<std::string> TcpPorts(const std::map<std::string, PortRange>& ports) {
  std::vector<std::string> names;
  for (const auto& [name, range] : ports) {
    if (!range.udp) names.push_back(name);
  }
  return names;
}

// Adds the members that one target stands for.
Status AddMembers(const Target& target, const Cluster& cluster, const Placement& placement,
                  std::vector<Member>& members) {
  const ParsedTarget parsed = ParseTarget(target.text, cluster);
  if (!parsed.service) {
    return Error::Invalid("route-unknown-target", "there is no service or instance {}", parsed.name);
  }
  auto places = common::MembersOf(placement, parsed.service->name);
  if (parsed.ordinal != 0) {
    std::erase_if(places, [&](const auto& one) { return one.second->ordinal != parsed.ordinal; });
  }
  if (places.empty() && parsed.ordinal != 0) {
    return Error::Invalid("route-unknown-target", "there is no instance {}", parsed.name);
  }
  for (const auto& [name, place] : places) {
    const std::string wanted = parsed.port.empty() ? DefaultPort(TcpPorts(place->ports)) : parsed.port;
    const auto port = place->ports.find(wanted);
    const Host* host = cluster.FindHost(place->host);
    if (port == place->ports.end() || !host) {
      return Error::Invalid("route-no-port", "{} has no port {}", name, wanted.empty() ? "to choose" : wanted)
          .Hint("name it: to: {}:PORT", parsed.name);
    }
    const Member member{.instance = name, .address = HostPort(host->address, port->second.first)};
    if (std::find(members.begin(), members.end(), member) == members.end()) members.push_back(member);
  }
  return Done();
}

std::string UpstreamName(const Route& route) {
  std::string name;
  for (const Target& target : route.to) {
    if (!name.empty()) name += '_';
    name += target.text;
  }
  std::replace(name.begin(), name.end(), ':', '.');
  if (route.balance != Balance::kRoundRobin) name += fmt::format(".{}", BalanceWord(route.balance));
  return name;
}

}  // namespace

ParsedTarget ParseTarget(std::string_view text, const Cluster& cluster) {
  ParsedTarget target;
  const size_t colon = text.find(':');
  target.name = text.substr(0, colon);
  if (colon != std::string_view::npos) target.port = text.substr(colon + 1);
  target.service = cluster.FindService(target.name);
  if (target.service) return target;
  const size_t dash = target.name.rfind('-');
  if (dash == std::string::npos) return target;
  const int ordinal = Number(std::string_view(target.name).substr(dash + 1));
  if (ordinal <= 0) return target;
  target.service = cluster.FindService(target.name.substr(0, dash));
  if (target.service) target.ordinal = ordinal;
  return target;
}

std::optional<std::vector<std::string>> DeclaredPorts(const Service& service) {
  std::vector<std::string> names;
  if (service.kind == "nginx") {
    for (const auto& [name, range] : PortsOf(ReadSettings(service.settings))) names.push_back(name);
    return names;
  }
  const Value* ports = service.settings.Find("ports");
  if (!ports) return service.kind == "app" ? std::optional(names) : std::nullopt;
  if (!ports->is_map() || ports->stand_in) return std::nullopt;
  for (const Value::Entry& entry : ports->entries) {
    if (!entry.value.text.ends_with("/udp")) names.push_back(entry.key);
  }
  return names;
}

std::string DefaultPort(const std::vector<std::string>& ports) {
  if (ports.size() == 1) return ports.front();
  return std::find(ports.begin(), ports.end(), "http") != ports.end() ? "http" : "";
}

std::optional<int> DeclaredInstances(const Service& service, const Cluster& cluster) {
  const Value* value = service.settings.Find("instances");
  if (value ? value->stand_in : service.kind != "app") return std::nullopt;
  const std::string text = service.settings.Text("instances");
  const common::Count count = common::ReadCount(text);
  const size_t hosts = common::HostsOf(service, cluster).size();
  return count.per_host ? count.number * static_cast<int>(hosts) : count.number;
}

Result<Upstreams> ResolveUpstreams(const Settings& settings, const Cluster& cluster,
                                   const Placement& placement) {
  Upstreams upstreams;
  for (const Server& server : settings.servers) {
    for (const Route& route : server.routes) {
      if (route.to.empty()) continue;
      Upstream upstream{.name = UpstreamName(route), .balance = route.balance};
      for (const Target& target : route.to) {
        MUSTER_DO(AddMembers(target, cluster, placement, upstream.members));
      }
      upstream.keepalive = settings.keepalive;
      upstreams.of[&route] = upstream.name;
      const auto same = [&](const Upstream& other) { return other.name == upstream.name; };
      if (std::none_of(upstreams.all.begin(), upstreams.all.end(), same)) {
        upstreams.all.push_back(std::move(upstream));
      }
    }
  }
  return upstreams;
}

std::string SeatsOf(const Settings& settings, const Cluster& cluster, const Instance& instance) {
  const bool guest = common::IsGuestName(instance.service, instance.name);
  std::set<std::string> seats;
  for (const Server& server : settings.servers) {
    for (const Route& route : server.routes) {
      for (const Target& target : route.to) {
        const ParsedTarget parsed = ParseTarget(target.text, cluster);
        if (!parsed.service || parsed.service->name != instance.service) continue;
        // A route to a chosen member means that one, and no other.
        if (parsed.ordinal != 0 && (guest || parsed.ordinal != instance.ordinal)) continue;
        const std::string wanted = parsed.port.empty() ? DefaultPort(TcpPorts(instance.ports)) : parsed.port;
        const auto port = instance.ports.find(wanted);
        if (port == instance.ports.end()) continue;
        seats.insert(UpstreamName(route) + "=" + HostPort(instance.address, port->second.first));
      }
    }
  }
  return Join({seats.begin(), seats.end()}, ",");
}

std::vector<Upstream> WithMoved(std::vector<Upstream> upstreams,
                                const std::map<std::string, std::string>& moved) {
  if (moved.empty()) return upstreams;
  std::map<std::string, std::map<std::string, std::vector<std::string>>> seats_in;  // upstream, name
  std::map<std::string, std::string> taken;                                         // address -> by whom
  for (const auto& [name, seats] : moved) {
    for (const std::string& seat : Split(seats, ',')) {
      const size_t equals = seat.find('=');
      if (equals == std::string::npos) continue;
      seats_in[seat.substr(0, equals)][name].push_back(seat.substr(equals + 1));
      taken[seat.substr(equals + 1)] = name;
    }
  }
  for (Upstream& upstream : upstreams) {
    auto& seats = seats_in[upstream.name];
    std::vector<Member> members;
    for (Member& member : upstream.members) {
      const auto own = seats.find(member.instance);
      const auto other = taken.find(member.address);
      if (own != seats.end()) {
        // All its seats where its first was.
        for (std::string& address : std::exchange(own->second, {}))
          members.push_back({.instance = member.instance, .address = std::move(address)});
      } else if (other == taken.end() || other->second == member.instance) {
        members.push_back(std::move(member));
      }
    }
    upstream.members = std::move(members);
  }
  return upstreams;
}

std::vector<Upstream> WithGuests(std::vector<Upstream> upstreams,
                                 const std::map<std::string, std::string>& guests) {
  for (const auto& [name, seats] : guests) {
    for (const std::string& seat : Split(seats, ',')) {
      const size_t equals = seat.find('=');
      if (equals == std::string::npos) continue;
      for (Upstream& upstream : upstreams) {
        if (upstream.name != seat.substr(0, equals)) continue;
        const Member member{.instance = name, .address = seat.substr(equals + 1)};
        if (std::find(upstream.members.begin(), upstream.members.end(), member) == upstream.members.end())
          upstream.members.push_back(member);
      }
    }
  }
  return upstreams;
}

std::string FormatUpstreams(const std::vector<Upstream>& upstreams) {
  std::string text;
  for (const Upstream& upstream : upstreams) {
    text +=
        fmt::format("upstream {} {} {}\n", upstream.name, BalanceWord(upstream.balance), upstream.keepalive);
    for (const Member& member : upstream.members) {
      text += fmt::format("member {} {}\n", member.instance, member.address);
    }
  }
  return text;
}

std::vector<Upstream> ParseUpstreams(std::string_view text) {
  std::vector<Upstream> upstreams;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> words = Split(line, ' ');
    if (words.size() == 4 && words[0] == "upstream") {
      upstreams.push_back(
          {.name = words[1], .balance = BalanceNamed(words[2]), .keepalive = Number(words[3])});
    } else if (words.size() == 3 && words[0] == "member" && !upstreams.empty()) {
      upstreams.back().members.push_back({.instance = words[1], .address = words[2]});
    }
  }
  return upstreams;
}

std::set<std::string> MarkedIn(const Upstream& upstream, const std::set<std::string>& out) {
  std::set<std::string> marked;
  size_t members_out = 0;
  for (const Member& member : upstream.members) {
    if (!out.contains(member.instance)) continue;
    ++members_out;
    marked.insert(member.instance);
  }
  return members_out == upstream.members.size() ? std::set<std::string>{} : marked;
}

// After the ; "-" for each member that no answer came from: a status of 502 may be nginx's or a member's.
constexpr std::string_view kShown = "\"$upstream_addr;$upstream_header_time\"";
constexpr std::string_view kShownEarlier = "$upstream_addr";

std::string AsEarlier(std::string upstreams) {
  if (const size_t at = upstreams.find(kShown); at != std::string::npos)
    upstreams.replace(at, kShown.size(), kShownEarlier);
  return upstreams;
}

std::string RenderUpstreams(const std::vector<Upstream>& upstreams, const std::set<std::string>& out,
                            std::string_view token) {
  std::string text = "# Kept by the agent: members that are out are marked `down`.\n";
  const auto shown = [&](std::string_view variable, std::string_view value) {
    text += fmt::format("map $http_x_muster_verify ${} {{ volatile; default \"\"; \"{}\" {}; }}\n", variable,
                        token, value);
  };
  shown("muster_upstream", kShown);
  shown("muster_uri", "$uri");
  for (const Upstream& upstream : upstreams) {
    // Shared by the workers, so that the turns and counts are those of the whole nginx.
    text += fmt::format("upstream {} {{\n  zone {} 256k;\n", upstream.name, upstream.name);
    if (upstream.balance != Balance::kRoundRobin)
      text += fmt::format("  {};\n", BalanceWord(upstream.balance));
    const std::set<std::string> marked = MarkedIn(upstream, out);
    // Each request tries the next member where one refuses. nginx's own memory of failures is off: the agent
    // knows who is well, and after quick restarts that memory would take all members for dead.
    for (const Member& member : upstream.members) {
      text += fmt::format("  server {} max_fails=0{};  # {}\n", member.address,
                          marked.contains(member.instance) ? " down" : "", member.instance);
    }
    // nginx wants at least one; a service scaled to nothing answers 502.
    if (upstream.members.empty()) text += "  server 127.0.0.1:1 down;\n";
    if (upstream.keepalive > 0) text += fmt::format("  keepalive {};\n", upstream.keepalive);
    text += "}\n";
  }
  return text;
}

std::set<std::string> ServedIn(std::string_view rendered) {
  constexpr std::string_view kNamed = ";  # ";
  std::set<std::string> served;
  for (const std::string& line : Split(rendered, '\n')) {
    const size_t name = line.find(kNamed);
    if (!line.starts_with("  server ") || name == std::string::npos) continue;
    if (!std::string_view(line).substr(0, name).ends_with(" down"))
      served.insert(line.substr(name + kNamed.size()));
  }
  return served;
}

}  // namespace muster::nginx
