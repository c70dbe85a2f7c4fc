#include "recipes/redis/cluster_view.h"

#include <algorithm>

#include "recipes/redis/info.h"
#include "recipes/redis/words.h"

namespace muster::redis {
namespace {

Error Unreadable(std::string_view what, std::string_view text) {
  std::string shown(text.substr(0, 80));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return Error::Unavailable("bad-answer", "redis answers with {} that can't be read: {}", what, shown);
}

bool IsPort(const std::optional<int>& port) { return port && *port >= 0 && *port <= 65535; }

// "10.0.0.1:7001@17001,name,shard-id=…": a later Redis adds more behind commas.
bool ReadAddress(std::string_view text, ClusterNode& node) {
  const size_t comma = text.find(',');
  if (comma != std::string_view::npos) {
    const std::string_view more = text.substr(comma + 1);
    const std::string_view name = more.substr(0, more.find(','));
    if (name.find('=') == std::string_view::npos) node.hostname = name;
    text = text.substr(0, comma);
  }
  const size_t at = text.rfind('@');
  if (at != std::string_view::npos) {  // none before Redis 4
    const auto bus = ParseNumber<int>(text.substr(at + 1));
    if (!IsPort(bus)) return false;
    node.bus_port = *bus;
    text = text.substr(0, at);
  }
  const size_t colon = text.rfind(':');  // an IPv6 address has more of them, and no brackets
  if (colon == std::string_view::npos) return false;
  const auto port = ParseNumber<int>(text.substr(colon + 1));
  if (!IsPort(port)) return false;
  node.port = *port;
  node.address = text.substr(0, colon);
  return true;
}

// Words that this Redis doesn't know are of a later one.
void ReadFlags(std::string_view text, ClusterNode& node) {
  for (const std::string_view flag : Words(text, ",")) {
    if (flag == "myself") node.myself = true;
    if (flag == "master") node.master = true;
    if (flag == "slave" || flag == "replica") node.replica = true;
    if (flag == "fail") node.failed = true;
    if (flag == "fail?") node.suspected = true;
    if (flag == "handshake") node.handshake = true;
    if (flag == "noaddr") node.no_address = true;
    if (flag == "nofailover") node.no_failover = true;
  }
}

bool IsId(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// "[5->-ID]" goes there, "[5-<-ID]" comes from there.
bool ReadMove(std::string_view word, ClusterNode& node) {
  if (!word.ends_with(']')) return false;
  word = word.substr(1, word.size() - 2);
  const size_t dash = word.find('-');
  if (dash == std::string_view::npos || word.size() < dash + 3) return false;
  const auto slot = ParseNumber<int>(word.substr(0, dash));
  const std::string_view way = word.substr(dash, 3), id = word.substr(dash + 3);
  if (!slot || *slot < 0 || *slot >= kSlots || !IsId(id)) return false;
  if (way == "->-") {
    node.migrating[*slot] = id;
  } else if (way == "-<-") {
    node.importing[*slot] = id;
  } else {
    return false;
  }
  return true;
}

bool ReadSlots(std::string_view word, ClusterNode& node) {
  if (word.starts_with('[')) return ReadMove(word, node);
  const auto slots = SlotSet::Parse(word);
  if (!slots.ok()) return false;
  node.slots |= *slots;
  return true;
}

bool ReadNode(std::string_view line, ClusterNode& node) {
  const std::vector<std::string_view> words = Words(line);
  if (words.size() < 8 || !IsId(words[0]) || !ReadAddress(words[1], node)) return false;
  node.id = words[0];
  ReadFlags(words[2], node);
  if (words[3] != "-") {
    if (!IsId(words[3])) return false;
    node.master_id = words[3];
  }
  const auto ping = ParseNumber<int64_t>(words[4]), pong = ParseNumber<int64_t>(words[5]);
  const auto epoch = ParseNumber<uint64_t>(words[6]);
  if (!ping || !pong || !epoch) return false;
  if (words[7] != "connected" && words[7] != "disconnected") return false;
  node.ping_sent = *ping;
  node.pong_received = *pong;
  node.config_epoch = *epoch;
  node.connected = words[7] == "connected";
  return std::all_of(words.begin() + 8, words.end(),
                     [&node](std::string_view word) { return ReadSlots(word, node); });
}

}  // namespace

const ClusterNode* ClusterView::myself() const {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [](const ClusterNode& node) { return node.myself; });
  return found == nodes.end() ? nullptr : &*found;
}

const ClusterNode* ClusterView::Find(std::string_view id) const {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [id](const ClusterNode& node) { return node.id == id; });
  return found == nodes.end() ? nullptr : &*found;
}

const ClusterNode* ClusterView::At(std::string_view address, int port) const {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const ClusterNode& node) {
    return node.port == port && !address.empty() && (node.address == address || node.hostname == address);
  });
  return found == nodes.end() ? nullptr : &*found;
}

const ClusterNode* ClusterView::OwnerOf(int slot) const {
  const auto found = std::find_if(nodes.begin(), nodes.end(),
                                  [slot](const ClusterNode& node) { return node.slots.Has(slot); });
  return found == nodes.end() ? nullptr : &*found;
}

std::vector<const ClusterNode*> ClusterView::ReplicasOf(std::string_view master_id) const {
  std::vector<const ClusterNode*> replicas;
  for (const ClusterNode& node : nodes) {
    if (node.replica && node.master_id == master_id) replicas.push_back(&node);
  }
  return replicas;
}

SlotSet ClusterView::Covered() const {
  SlotSet slots;
  for (const ClusterNode& node : nodes) {
    if (node.master && !node.failed) slots |= node.slots;
  }
  return slots;
}

Result<ClusterView> ParseClusterNodes(std::string_view text) {
  ClusterView view;
  for (const std::string_view line : Lines(text)) {
    if (line.starts_with("vars ")) continue;
    ClusterNode node;
    if (!ReadNode(line, node)) return Unreadable("a list of nodes", line);
    view.nodes.push_back(std::move(node));
  }
  if (view.nodes.empty()) return Unreadable("a list of nodes", text);
  return view;
}

std::string SharedView(const ClusterView& view) {
  std::vector<std::string> lines;
  for (const ClusterNode& node : view.nodes) {
    const char* state = node.failed ? " failed" : node.suspected ? " suspected" : "";
    lines.push_back(fmt::format("{} {}:{} {} {} {}{}{}", node.id, node.address, node.port,
                                node.replica ? "replica of " + node.master_id : "master", node.config_epoch,
                                node.slots.Text(), state, node.handshake ? " handshake" : ""));
  }
  std::sort(lines.begin(), lines.end());
  std::string shared;
  for (const std::string& line : lines) shared += line + "\n";
  return shared;
}

bool SameView(const ClusterView& one, const ClusterView& other) {
  return SharedView(one) == SharedView(other);
}

Result<ClusterInfo> ParseClusterInfo(std::string_view text) {
  const InfoFields fields = ParseInfoFields(text);
  const auto state = fields.find("cluster_state");
  if (state == fields.end()) return Unreadable("a state of the cluster", text);
  ClusterInfo info{.ok = state->second == "ok"};
  const auto read = [&](std::string_view name, auto& into) {
    const auto found = fields.find(name);
    if (found == fields.end()) return false;
    const auto number = ParseNumber<std::decay_t<decltype(into)>>(found->second);
    if (number) into = *number;
    return number.has_value();
  };
  const bool whole =
      read("cluster_slots_assigned", info.slots_assigned) && read("cluster_slots_ok", info.slots_ok) &&
      read("cluster_slots_pfail", info.slots_suspected) && read("cluster_slots_fail", info.slots_failed) &&
      read("cluster_known_nodes", info.known_nodes) && read("cluster_size", info.size) &&
      read("cluster_current_epoch", info.current_epoch) && read("cluster_my_epoch", info.my_epoch);
  if (!whole) return Unreadable("a state of the cluster", text);
  return info;
}

}  // namespace muster::redis
