#include "recipes/redis_cluster/adopt.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/adopt_parts.h"

namespace muster::redis_cluster {
namespace adopting {
namespace {

bool HasSlots(const Seat& seat) { return seat.node && seat.node->master && !seat.node->slots.empty(); }

// A text or a number in a YAML file, in quotes where it needs them.
std::string Quoted(const std::string& text) {
  const bool plain = !text.empty() && std::isalnum(static_cast<unsigned char>(text[0])) &&
                     std::all_of(text.begin(), text.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '.' || c == '_' || c == '-' || c == '/' || c == '@';
                     });
  if (plain || (text.starts_with('/') && Quoted("x" + text) == "x" + text)) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string RoleOf(const Picture& picture, const Seat& seat) {
  if (!seat.node) return "";
  if (seat.node->master && seat.node->slots.empty()) return "primary without slots";
  if (seat.node->master) return "primary of " + seat.node->slots.Text();
  const Seat* master = picture.OfNode(seat.node->master_id);
  return master ? "replica of " + master->name : "replica";
}

std::string MemberLine(const Picture& picture, const Seat& seat) {
  std::string line = "      - { ";
  if (!picture.hosts.empty()) line += fmt::format("host: {}, ", seat.host);
  line += fmt::format("port: {}, data: {}", seat.found->port, Quoted(SettingOf(*seat.found, "dir")));
  std::vector<std::string> files;
  for (const auto& [setting, standard] : kDataFiles) {
    const std::string name = SettingOf(*seat.found, setting);
    if (!name.empty() && name != standard) files.push_back(fmt::format("{}: {}", setting, Quoted(name)));
  }
  if (!files.empty()) line += fmt::format(", files: {{ {} }}", Join(files, ", "));
  return line + " }";
}

void ChooseSettings(Picture& picture) {
  std::set<std::string> names;
  for (const FoundMember& member : picture.found->members) {
    for (const auto& [name, value] : member.settings) names.insert(name);
    for (const std::string& module : member.modules) {
      auto& lines = picture.settings["loadmodule"];
      if (std::find(lines.begin(), lines.end(), module) == lines.end()) lines.push_back(module);
    }
  }
  for (const std::string& name : names) {
    if (!IsCarried(name)) continue;
    const std::string value = MostHave(picture, name, nullptr);
    if (value == MustersOwn(name)) continue;
    if (name == "cluster-node-timeout") {
      picture.node_timeout = TimeoutText(value);
    } else {
      picture.settings[name] = {value};
    }
  }
}

// The one that all who can be seen run as, where whoever asks may choose.
void ChooseUser(Picture& picture) {
  if (!picture.found->as_root) return;
  for (const FoundMember& member : picture.found->members) {
    if (member.seen && !member.root && picture.user.empty()) picture.user = member.user;
  }
}

}  // namespace

std::string TimeoutText(const std::string& milliseconds) {
  const bool seconds = milliseconds.ends_with("000");
  return seconds ? milliseconds.substr(0, milliseconds.size() - 3) + "s" : milliseconds + "ms";
}

const Seat* Picture::OfNode(const std::string& id) const {
  const auto found = std::find_if(seats.begin(), seats.end(),
                                  [&](const Seat& seat) { return seat.node && seat.node->id == id; });
  return found == seats.end() ? nullptr : &*found;
}

std::vector<const Seat*> Picture::ReplicasOf(const Seat& master) const {
  std::vector<const Seat*> replicas;
  for (const Seat& seat : seats) {
    if (seat.node && master.node && seat.node->replica && seat.node->master_id == master.node->id)
      replicas.push_back(&seat);
  }
  return replicas;
}

std::string SettingOf(const FoundMember& member, const std::string& name) {
  const auto found = member.settings.find(name);
  return found == member.settings.end() ? "" : found->second;
}

std::string MustersOwn(const std::string& setting) {
  static const redis::ConfSettings own = SettingsOf(Service{});
  const redis::Setting* known = redis::FindSetting(setting);
  if (!known) return "";
  const auto found = own.find(setting);
  return found == own.end() ? std::string(known->standard) : redis::RunningValue(*known, found->second);
}

bool IsCarried(const std::string& setting) {
  // A socket has a path of its own for each member.
  if (setting == "unixsocket" || setting == "unixsocketperm" || setting == "loadmodule") return false;
  const redis::Setting* known = redis::FindSetting(setting);
  return known && known->name == setting && known->cost != redis::Cost::kOwned;
}

std::string MostHave(const Picture& picture, const std::string& setting, std::vector<std::string>* others) {
  std::vector<std::pair<std::string, int>> values;  // in the members' order, so that the first wins a draw
  for (const Seat& seat : picture.seats) {
    const std::string value = SettingOf(*seat.found, setting);
    const auto known =
        std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.first == value; });
    if (known == values.end()) {
      values.emplace_back(value, 1);
    } else {
      ++known->second;
    }
  }
  const auto most = std::max_element(values.begin(), values.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == values.end()) return "";
  for (const Seat& seat : picture.seats) {
    if (others && SettingOf(*seat.found, setting) != most->first) others->push_back(seat.name);
  }
  return most->first;
}

Picture PictureFrom(const FoundCluster& found, const std::string& service) {
  Picture picture;
  picture.found = &found;
  picture.service = service;
  std::vector<std::string> addresses;
  for (const FoundMember& member : found.members) addresses.push_back(member.address);
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  std::map<std::string, std::string> host_at;
  for (const std::string& address : addresses) {
    host_at[address] = fmt::format("h{}", host_at.size() + 1);
    picture.hosts.emplace_back(host_at[address], address);
  }
  // What a file without hosts means.
  if (addresses.size() == 1 && addresses[0] == kLoopback) picture.hosts.clear();
  for (const FoundMember& member : found.members) {
    picture.seats.push_back(
        {.found = &member, .node = member.view.myself(), .host = host_at[member.address]});
  }
  // As muster would have numbered them: host after host, port after port.
  std::sort(picture.seats.begin(), picture.seats.end(), [](const Seat& a, const Seat& b) {
    return std::pair(a.found->port, a.found->address) < std::pair(b.found->port, b.found->address);
  });
  int number = 0;
  for (Seat& seat : picture.seats) {
    seat.name = fmt::format("{}-{}", service, ++number);
    picture.masters += HasSlots(seat) ? 1 : 0;
    picture.password |= !SettingOf(*seat.found, "requirepass").empty();
  }
  picture.masters = std::max(picture.masters, 1);
  const int rest = number - picture.masters;
  picture.replicas = (rest + picture.masters - 1) / picture.masters;
  ChooseSettings(picture);
  ChooseUser(picture);
  return picture;
}

std::string FileOf(const Picture& picture, const AdoptRequest& request) {
  std::string text = fmt::format(
      "# The Redis Cluster that {}:{} belongs to, as muster adopt found it.\n"
      "cluster: {}\n",
      request.host, request.port, request.cluster);
  if (!picture.hosts.empty()) text += "hosts:\n";
  for (const auto& [name, address] : picture.hosts) {
    text += fmt::format("  {}: {{ address: {} }}\n", name, Quoted(address));
  }
  text += fmt::format(
      "services:\n"
      "  {}:\n"
      "    kind: redis-cluster\n"
      "    masters: {}\n"
      "    replicas: {}\n",
      request.service, picture.masters, picture.replicas);
  int port = 65535;
  for (const Seat& seat : picture.seats) port = std::min(port, seat.found->port);
  text += fmt::format("    port: {}\n", port);
  if (!picture.user.empty()) text += fmt::format("    user: {}\n", Quoted(picture.user));
  if (!picture.found->program.empty())
    text += fmt::format("    program: {}\n", Quoted(picture.found->program));
  if (picture.password) text += fmt::format("    password: \"{{{{secret.{}}}}}\"\n", request.service);
  if (!picture.node_timeout.empty()) text += fmt::format("    node_timeout: {}\n", picture.node_timeout);
  text += "    slots: kept   # nothing is moved; even: spread alike over all masters\n";
  if (!picture.settings.empty()) text += "    settings:\n";
  for (const auto& [name, lines] : picture.settings) {
    std::vector<std::string> values;
    for (const std::string& line : lines) values.push_back(Quoted(line));
    const std::string value = values.size() == 1 ? values[0] : "[" + Join(values, ", ") + "]";
    text += fmt::format("      {}: {}\n", name, value);
  }
  text += "    members:\n";
  for (const Seat& seat : picture.seats) text += MemberLine(picture, seat) + "\n";
  return text;
}

}  // namespace adopting

Adoption AdoptionOf(FoundCluster found, const AdoptRequest& request) {
  const adopting::Picture picture = adopting::PictureFrom(found, request.service);
  Adoption adoption;
  adoption.file = adopting::FileOf(picture, request);
  adoption.findings = adopting::Differences(picture);
  if (picture.password)
    adoption.secrets[request.service] = adopting::MostHave(picture, "requirepass", nullptr);
  for (const adopting::Seat& seat : picture.seats) {
    adoption.members.push_back({.name = seat.name,
                                .address = seat.found->address,
                                .port = seat.found->port,
                                .role = adopting::RoleOf(picture, seat),
                                .pid = static_cast<int>(seat.found->info.pid),
                                .data = adopting::SettingOf(*seat.found, "dir")});
  }
  return adoption;
}

}  // namespace muster::redis_cluster
