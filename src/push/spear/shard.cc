#include "push/spear/shard.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "push/spear/log.h"
#include "push/spear/shard_parts.h"

namespace muster::push {
namespace {

constexpr Duration kDrainStep = 50ms;

std::string BytesOf(const socketio::Socket& socket) {
  return {reinterpret_cast<const char*>(socket.id), sizeof socket.id};
}

}  // namespace

Shard::Shard(Node& node, uint8_t number)
    : node_(node),
      number_(number),
      loop_(LimitsOf(node.settings()), &node.addresses(), &node.tls()),
      hub_(loop_, EngineOptionsOf(node.settings(), number, ShardsOf(node.settings())),
           HubOptionsOf(node.settings(), node.recovery_secret()), *this),
      by_namespace_(node.settings().namespaces.size()) {
  loop_.SetHandler(kClients, &hub_.engine());
  loop_.SetHandler(kAdmin, this);
  if (node.settings().reference) {
    echo_ = std::make_unique<EchoSessions>(*this, hub_.engine().options());
    loop_.SetHandler(kEcho, &echo_->engine());
  }
  loop_.SetTurn([this] { Turn(); });
  loop_.SetTimer([this](TimerNode& timer) { OnTimer(timer); });
  loop_.SetNotice([this](const Notice& notice) { OnNotice(notice); });
  drain_timer_.kind = kTimerOfDrain;
}

Shard::~Shard() = default;

void Shard::OnNotice(const Notice& notice) {
  const auto write = [&](LogKind kind, std::string_view field, std::string what) {
    if (MayLog(kind)) LogOf(kind, {{field, std::move(what)}, {"address", loop_.PeerOf(notice.connection)}});
  };
  switch (notice.kind) {
    case Notice::Kind::kConnectionRefused:
      if (MayLog(LogKind::kConnectionRefused)) {
        LogOf(LogKind::kConnectionRefused,
              {{"limit", std::string(notice.what)},
               {"address",
                notice.from != nullptr ? AddressText(*notice.from) : loop_.PeerOf(notice.connection)}});
      }
      return;
    case Notice::Kind::kClientClosed:
      return write(LogKind::kClientClosed, "limit", std::string(notice.what));
    case Notice::Kind::kBadProtocol:
      return write(LogKind::kBadProtocol, "what", std::string(notice.what));
    case Notice::Kind::kSlowDropped:
    case Notice::Kind::kSlowClosed:
      break;
  }
  const LogKind kind =
      notice.kind == Notice::Kind::kSlowClosed ? LogKind::kSlowClosed : LogKind::kSlowDropped;
  if (!MayLog(kind)) return;
  // Who polls and has no request here has no address just now; whoever is at hand is the sender.
  const Connection* connection = notice.connection;
  std::string user;
  if (connection != nullptr && connection->handler == kClients && connection->owner != nullptr) {
    const auto* client =
        static_cast<const socketio::Client*>(static_cast<engineio::Session*>(connection->owner)->client);
    const socketio::Socket* first = client != nullptr ? client->first : nullptr;
    if (first != nullptr && first->user != nullptr) user = *first->user->id;
  }
  LogOf(kind, {{"address", connection != nullptr ? loop_.PeerOf(connection) : std::string()},
               {"user", std::move(user)},
               {"bytes", std::to_string(notice.bytes)}});
}

void Shard::Wake() { loop_.Wake(); }

void Shard::Post(std::function<void(Shard&)> call, size_t bytes) {
  Letter letter;
  letter.call = std::move(call);
  letter.bytes = bytes;
  if (bytes > 0) mailbox_bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  mailbox_.Put(std::move(letter), [this] { loop_.Wake(); });
}

void Shard::Post(std::shared_ptr<Parcel> parcel) {
  Letter letter;
  letter.bytes = sizeof(Letter) + BytesOfPublication(parcel->publication);
  letter.parcel = std::move(parcel);
  mailbox_bytes.fetch_add(static_cast<int64_t>(letter.bytes), std::memory_order_relaxed);
  mailbox_.Put(std::move(letter), [this] { loop_.Wake(); });
}

void Shard::Post(MovedConnection moved) {
  Letter letter;
  letter.moved = std::move(moved);
  mailbox_.Put(std::move(letter), [this] { loop_.Wake(); });
}

void Shard::Turn() {
  mailbox_.TakeAll([this](Letter& letter) {
    if (letter.parcel) {
      Deliver(letter.parcel->publication, letter.parcel->origin);
      letter.parcel->unread.fetch_sub(1, std::memory_order_release);
    } else if (letter.call) {
      letter.call(*this);
    } else {
      loop_.Adopt(std::move(letter.moved));
    }
    if (letter.bytes > 0) {
      mailbox_bytes.fetch_sub(static_cast<int64_t>(letter.bytes), std::memory_order_relaxed);
    }
  });
  hub_.Turn();
  if (echo_) echo_->engine().Turn();
  users.store(static_cast<int64_t>(hub_.registry().users()), std::memory_order_relaxed);
  rooms.store(static_cast<int64_t>(hub_.registry().rooms()), std::memory_order_relaxed);
}

void Shard::HandOver(uint8_t shard, MovedConnection moved) { node_.shard(shard).Post(std::move(moved)); }

void Shard::AskForSaved(socketio::Returning returning) {
  // Each shard writes its own; who asked reads when all have answered.
  auto found = std::make_shared<std::vector<socketio::Found>>(node_.size());
  auto shared = std::make_shared<socketio::Returning>(std::move(returning));
  const auto ask = [found, shared](Shard& asked, const Reply& reply) {
    (*found)[asked.number_] = asked.hub_.TakeOut(shared->wanted);
    reply({});
  };
  AskAll(ask, [this, found, shared](const Answer&) {
    shared->found = socketio::Together(std::move(*found));
    hub_.OnFound(std::move(*shared));
  });
}

// The shards must get the publications of this one in the order of their numbers, as it does itself.
void Shard::Publish(const Publication& publication, const socketio::Socket* except) {
  const socketio::Origin origin = hub_.NextOrigin(except);
  Deliver(publication, origin, except);
  if (node_.size() == 1) return;
  const std::shared_ptr<Parcel> parcel = parcels_.Fill(publication, node_.size() - 1, origin);
  for (size_t i = 0; i < node_.size(); ++i) {
    if (i != number_) node_.shard(i).Post(parcel);
  }
}

// The sockets of this shard that a target means, whatever their device, and in `key_` what they are known by
// to recovery; nullptr: none. Holds until the next call, or until somebody comes or goes.
const std::vector<Member*>* Shard::MeantBy(const Target& target) {
  Registry& registry = hub_.registry();
  found_.clear();
  key_.clear();
  switch (target.kind) {
    case Target::Kind::kUser:
      socketio::AppendUserKey(key_, target.id);
      if (const User* user = registry.FindUser(target.id)) {
        for (Member* member = user->first; member != nullptr; member = member->next_of_user) {
          found_.push_back(member);
        }
      }
      return &found_;
    case Target::Kind::kUsers:
      socketio::AppendUsersKey(key_, target.id);
      for (std::string_view left = target.id; !left.empty();) {
        const std::string_view id = left.substr(0, left.find('\0'));
        left.remove_prefix(std::min(left.size(), id.size() + 1));
        const User* user = registry.FindUser(id);
        for (Member* member = user != nullptr ? user->first : nullptr; member != nullptr;
             member = member->next_of_user) {
          found_.push_back(member);
        }
      }
      // Who was named twice gets it once.
      std::sort(found_.begin(), found_.end());
      found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
      return &found_;
    case Target::Kind::kGroup:
    case Target::Kind::kRoom: {
      if (target.kind == Target::Kind::kGroup) {
        socketio::AppendGroupKey(key_, target.id);
      } else {
        socketio::AppendRoomKey(key_, target.name_space, target.id);
      }
      const Room* room = registry.FindRoom(key_);
      return room != nullptr ? &room->members : nullptr;
    }
    case Target::Kind::kEverybody:
      socketio::AppendEverybodyKey(key_, target.name_space);
      hub_.ForEach([&](socketio::Socket& socket) {
        if (socket.name_space == target.name_space) found_.push_back(&socket);
      });
      return &found_;
    case Target::Kind::kSocket: {
      socketio::AppendSocketKey(key_, target.id);
      uint8_t id[engineio::kIdBytes];
      socketio::Socket* socket = engineio::DecodeId(target.id, id) ? hub_.FindSocket(id) : nullptr;
      if (socket != nullptr) found_.push_back(socket);
      return &found_;
    }
  }
  return nullptr;
}

int64_t Shard::Deliver(const Publication& publication, const socketio::Origin& origin, const Member* except,
                       int64_t ack, SocketIds* asked) {
  using socketio::Socket;
  const Target& target = publication.target;
  const std::vector<Member*>* members = MeantBy(target);
  const auto encode = [&](uint16_t name_space) {
    return hub_.MakeEvent(name_space, publication.event, publication.arguments, ack, publication.droppable,
                          target.device.empty() ? std::string_view(key_) : std::string_view{},
                          static_cast<int>(publication.attachments.size()), origin);
  };
  // Who is away gets it later, so it is kept even where nobody is there.
  const bool in_one = target.kind == Target::Kind::kRoom || target.kind == Target::Kind::kEverybody;
  if (hub_.options().recovery) {
    const auto namespaces = static_cast<uint16_t>(by_namespace_.size());
    for (uint16_t i = 0; i < namespaces; ++i) {
      if (!in_one || i == target.name_space) by_namespace_[i] = encode(i);
    }
    hub_.recovery().Reach(origin);
  }
  int64_t delivered = 0;
  const bool users_only = hub_.options().users_only;
  const auto attachments = socketio::FramesOf(publication.attachments, publication.droppable);
  if (members != nullptr) {
    for (Member* member : *members) {
      Socket& socket = static_cast<Socket&>(*member);
      if (member == except) continue;
      if (socket.user == nullptr && users_only && !publication.for_strangers) continue;
      if (!target.device.empty() && (!socket.device || *socket.device != target.device)) continue;
      FrameRef& packet = by_namespace_[socket.name_space];
      if (!packet) packet = encode(socket.name_space);
      if (publication.droppable && !engineio::Engine::Writable(*socket.client->session)) continue;
      if (!hub_.Send(socket, packet, attachments)) continue;
      if (asked != nullptr) asked->insert(BytesOf(socket));
      ++delivered;
    }
  }
  for (FrameRef& packet : by_namespace_) packet = FrameRef();
  return delivered;
}

void Shard::AskAll(std::function<void(Shard&, Reply)> ask, std::function<void(Answer)> done, size_t bytes) {
  struct Gathering {
    size_t left;
    Answer answer;
    std::function<void(Answer)> done;
  };
  // Only this shard's thread touches it.
  auto gathering = std::make_shared<Gathering>(Gathering{node_.size(), {}, std::move(done)});
  const auto take = [gathering](Answer answer) {
    Answer& all = gathering->answer;
    all.count += answer.count;
    all.acknowledged += answer.acknowledged;
    all.left_out += answer.left_out;
    std::move(answer.texts.begin(), answer.texts.end(), std::back_inserter(all.texts));
    if (--gathering->left == 0) gathering->done(std::move(all));
  };
  const uint8_t asking = number_;
  for (size_t i = 0; i < node_.size(); ++i) {
    if (i == number_) continue;
    const auto letter = [ask, take, asking](Shard& asked) {
      Node& node = asked.node_;
      ask(asked, [take, asking, &node](Answer answer) {
        node.shard(asking).Post(
            [take, answer = std::move(answer)](Shard&) mutable { take(std::move(answer)); });
      });
    };
    node_.shard(i).Post(letter, bytes);
  }
  ask(*this, take);
}

void Shard::DeliverWithAck(const Publication& publication, Duration timeout, BytesLeft bytes_left,
                           Reply reply) {
  auto pending = std::make_unique<PendingAck>();
  pending->kind = kTimerOfAck;
  pending->id = hub_.NextAckId();
  pending->reply = std::move(reply);
  pending->bytes_left = std::move(bytes_left);
  pending->answer.count = Deliver(publication, {}, nullptr, pending->id, &pending->asked);
  if (pending->asked.empty()) {
    pending->reply(std::move(pending->answer));
    return;
  }
  loop_.timers().Set(*pending, loop_.now() + timeout);
  const int64_t id = pending->id;
  acks_[id] = std::move(pending);
}

void Shard::OnAck(socketio::Socket& socket, int64_t id, std::string_view arguments,
                  const std::vector<std::string>& attachments) {
  const auto found = acks_.find(id);
  if (found == acks_.end()) return;  // late, or never asked for
  PendingAck& pending = *found->second;
  if (pending.asked.erase(BytesOf(socket)) == 0) return;  // not asked, or heard already
  ++pending.answer.acknowledged;
  size_t bytes = sizeof(std::string) + arguments.size();
  for (const std::string& attachment : attachments) bytes += attachment.size() / 3 * 4 + 20;
  const auto taken = static_cast<int64_t>(bytes);
  if (pending.bytes_left->fetch_sub(taken, std::memory_order_relaxed) >= taken) {
    pending.answer.texts.push_back(WithAttachments(arguments, attachments));
  } else {
    pending.bytes_left->fetch_add(taken, std::memory_order_relaxed);  // a smaller one may fit
    ++pending.answer.left_out;
    answers_left_out.Add(1);
  }
  if (pending.asked.empty()) EndAck(pending);
}

void Shard::EndAck(PendingAck& pending) {
  loop_.timers().Clear(pending);
  const auto node = acks_.extract(pending.id);
  pending.reply(std::move(pending.answer));
}

void Shard::OnTimer(TimerNode& timer) {
  switch (timer.kind) {
    case kTimerOfAck:
      EndAck(static_cast<PendingAck&>(timer));
      return;
    case kTimerOfEcho:
      echo_->engine().OnTimer(timer);
      return;
    case kTimerOfDrain:
      break;
    default:
      hub_.OnTimer(timer);
      return;
  }
  if (drain_size_ == 0) {
    node_.OnDrained();
    return;
  }
  // As many as are due by now.
  const auto gone = static_cast<double>((loop_.now() - drain_began_ + kDrainStep).count());
  const double share =
      drain_over_.count() == 0 ? 1 : std::min(1.0, gone / static_cast<double>(drain_over_.count()));
  // Rounded up, so that the last has all of the time.
  const auto keep = static_cast<size_t>(std::ceil(static_cast<double>(drain_size_) * (1 - share)));
  while (to_drain_.size() > keep) {
    engineio::Session* session = hub_.engine().Find(to_drain_.back());
    to_drain_.pop_back();
    if (session != nullptr) hub_.engine().Close(*session);
  }
  const bool over = to_drain_.empty();
  if (over) drain_size_ = 0;
  // After the last, time for them to take it.
  loop_.timers().Set(drain_timer_, loop_.now() + (over ? Duration(300) : kDrainStep));
}

void Shard::Drain(Duration over, const std::string& elsewhere) {
  hub_.engine().RefuseNew();
  std::string arguments =
      "{\"elsewhere\":" + json::Quoted(elsewhere) + ",\"withinMs\":" + std::to_string(over.count()) + "}";
  const auto namespaces = static_cast<uint16_t>(by_namespace_.size());
  for (uint16_t i = 0; i < namespaces; ++i) {
    Deliver({.target = {.kind = Target::Kind::kEverybody, .id = {}, .device = {}, .name_space = i},
             .event = "drain",
             .arguments = arguments,
             .attachments = {},
             .droppable = false,
             .for_strangers = true},
            {});
  }
  hub_.engine().ForEach([this](engineio::Session& session) {
    engineio::SessionId id;
    engineio::ParseSessionId(hub_.engine().IdOf(session), id);
    to_drain_.push_back(id);
  });
  drain_size_ = to_drain_.size();
  drain_began_ = loop_.now();
  drain_over_ = over;
  loop_.timers().Set(drain_timer_, loop_.now() + Duration(4));
}

int64_t Shard::Kick(const Target& target, const std::string& group, const socketio::Origin& kick) {
  std::vector<socketio::Socket*> meant;
  if (const std::vector<Member*>* members = MeantBy(target)) {
    for (Member* member : *members) {
      auto& socket = static_cast<socketio::Socket&>(*member);
      if (!target.device.empty() && (!socket.device || *socket.device != target.device)) continue;
      meant.push_back(&socket);
    }
  }
  hub_.recovery().Kick(kick,
                       [target, group](socketio::Saved& saved) { return KickAway(target, group, saved); });
  int64_t count = 0;
  // Connections end when all have left: one that ends takes its other sockets along, and these may be meant,
  // too.
  std::vector<engineio::Session*> ending;
  for (socketio::Socket* socket : meant) {
    if (group.empty()) {
      ending.push_back(socket->client->session);
      hub_.Emit(*socket, "kicked", "{}");
      hub_.Disconnect(*socket, false);
      ++count;
    } else if (hub_.registry().IsIn(*socket, socketio::GroupKey(group))) {
      TellPresence(*socket, group, "leave");
      hub_.registry().Leave(*socket, socketio::GroupKey(group));
      hub_.Emit(*socket, "kicked", "{\"groupId\":" + json::Quoted(group) + "}");
      ++count;
    }
  }
  for (engineio::Session* session : ending) hub_.engine().Close(*session);
  return count;
}

bool Shard::OnOtherRequest(Connection& connection, const http::Request& request) {
  if (!echo_) return false;
  if (request.path == "/echo" && http::Names(request.connection, "upgrade")) {
    const std::string accept = websocket::AcceptKey(request.websocket_key);
    if (accept.empty()) return false;
    loop_.Upgrade(connection, accept, "");
    return true;
  }
  if (request.path != "/engine.io/" && request.path != "/engine.io") return false;
  connection.handler = kEcho;
  echo_->engine().OnRequest(connection, request);
  return true;
}

void Shard::OnOtherMessage(Connection& connection, bool binary, std::string_view message) {
  if (echo_) loop_.Send(connection, MakeFrame(binary ? FrameKind::kBinary : FrameKind::kText, message));
}

}  // namespace muster::push
