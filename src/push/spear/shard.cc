#include "push/spear/shard.h"

#include <algorithm>

#include "push/spear/log.h"
#include "push/spear/shard_parts.h"

namespace muster::push {
namespace {

constexpr Duration kDrainStep = 50ms;

}  // namespace

Shard::Shard(Node& node, uint8_t number)
    : node_(node),
      number_(number),
      loop_(LimitsOf(node.settings(), ShardsOf(node.settings())), &node.addresses(), &node.tls()),
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
  drain_timer_.kind = kTimerOfDrain;
}

Shard::~Shard() = default;

void Shard::Wake() { loop_.Wake(); }

void Shard::Post(std::function<void(Shard&)> call) {
  Letter letter;
  letter.call = std::move(call);
  mailbox_.Put(std::move(letter), [this] { loop_.Wake(); });
}

void Shard::Post(std::shared_ptr<const Publication> publication) {
  Letter letter;
  letter.publication = std::move(publication);
  mailbox_.Put(std::move(letter), [this] { loop_.Wake(); });
}

void Shard::Post(MovedConnection moved) {
  Letter letter;
  letter.moved = std::move(moved);
  mailbox_.Put(std::move(letter), [this] { loop_.Wake(); });
}

void Shard::Turn() {
  mailbox_.TakeAll([this](Letter& letter) {
    if (letter.publication) {
      Deliver(*letter.publication, nullptr);
    } else if (letter.call) {
      letter.call(*this);
    } else {
      loop_.Adopt(std::move(letter.moved));
    }
  });
  hub_.Turn();
  if (echo_) echo_->engine().Turn();
  users.store(static_cast<int64_t>(hub_.registry().users()), std::memory_order_relaxed);
  rooms.store(static_cast<int64_t>(hub_.registry().rooms()), std::memory_order_relaxed);
}

void Shard::HandOver(uint8_t shard, MovedConnection moved) { node_.shard(shard).Post(std::move(moved)); }

void Shard::AskForSaved(const std::string& pid, const std::string& offset, engineio::SessionId session,
                        uint16_t name_space, const std::string& auth) {
  const uint8_t own = number_;
  auto found = std::make_shared<socketio::Restored>();
  const auto ask = [=](Shard& asked, const Reply& reply) {
    Answer answer;
    // At most one has it, so that no two write; who asked reads when all have answered.
    if (asked.number_ != own && asked.hub_.FindSaved(pid, offset, *found) != nullptr) answer.count = 1;
    reply(std::move(answer));
  };
  AskAll(ask, [=, this](const Answer& answer) {
    hub_.OnSaved(session, name_space, auth, answer.count > 0 ? found.get() : nullptr);
  });
}

void Shard::Publish(Publication publication, const Member* except) {
  Deliver(publication, except);
  if (node_.size() == 1) return;
  const auto shared = std::make_shared<const Publication>(std::move(publication));
  for (size_t i = 0; i < node_.size(); ++i) {
    if (i != number_) node_.shard(i).Post(shared);
  }
}

int64_t Shard::Deliver(const Publication& publication, const Member* except, int64_t ack) {
  using socketio::Socket;
  Registry& registry = hub_.registry();
  const Target& target = publication.target;
  const std::vector<Member*>* members = nullptr;
  found_.clear();
  std::string key;
  switch (target.kind) {
    case Target::Kind::kUser:
      if (const User* user = registry.FindUser(target.id)) {
        for (Member* member = user->first; member != nullptr; member = member->next_of_user) {
          found_.push_back(member);
        }
      }
      members = &found_;
      key = socketio::UserKey(target.id);
      break;
    case Target::Kind::kGroup:
      key = socketio::GroupKey(target.id);
      break;
    case Target::Kind::kRoom:
      key = socketio::RoomKey(target.name_space, target.id);
      break;
    case Target::Kind::kEverybody:
      key = socketio::EverybodyKey(target.name_space);
      break;
    case Target::Kind::kSocket:
      key = "s:" + target.id;
      break;
  }
  if (target.kind == Target::Kind::kGroup || target.kind == Target::Kind::kRoom) {
    if (Room* room = registry.FindRoom(key)) members = &room->members;
  } else if (target.kind == Target::Kind::kEverybody) {
    hub_.ForEach([&](Socket& socket) {
      if (socket.name_space == target.name_space) found_.push_back(&socket);
    });
    members = &found_;
  } else if (target.kind == Target::Kind::kSocket) {
    hub_.ForEach([&](Socket& socket) {
      if (hub_.IdOf(socket) == target.id) found_.push_back(&socket);
    });
    members = &found_;
  }
  const auto encode = [&](uint16_t name_space) {
    return hub_.MakeEvent(name_space, publication.event, publication.arguments, ack, publication.droppable,
                          target.device.empty() ? std::string_view(key) : std::string_view{},
                          static_cast<int>(publication.attachments.size()));
  };
  // Who is away gets it later, so it is kept even where nobody is there.
  const bool in_one = target.kind == Target::Kind::kRoom || target.kind == Target::Kind::kEverybody;
  if (hub_.options().recovery) {
    const auto namespaces = static_cast<uint16_t>(by_namespace_.size());
    for (uint16_t i = 0; i < namespaces; ++i) {
      if (!in_one || i == target.name_space) by_namespace_[i] = encode(i);
    }
  }
  int64_t delivered = 0;
  std::vector<FrameRef> attachments;
  for (const std::string& bytes : publication.attachments) {
    attachments.push_back(MakeFrame(FrameKind::kBinary, bytes, publication.droppable));
  }
  if (members != nullptr) {
    for (Member* member : *members) {
      Socket& socket = static_cast<Socket&>(*member);
      if (member == except) continue;
      if (!target.device.empty() && (!socket.device || *socket.device != target.device)) continue;
      FrameRef& packet = by_namespace_[socket.name_space];
      if (!packet) packet = encode(socket.name_space);
      // A packet and its attachments go together or not at all.
      if (publication.droppable && !engineio::Engine::Writable(*socket.client->session)) continue;
      if (!hub_.Send(socket, packet)) continue;
      for (const FrameRef& bytes : attachments) hub_.engine().Send(*socket.client->session, bytes);
      ++delivered;
    }
  }
  for (FrameRef& packet : by_namespace_) packet = FrameRef();
  return delivered;
}

void Shard::AskAll(std::function<void(Shard&, Reply)> ask, std::function<void(Answer)> done) {
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
    std::move(answer.texts.begin(), answer.texts.end(), std::back_inserter(all.texts));
    if (--gathering->left == 0) gathering->done(std::move(all));
  };
  const uint8_t asking = number_;
  for (size_t i = 0; i < node_.size(); ++i) {
    if (i == number_) continue;
    node_.shard(i).Post([ask, take, asking](Shard& asked) {
      Node& node = asked.node_;
      ask(asked, [take, asking, &node](Answer answer) {
        node.shard(asking).Post(
            [take, answer = std::move(answer)](Shard&) mutable { take(std::move(answer)); });
      });
    });
  }
  ask(*this, take);
}

void Shard::DeliverWithAck(const Publication& publication, Duration timeout, Reply reply) {
  auto pending = std::make_unique<PendingAck>();
  pending->kind = kTimerOfAck;
  pending->id = hub_.NextAckId();
  pending->reply = std::move(reply);
  pending->wanted = pending->answer.count = Deliver(publication, nullptr, pending->id);
  if (pending->wanted == 0) {
    pending->reply(std::move(pending->answer));
    return;
  }
  loop_.timers().Set(*pending, loop_.now() + timeout);
  const int64_t id = pending->id;
  acks_[id] = std::move(pending);
}

void Shard::OnAck(socketio::Socket&, int64_t id, std::string_view arguments) {
  const auto found = acks_.find(id);
  if (found == acks_.end()) return;  // late, or never asked for
  PendingAck& pending = *found->second;
  pending.answer.texts.emplace_back(arguments);
  if (++pending.answer.acknowledged >= pending.wanted) EndAck(pending);
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
    drained_ = true;
    loop_.Stop();
    return;
  }
  // As many as are due by now.
  const auto gone = static_cast<double>((loop_.now() - drain_began_ + kDrainStep).count());
  const double share =
      drain_over_.count() == 0 ? 1 : std::min(1.0, gone / static_cast<double>(drain_over_.count()));
  const auto keep = static_cast<size_t>(static_cast<double>(drain_size_) * (1 - share));
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
             .droppable = true},
            nullptr);
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

int64_t Shard::Kick(const Target& target, std::string_view group) {
  std::vector<socketio::Socket*> meant;
  hub_.ForEach([&](socketio::Socket& socket) {
    bool hit = false;
    switch (target.kind) {
      case Target::Kind::kUser:
        hit = socket.user != nullptr && *socket.user->id == target.id &&
              (target.device.empty() || (socket.device && *socket.device == target.device));
        break;
      case Target::Kind::kGroup:
        hit = hub_.registry().IsIn(socket, socketio::GroupKey(target.id));
        break;
      case Target::Kind::kRoom:
        hit = hub_.registry().IsIn(socket, socketio::RoomKey(target.name_space, target.id));
        break;
      case Target::Kind::kEverybody:
        hit = socket.name_space == target.name_space;
        break;
      case Target::Kind::kSocket:
        hit = hub_.IdOf(socket) == target.id;
        break;
    }
    if (hit) meant.push_back(&socket);
  });
  int64_t count = 0;
  for (socketio::Socket* socket : meant) {
    if (group.empty()) {
      hub_.Emit(*socket, "kicked", "{}");
      hub_.Disconnect(*socket, true);
      ++count;
    } else if (hub_.registry().IsIn(*socket, socketio::GroupKey(group))) {
      TellPresence(*socket, group, "leave");
      hub_.registry().Leave(*socket, socketio::GroupKey(group));
      hub_.Emit(*socket, "kicked", "{\"groupId\":" + json::Quoted(group) + "}");
      ++count;
    }
  }
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
