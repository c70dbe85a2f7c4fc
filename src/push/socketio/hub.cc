#include "push/socketio/hub.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/digest.h"
#include "push/socketio/json.h"

namespace muster::push::socketio {
namespace {

using engineio::CloseReason;
using engineio::Session;
const std::vector<std::string> kNoAttachments;

// Whether a client that went this way may come back: not one that said goodbye, nor one that was put out.
bool MayComeBack(CloseReason reason) {
  return reason == CloseReason::kTransportClose || reason == CloseReason::kTransportError ||
         reason == CloseReason::kPingTimeout || reason == CloseReason::kServer;
}

}  // namespace

std::string GroupKey(std::string_view group) { return "g:" + std::string(group); }
std::string UserKey(std::string_view user) { return "u:" + std::string(user); }
std::string EverybodyKey(uint16_t name_space) { return "*:" + std::to_string(name_space); }
std::string RoomKey(uint16_t name_space, std::string_view room) {
  std::string key = "r:" + std::to_string(name_space) + ":";
  key += room;
  return key;
}

std::string_view Event::Arguments(size_t from) const {
  if (from + 1 >= elements->size()) return {};
  const char* begin = (*elements)[from + 1].data();
  const std::string_view last = elements->back();
  return {begin, static_cast<size_t>(last.data() + last.size() - begin)};
}

Hub::Hub(Loop& loop, engineio::Options engine, HubOptions options, Application& application)
    : engine_(loop, std::move(engine), *this),
      options_(std::move(options)),
      application_(application),
      trimmed_(loop.now()) {}

void Hub::OnOpen(Session& session) {
  const auto [client, slot] = clients_.Make();
  client->session = &session;
  client->slot = slot;
  session.client = client;
  const auto [wait, wait_slot] = waits_.Make();
  wait->kind = kTimerOfOther;
  wait->client = client;
  wait->slot = wait_slot;
  client->wait = wait;
  engine_.loop().timers().Set(*wait, engine_.loop().now() + options_.connect_timeout);
  if (session.protocol == 3) Connect(*client, "/", {});  // Socket.IO 2 is in the main namespace at once
}

void Hub::OnTimer(TimerNode& node) {
  if (node.kind == kTimerOfSession) {
    engine_.OnTimer(node);
    return;
  }
  engine_.Close(*static_cast<Client::Wait&>(node).client->session);
}

Socket* Hub::Find(const Client& client, uint16_t name_space) {
  for (Socket* socket = client.first; socket != nullptr; socket = socket->next) {
    if (socket->name_space == name_space) return socket;
  }
  return nullptr;
}

void Hub::Break(Client& client) {
  counters_.bad_packets.Add(1);
  engine_.Close(*client.session);
}

bool Hub::TooMany(Client& client) {
  if (options_.packets_per_second == 0) return false;
  const auto second = static_cast<uint32_t>(engine_.loop().now().time_since_epoch().count() / 1000);
  if (client.second != second) {
    client.second = second;
    client.packets = 0;
  }
  if (++client.packets <= options_.packets_per_second) return false;
  counters_.too_many_packets.Add(1);
  engine_.Close(*client.session);
  return true;
}

void Hub::OnMessage(Session& session, bool binary, std::string_view message) {
  Client& client = *static_cast<Client*>(session.client);
  if (TooMany(client)) return;
  Packet packet;
  if (!binary) {
    if (client.assembly || !ParsePacket(message, packet, elements_)) {
      Break(client);
      return;
    }
    if (packet.attachments == 0) {
      Dispatch(client, packet, kNoAttachments);
      return;
    }
    client.assembly = std::make_unique<Client::Assembly>();
    client.assembly->text = message;
    client.assembly->wanted = static_cast<size_t>(packet.attachments);
    return;
  }
  if (!client.assembly) {
    Break(client);
    return;
  }
  client.assembly->attachments.emplace_back(message);
  if (client.assembly->attachments.size() < client.assembly->wanted) return;
  const std::unique_ptr<Client::Assembly> whole = std::move(client.assembly);
  if (ParsePacket(whole->text, packet, elements_)) Dispatch(client, packet, whole->attachments);
}

void Hub::Dispatch(Client& client, const Packet& packet, const std::vector<std::string>& attachments) {
  if (packet.type == PacketType::kConnect) {
    Connect(client, packet.name_space, packet.data);
    return;
  }
  Socket* socket = nullptr;
  for (Socket* each = client.first; each != nullptr; each = each->next) {
    if (options_.namespaces[each->name_space] == packet.name_space) socket = each;
  }
  if (socket == nullptr || packet.type == PacketType::kConnectError) {
    Break(client);
    return;
  }
  switch (packet.type) {
    case PacketType::kDisconnect:
      Remove(*socket, CloseReason::kClient, false);
      return;
    case PacketType::kEvent:
    case PacketType::kBinaryEvent: {
      counters_.events_in.Add(1);
      std::string_view name = elements_[0];
      if (name[0] == '"') name = name.substr(1, name.size() - 2);
      const Event event{.name = name,
                        .elements = &elements_,
                        .attachments = &attachments,
                        .id = packet.id,
                        .array = packet.data};
      application_.OnEvent(*socket, event);
      return;
    }
    case PacketType::kAck:
    case PacketType::kBinaryAck: {
      counters_.acks_in.Add(1);
      application_.OnAck(*socket, packet.id, packet.data);
      return;
    }
    default:
      return;
  }
}

void Hub::Connect(Client& client, std::string_view name_space, std::string_view auth) {
  if (client.session->protocol == 3) name_space = name_space.substr(0, name_space.find('?'));
  const auto found = std::find(options_.namespaces.begin(), options_.namespaces.end(), name_space);
  if (found == options_.namespaces.end()) {
    text_.clear();
    AppendHead(text_, PacketType::kConnectError, 0, name_space, -1);
    text_ += client.session->protocol == 3 ? R"("Invalid namespace")" : R"({"message":"Invalid namespace"})";
    engine_.Send(*client.session, MakeFrame(FrameKind::kText, text_));
    return;
  }
  const auto index = static_cast<uint16_t>(found - options_.namespaces.begin());
  if (Find(client, index) != nullptr) {
    // Socket.IO 2 clients are in the main one already, and some ask all the same.
    if (client.session->protocol != 3) Break(client);
    return;
  }
  const std::string refusal = application_.Refusal(index, auth);
  if (!refusal.empty()) {
    text_.clear();
    AppendHead(text_, PacketType::kConnectError, 0, name_space, -1);
    text_ += client.session->protocol == 3 ? json::Quoted(refusal)
                                           : R"({"message":)" + json::Quoted(refusal) + "}";
    engine_.Send(*client.session, MakeFrame(FrameKind::kText, text_));
    return;
  }
  if (options_.recovery && !auth.empty()) {
    const auto pid = json::Member(auth, "pid"), offset = json::Member(auth, "offset");
    const auto pid_text = pid ? json::ReadString(*pid) : std::nullopt;
    const auto offset_text = offset ? json::ReadString(*offset) : std::nullopt;
    if (pid_text && offset_text) {
      Restored room;
      Restored* restored = FindSaved(*pid_text, *offset_text, room);
      if (restored == nullptr && engine_.options().shards > 1) {
        engineio::SessionId own{.shard = engine_.options().shard, .slot = client.session->slot, .secret = {}};
        std::memcpy(own.secret, client.session->secret, sizeof own.secret);
        application_.AskForSaved(*pid_text, *offset_text, own, index, std::string(auth));
        return;
      }
      if (restored == nullptr) counters_.not_recovered.Add(1);
      FinishConnect(client, index, auth, restored);
      return;
    }
  }
  FinishConnect(client, index, auth, nullptr);
}

void Hub::OnSaved(const engineio::SessionId& id, uint16_t name_space, std::string_view auth,
                  Restored* restored) {
  Session* session = engine_.Find(id);
  if (session == nullptr || !session->open()) return;
  Client& client = *static_cast<Client*>(session->client);
  if (restored == nullptr) counters_.not_recovered.Add(1);
  if (Find(client, name_space) == nullptr) FinishConnect(client, name_space, auth, restored);
}

void Hub::FinishConnect(Client& client, uint16_t name_space, std::string_view auth, Restored* restored) {
  const auto [socket, slot] = sockets_.Make();
  socket->client = &client;
  socket->slot = slot;
  socket->name_space = static_cast<uint8_t>(name_space);
  socket->next = client.first;
  client.first = socket;
  counters_.sockets.Add(1);
  if (restored != nullptr) {
    std::memcpy(socket->id, restored->saved.id.data(), sizeof socket->id);
    counters_.recovered.Add(1);
  } else {
    engineio::FillRandom(socket->id, sizeof socket->id);
  }
  if (client.wait != nullptr) {
    engine_.loop().timers().Clear(*client.wait);
    waits_.Free(std::exchange(client.wait, nullptr)->slot);
  }
  text_.clear();
  AppendHead(text_, PacketType::kConnect, 0, options_.namespaces[name_space], -1);
  if (client.session->protocol != 3) {
    text_ += R"({"sid":")" + IdOf(*socket) + '"';
    if (options_.recovery) text_ += R"(,"pid":")" + PidOf(*socket) + '"';
    text_ += '}';
  }
  engine_.Send(*client.session, MakeFrame(FrameKind::kText, text_));
  if (restored != nullptr) {
    const Saved& saved = restored->saved;
    if (!saved.device.empty()) socket->device = std::make_unique<std::string>(saved.device);
    if (!saved.user_id.empty()) registry_.Bind(*socket, saved.user_id, saved.user_name);
    for (const std::string& key : saved.rooms) registry_.Join(*socket, key);
    for (const std::string& packet : restored->packets) {
      engine_.Send(*client.session, MakeFrame(FrameKind::kText, packet));
    }
  }
  application_.OnConnect(*socket, auth, restored != nullptr);
}

FrameRef Hub::MakeEvent(uint16_t name_space, std::string_view name, std::string_view arguments,
                        int64_t ack_id, bool droppable, std::string_view key, int attachments) {
  text_.clear();
  AppendHead(text_, attachments > 0 ? PacketType::kBinaryEvent : PacketType::kEvent, attachments,
             options_.namespaces[name_space], ack_id);
  text_ += '[';
  json::AppendQuoted(text_, name);
  if (!arguments.empty()) {
    text_ += ',';
    text_ += arguments;
  }
  const bool keep = options_.recovery && !key.empty() && !droppable && ack_id < 0 && attachments == 0;
  if (keep) {
    char number[24];
    text_ += R"(,")";
    text_.append(number, std::to_chars(number, number + sizeof number, next_number_).ptr);
    text_ += '"';
  }
  text_ += ']';
  FrameRef packet = MakeFrame(FrameKind::kText, text_, droppable);
  if (keep) {
    kept_bytes_ += packet->size + key.size() + sizeof(Kept);
    kept_.push_back({next_number_++, engine_.loop().now(), name_space, std::string(key), packet});
    while (kept_bytes_ > options_.recovery_bytes) {
      kept_bytes_ -= kept_.front().packet->size + kept_.front().key.size() + sizeof(Kept);
      kept_.pop_front();
    }
  }
  return packet;
}

bool Hub::Send(Socket& socket, const FrameRef& packet) {
  const bool sent = engine_.Send(*socket.client->session, packet);
  if (sent) counters_.events_out.Add(1);
  return sent;
}

void Hub::Emit(Socket& socket, std::string_view name, std::string_view arguments) {
  Send(socket, MakeEvent(socket.name_space, name, arguments));
}

void Hub::Acknowledge(Socket& socket, int64_t id, std::string_view arguments,
                      const std::vector<std::string>& attachments) {
  if (id < 0) return;
  text_.clear();
  AppendHead(text_, attachments.empty() ? PacketType::kAck : PacketType::kBinaryAck,
             static_cast<int>(attachments.size()), options_.namespaces[socket.name_space], id);
  text_ += '[';
  text_ += arguments;
  text_ += ']';
  counters_.acks_out.Add(1);
  Session& session = *socket.client->session;
  engine_.Send(session, MakeFrame(FrameKind::kText, text_));
  for (const std::string& bytes : attachments) engine_.Send(session, MakeFrame(FrameKind::kBinary, bytes));
}

void Hub::Disconnect(Socket& socket, bool close) {
  Client& client = *socket.client;
  text_.clear();
  AppendHead(text_, PacketType::kDisconnect, 0, options_.namespaces[socket.name_space], -1);
  engine_.Send(*client.session, MakeFrame(FrameKind::kText, text_));
  Remove(socket, CloseReason::kServer, false);
  if (close) engine_.Close(*client.session);
}

void Hub::Remove(Socket& socket, CloseReason reason, bool keep) {
  if (keep && options_.recovery && socket.client->session->protocol != 3) Save(socket);
  application_.OnDisconnect(socket, reason);
  registry_.LeaveAll(socket);
  Socket** link = &socket.client->first;
  while (*link != &socket) link = &(*link)->next;
  *link = socket.next;
  counters_.sockets.Add(-1);
  sockets_.Free(socket.slot);
}

void Hub::OnClosed(Session& session, CloseReason reason) {
  Client& client = *static_cast<Client*>(std::exchange(session.client, nullptr));
  if (client.wait != nullptr) {
    engine_.loop().timers().Clear(*client.wait);
    waits_.Free(client.wait->slot);
  }
  client.session = &session;
  while (client.first != nullptr) Remove(*client.first, reason, MayComeBack(reason));
  clients_.Free(client.slot);
}

std::string Hub::PidOf(const Socket& socket) const {
  const std::string_view id(reinterpret_cast<const char*>(socket.id), sizeof socket.id);
  const std::string digest = KeyedDigestHex(options_.secret, id);
  std::string bytes;
  for (size_t i = 0; i < 15; ++i) {
    unsigned byte = 0;
    std::from_chars(digest.data() + 2 * i, digest.data() + 2 * i + 2, byte, 16);
    bytes += static_cast<char>(byte);
  }
  return engineio::EncodeUrlSafe(bytes);
}

std::string Hub::KeyOf(const Socket& socket) const { return "s:" + IdOf(socket); }

void Hub::Save(Socket& socket) {
  if (saved_.size() >= options_.recovery_sockets) return;
  Saved saved{.id = {reinterpret_cast<const char*>(socket.id), sizeof socket.id},
              .user_id = {},
              .user_name = {},
              .device = socket.device ? *socket.device : std::string(),
              .rooms = {},
              .name_space = socket.name_space,
              .until = engine_.loop().now() + options_.recovery_keep};
  if (socket.user != nullptr) {
    saved.user_id = *socket.user->id;
    if (socket.user->name) saved.user_name = *socket.user->name;
  }
  for (const Member::Place& place : socket.rooms) saved.rooms.emplace_back(place.room->key);
  saved.rooms.push_back(EverybodyKey(socket.name_space));
  saved_[PidOf(socket)] = std::move(saved);
  counters_.saved.Add(1);
}

Restored* Hub::FindSaved(std::string_view pid, std::string_view offset, Restored& room) {
  const auto found = saved_.find(std::string(pid));
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(offset.data(), offset.data() + offset.size(), number);
  const bool good = error == std::errc() && end == offset.data() + offset.size();
  const bool known = found != saved_.end() && found->second.until > engine_.loop().now() && good &&
                     !kept_.empty() && number >= kept_.front().number && number < next_number_;
  if (!known) return nullptr;
  room.saved = std::move(found->second);
  saved_.erase(found);
  counters_.saved.Add(-1);
  std::string own = "s:" + engineio::EncodeUrlSafe(room.saved.id);
  const std::string user = UserKey(room.saved.user_id);
  for (const Kept& kept : kept_) {
    if (kept.number <= number || kept.name_space != room.saved.name_space) continue;
    const auto& rooms = room.saved.rooms;
    const bool meant = kept.key == own || (!room.saved.user_id.empty() && kept.key == user) ||
                       std::find(rooms.begin(), rooms.end(), kept.key) != rooms.end();
    if (meant) room.packets.emplace_back(kept.packet->payload());
  }
  std::erase_if(room.saved.rooms, [](const std::string& key) { return key[0] == '*'; });
  return &room;
}

void Hub::Trim() {
  const Time now = engine_.loop().now();
  if (now - trimmed_ < 1s) return;
  trimmed_ = now;
  while (!kept_.empty() && now - kept_.front().time > options_.recovery_keep) {
    kept_bytes_ -= kept_.front().packet->size + kept_.front().key.size() + sizeof(Kept);
    kept_.pop_front();
  }
  counters_.saved.Add(-static_cast<int64_t>(
      std::erase_if(saved_, [&](const auto& entry) { return entry.second.until <= now; })));
}

void Hub::Turn() {
  if (options_.recovery) Trim();
  engine_.Turn();
}

}  // namespace muster::push::socketio
