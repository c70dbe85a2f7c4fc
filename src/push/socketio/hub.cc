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
      recovery_({.shard = engine_.options().shard,
                 .shards = engine_.options().shards,
                 .keep = options_.recovery_keep,
                 .bytes = options_.recovery_bytes,
                 .sockets = options_.recovery_sockets}),
      trimmed_(loop.now()) {}

void Hub::OnOpen(Session& session) {
  const auto [client, slot] = clients_.Make();
  client->session = &session;
  client->slot = slot;
  session.client = client;
  SetWait(*client, options_.connect_timeout);
  if (session.protocol == 3) Connect(*client, "/", {});  // Socket.IO 2 is in the main namespace at once
}

void Hub::SetWait(Client& client, Duration time) {
  const auto [wait, slot] = waits_.Make();
  wait->kind = kTimerOfOther;
  wait->client = &client;
  wait->slot = slot;
  client.wait = wait;
  engine_.loop().timers().Set(*wait, engine_.loop().now() + time);
}

void Hub::EndWait(Client& client) {
  if (client.wait == nullptr) return;
  engine_.loop().timers().Clear(*client.wait);
  waits_.Free(std::exchange(client.wait, nullptr)->slot);
}

void Hub::OnTimer(TimerNode& node) {
  if (node.kind == kTimerOfSession) {
    engine_.OnTimer(node);
    return;
  }
  const Client::Wait& wait = static_cast<Client::Wait&>(node);
  Client& client = *wait.client;
  if (wait.for_user) {
    counters_.no_user.Add(1);
    engine_.loop().Notify({.kind = Notice::Kind::kClientClosed,
                           .what = "auth.timeout",
                           .connection = client.session->transport});
    // Told so, a client doesn't come back at once by itself.
    while (client.first != nullptr) Disconnect(*client.first, false);
  }
  engine_.Close(*client.session);
}

void Hub::Bind(Socket& socket, std::string_view user_id, std::string_view user_name) {
  registry_.Bind(socket, user_id, user_name);
  Client& client = *socket.client;
  for (const Socket* each = client.first; each != nullptr; each = each->next) {
    if (each->user == nullptr) return;
  }
  EndWait(client);
}

Socket* Hub::Find(const Client& client, uint16_t name_space) {
  for (Socket* socket = client.first; socket != nullptr; socket = socket->next) {
    if (socket->name_space == name_space) return socket;
  }
  return nullptr;
}

void Hub::Break(Client& client) {
  counters_.bad_packets.Add(1);
  engine_.loop().Notify({.kind = Notice::Kind::kBadProtocol, .what = "a bad Socket.IO packet"});
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
  engine_.loop().Notify({.kind = Notice::Kind::kClientClosed, .what = "limits.packets_per_second"});
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
  if (!ParsePacket(whole->text, packet, elements_) ||
      !json::PlacesAreWithin(packet.data, whole->attachments.size())) {
    Break(client);
    return;
  }
  Dispatch(client, packet, whole->attachments);
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
      application_.OnAck(*socket, packet.id, packet.data, attachments);
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
      ComeBack(client, index, auth, *pid_text, *offset_text);
      return;
    }
  }
  FinishConnect(client, index, auth);
}

void Hub::ComeBack(Client& client, uint16_t name_space, std::string_view auth, const std::string& pid,
                   std::string_view offset_text) {
  const auto offset = ParseOffset(offset_text, engine_.options().shards);
  if (!offset) {
    counters_.not_recovered.Add(1);
    FinishConnect(client, name_space, auth);
    return;
  }
  Returning returning{
      .session = {.shard = engine_.options().shard, .slot = client.session->slot, .secret = {}},
      .auth = std::string(auth),
      .pid = pid,
      .wanted = {.id = IdFor(pid), .name_space = name_space, .offset = *offset},
      .found = {},
      .asking = 0};
  std::memcpy(returning.session.secret, client.session->secret, sizeof returning.session.secret);
  EndOld(returning.wanted);
  if (engine_.options().shards > 1 && !recovery_.KnowsAll(returning.wanted)) {
    returning.asking = recovery_.BeginAsking();
    application_.AskForSaved(std::move(returning));
    return;
  }
  returning.found = recovery_.Find(returning.wanted, engine_.loop().now());
  OnFound(std::move(returning));
}

Found Hub::TakeOut(const Wanted& wanted) {
  EndOld(wanted);
  return recovery_.Find(wanted, engine_.loop().now());
}

// It is kept as if its connection had ended, which the client knows better. Should somebody read there still,
// it is told not to come back by itself, so that two with one `pid` don't put each other out for ever.
void Hub::EndOld(const Wanted& wanted) {
  uint8_t id[engineio::kIdBytes];
  std::memcpy(id, wanted.id.data(), sizeof id);
  Socket* socket = by_id_.Find(id);
  if (socket == nullptr || socket->name_space != wanted.name_space) return;
  Session& session = *socket->client->session;
  if (engine_.IsTooSlow(session)) return;
  counters_.taken_over.Add(1);
  SayGoodbye(*socket);
  Remove(*socket, CloseReason::kServer, true);
  engine_.Close(session);
}

void Hub::OnFound(Returning returning) {
  if (returning.asking != 0) recovery_.EndAsking(returning.asking, returning.found);
  Session* session = engine_.Find(returning.session);
  const bool there = session != nullptr && session->open();
  Client* client = there ? static_cast<Client*>(session->client) : nullptr;
  const uint16_t name_space = returning.wanted.name_space;
  const bool wants = there && Find(*client, name_space) == nullptr;
  if (wants && recovery_.MayReturn(returning.wanted, returning.found)) {
    FinishConnect(*client, name_space, returning.auth, &returning);
    return;
  }
  // It may come yet another time.
  if (returning.found.saved) recovery_.Save(std::move(*returning.found.saved));
  if (there) counters_.not_recovered.Add(1);
  if (wants) FinishConnect(*client, name_space, returning.auth);
}

void Hub::FinishConnect(Client& client, uint16_t name_space, std::string_view auth,
                        const Returning* returning) {
  const auto [socket, slot] = sockets_.Make();
  socket->client = &client;
  socket->slot = slot;
  socket->name_space = static_cast<uint8_t>(name_space);
  socket->next = client.first;
  client.first = socket;
  counters_.sockets.Add(1);
  std::string pid;
  if (returning != nullptr) {
    pid = returning->pid;
    std::memcpy(socket->id, returning->found.saved->id.data(), sizeof socket->id);
    counters_.recovered.Add(1);
  } else {
    engineio::FillRandom(socket->id, sizeof socket->id);
    if (options_.recovery && client.session->protocol != 3) {
      pid = IdOf(*socket);
      std::memcpy(socket->id, IdFor(pid).data(), sizeof socket->id);
    }
  }
  by_id_.Add(*socket);
  // One that says who it is in time says so in all its namespaces.
  if (client.wait != nullptr && !client.wait->for_user) EndWait(client);
  if (options_.users_only && client.wait == nullptr) {
    SetWait(client, options_.user_timeout);
    client.wait->for_user = true;
  }
  text_.clear();
  AppendHead(text_, PacketType::kConnect, 0, options_.namespaces[name_space], -1);
  if (client.session->protocol != 3) {
    text_ += R"({"sid":")" + IdOf(*socket) + '"';
    if (!pid.empty()) text_ += R"(,"pid":")" + pid + '"';
    text_ += '}';
  }
  engine_.Send(*client.session, MakeFrame(FrameKind::kText, text_));
  if (returning != nullptr) {
    const Saved& saved = *returning->found.saved;
    if (!saved.device.empty()) socket->device = std::make_unique<std::string>(saved.device);
    if (!saved.user_id.empty()) Bind(*socket, saved.user_id, saved.user_name);
    for (const std::string& key : saved.rooms) {
      if (key != EverybodyKey(name_space)) registry_.Join(*socket, key);
    }
    for (const std::string& packet : recovery_.Missed(returning->wanted, returning->found)) {
      engine_.Send(*client.session, MakeFrame(FrameKind::kText, packet));
    }
  }
  application_.OnConnect(*socket, auth, returning != nullptr);
}

Origin Hub::NextOrigin(const Socket* except) {
  Origin origin{.number = ++last_publication_, .publisher = engine_.options().shard, .except = {}};
  if (except != nullptr) std::memcpy(origin.except.data(), except->id, origin.except.size());
  return origin;
}

FrameRef Hub::MakeEvent(uint16_t name_space, std::string_view name, std::string_view arguments,
                        int64_t ack_id, bool droppable, std::string_view key, int attachments,
                        const Origin& origin) {
  text_.clear();
  AppendHead(text_, attachments > 0 ? PacketType::kBinaryEvent : PacketType::kEvent, attachments,
             options_.namespaces[name_space], ack_id);
  text_ += '[';
  json::AppendQuoted(text_, name);
  if (!arguments.empty()) {
    text_ += ',';
    text_ += arguments;
  }
  const bool keep =
      options_.recovery && origin.number > 0 && !key.empty() && !droppable && ack_id < 0 && attachments == 0;
  if (keep) {
    text_ += R"(,")";
    recovery_.AppendNext(text_);
    text_ += '"';
  }
  text_ += ']';
  FrameRef packet = MakeFrame(FrameKind::kText, text_, droppable);
  if (keep) recovery_.Keep(origin, name_space, key, packet, engine_.loop().now());
  return packet;
}

std::vector<FrameRef> FramesOf(const std::vector<std::string>& attachments, bool droppable) {
  std::vector<FrameRef> frames;
  for (const std::string& bytes : attachments) {
    frames.push_back(MakeFrame(FrameKind::kBinary, bytes, droppable));
  }
  return frames;
}

bool Hub::Send(Socket& socket, const FrameRef& packet, std::span<const FrameRef> attachments) {
  const bool sent = engine_.Send(*socket.client->session, packet, attachments);
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
  const std::vector<FrameRef> bytes = FramesOf(attachments);
  engine_.Send(*socket.client->session, MakeFrame(FrameKind::kText, text_), bytes);
}

void Hub::SayGoodbye(const Socket& socket) {
  text_.clear();
  AppendHead(text_, PacketType::kDisconnect, 0, options_.namespaces[socket.name_space], -1);
  engine_.Send(*socket.client->session, MakeFrame(FrameKind::kText, text_));
}

void Hub::Disconnect(Socket& socket, bool close) {
  Client& client = *socket.client;
  SayGoodbye(socket);
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
  by_id_.Remove(socket);
  sockets_.Free(socket.slot);
}

void Hub::OnClosed(Session& session, CloseReason reason) {
  Client& client = *static_cast<Client*>(std::exchange(session.client, nullptr));
  EndWait(client);
  client.session = &session;
  while (client.first != nullptr) Remove(*client.first, reason, MayComeBack(reason));
  clients_.Free(client.slot);
}

// Who knows a socket's id, as others may, doesn't know what it is made of; and who has that finds the socket.
std::string Hub::IdFor(std::string_view pid) const {
  const std::string digest = KeyedDigestHex(options_.secret, pid);
  std::string bytes;
  for (size_t i = 0; i < engineio::kIdBytes; ++i) {
    unsigned byte = 0;
    std::from_chars(digest.data() + 2 * i, digest.data() + 2 * i + 2, byte, 16);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

void Hub::Save(Socket& socket) {
  if (options_.users_only && socket.user == nullptr) return;  // or it would get what it was kept from
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
  recovery_.Save(std::move(saved));
}

void Hub::Trim() {
  const Time now = engine_.loop().now();
  if (now - trimmed_ < 1s) return;
  trimmed_ = now;
  recovery_.Trim(now);
}

void Hub::Turn() {
  if (options_.recovery) {
    Trim();
    counters_.saved.Set(static_cast<int64_t>(recovery_.saved()));
  }
  engine_.Turn();
}

}  // namespace muster::push::socketio
