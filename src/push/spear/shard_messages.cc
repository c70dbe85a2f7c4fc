// What clients ask a shard for.
#include <algorithm>

#include "push/spear/auth.h"
#include "push/spear/shard_parts.h"

namespace muster::push {
namespace {

using socketio::Event;
using socketio::Socket;

constexpr size_t kIdMost = 256;  // bytes of a user's, group's or room's name

// The event's argument: an object, or a string that holds one, as gru's clients send.
std::optional<std::string_view> ObjectOf(const Event& event, std::string& store) {
  std::string_view argument = event.argument(0);
  if (json::IsObject(argument)) return argument;
  auto text = json::ReadString(argument);
  if (!text || !json::IsValid(*text)) return std::nullopt;
  store = std::move(*text);
  argument = store;
  while (!argument.empty() && argument[0] <= ' ') argument.remove_prefix(1);
  if (!json::IsObject(argument)) return std::nullopt;
  return argument;
}

std::optional<std::string> IdMember(std::string_view object, std::string_view name) {
  const auto value = json::Member(object, name);
  if (!value) return std::nullopt;
  auto id = json::ReadId(*value);
  if (!id || id->size() > kIdMost) return std::nullopt;
  return id;
}

std::string TextMember(std::string_view object, std::string_view name) {
  const auto value = json::Member(object, name);
  return value ? json::ReadString(*value).value_or("") : "";
}

std::string GroupOf(const Room& room) { return std::string(room.key.substr(2)); }

std::string GroupsOf(const Socket& socket) {
  std::string groups = "[";
  for (const Member::Place& place : socket.rooms) {
    if (place.room->key.substr(0, 2) != "g:") continue;
    if (groups.size() > 1) groups += ',';
    json::AppendQuoted(groups, place.room->key.substr(2));
  }
  return groups + "]";
}

}  // namespace

void Shard::Result(Socket& socket, const Event& event, std::string_view name, int code,
                   std::string_view message, std::string_view data) {
  text_ = R"({"success":)";
  text_ += code == kOk ? "true" : "false";
  text_ += R"(,"errorCode":)" + std::to_string(code) + R"(,"msg":)";
  json::AppendQuoted(text_, message);
  text_ += R"(,"data":)";
  text_ += data;
  text_ += '}';
  if (event.id >= 0) {
    hub_.Acknowledge(socket, event.id, text_);
  } else {
    hub_.Emit(socket, name, text_);
  }
}

std::string Shard::WhyNotThem(std::string_view object, std::string& id, std::string& name,
                              std::string& device) const {
  const auto claimed = IdMember(object, "id");
  if (!claimed) return "id is missing";
  Claim claim{.id = *claimed,
              .name = TextMember(object, "name"),
              .app_type = IdMember(object, "appType").value_or(""),
              .token = TextMember(object, "token2"),
              .token_1 = TextMember(object, "token1")};
  if (claim.token.empty()) claim.token = TextMember(object, "token");
  id = claim.id;
  name = claim.name;
  device = IdMember(object, "device").value_or("");
  return WhyNot(claim, node_.settings(), WallNow());
}

std::string Shard::Refusal(uint16_t, std::string_view auth) {
  if (!json::IsObject(auth) || node_.settings().reference || !json::Member(auth, "id")) return {};
  std::string id, name, device;
  return WhyNotThem(auth, id, name, device);
}

void Shard::OnConnect(Socket& socket, std::string_view auth, bool recovered) {
  if (node_.settings().reference) {
    hub_.Emit(socket, "auth", auth.empty() ? "{}" : auth);
    return;
  }
  if (recovered) {
    for (const Member::Place& place : socket.rooms) {
      if (place.room->key.substr(0, 2) == "g:") TellPresence(socket, GroupOf(*place.room), "join");
    }
    return;
  }
  std::string id, name, device;
  if (json::IsObject(auth) && json::Member(auth, "id") && WhyNotThem(auth, id, name, device).empty()) {
    BindTo(socket, id, name, device);
  }
}

void Shard::BindTo(Socket& socket, const std::string& id, const std::string& name,
                   const std::string& device) {
  hub_.registry().Bind(socket, id, name);
  if (!device.empty()) socket.device = std::make_unique<std::string>(device);
}

void Shard::OnDisconnect(Socket& socket, engineio::CloseReason) {
  if (!node_.settings().presence || socket.user == nullptr) return;
  std::vector<std::string> groups;
  for (const Member::Place& place : socket.rooms) {
    if (place.room->key.substr(0, 2) == "g:") groups.push_back(GroupOf(*place.room));
  }
  for (const std::string& group : groups) TellPresence(socket, group, "leave");
}

void Shard::TellPresence(const Socket& socket, std::string_view group, std::string_view what) {
  if (!node_.settings().presence || socket.user == nullptr) return;
  const bool first_or_last = what == "join" ? node_.presence().Enter(group, *socket.user->id)
                                            : node_.presence().Leave(group, *socket.user->id);
  if (!first_or_last) return;
  std::string arguments = R"({"groupId":)" + json::Quoted(group) + R"(,"userId":)" +
                          json::Quoted(*socket.user->id) + R"(,"event":")" + std::string(what) + R"("})";
  Publish({.target = {.kind = Target::Kind::kGroup, .id = std::string(group), .device = {}, .name_space = 0},
           .event = "presence",
           .arguments = std::move(arguments),
           .attachments = {},
           .droppable = true},
          &socket);
}

void Shard::OnEvent(Socket& socket, const Event& event) {
  if (node_.settings().reference) return OnReferenceEvent(socket, event);
  if (event.name == "auth") return OnAuth(socket, event);
  if (node_.settings().auth_required && socket.user == nullptr) {
    return Result(socket, event, std::string(event.name) + "_result", kLogic, "auth comes first");
  }
  if (event.name == "msg") return OnMsg(socket, event);
  if (event.name == "echo") return hub_.Acknowledge(socket, event.id, event.Arguments(), *event.attachments);
  if (event.name == "subscribe") return OnSubscribe(socket, event, true);
  if (event.name == "unsubscribe") return OnSubscribe(socket, event, false);
  if (event.name == "online") return OnOnline(socket, event);
  const bool rooms = node_.settings().client_rooms;
  if (rooms && event.name == "join") return OnRoom(socket, event, true);
  if (rooms && event.name == "leave") return OnRoom(socket, event, false);
  if (rooms && event.name == "emit") return OnEmit(socket, event);
  if (event.id >= 0) Result(socket, event, "", kParameters, "no such event here");
}

void Shard::OnAuth(Socket& socket, const Event& event) {
  std::string store, id, name, device;
  const auto object = ObjectOf(event, store);
  if (!object) return Result(socket, event, "auth_result", kParameters, "an object with id is wanted");
  const std::string why = WhyNotThem(*object, id, name, device);
  if (!why.empty()) {
    Result(socket, event, "auth_result", kLogic, why);
    hub_.Disconnect(socket, true);
    return;
  }
  if (socket.user != nullptr && *socket.user->id != id) {
    return Result(socket, event, "auth_result", kLogic, "this connection is another user's already");
  }
  if (socket.user == nullptr) BindTo(socket, id, name, device);
  std::string data = R"({"id":)" + json::Quoted(id) + R"(,"socket":")" + hub_.IdOf(socket) + R"("})";
  Result(socket, event, "auth_result", kOk, "ok", data);
}

void Shard::OnSubscribe(Socket& socket, const Event& event, bool join) {
  const std::string_view name = join ? "subscribe_result" : "unsubscribe_result";
  std::string store;
  const auto object = ObjectOf(event, store);
  if (socket.user == nullptr) return Result(socket, event, name, kLogic, "auth comes first");
  const auto list = object ? json::Member(*object, join ? "subscribeGroups" : "groups") : std::nullopt;
  if (!list || !json::ReadArray(*list, elements_)) {
    return Result(socket, event, name, kParameters,
                  join ? "subscribeGroups is missing" : "groups is missing");
  }
  const auto user = IdMember(*object, "userId");
  if (user && *user != *socket.user->id) return Result(socket, event, name, kLogic, "userId is another user");
  std::vector<std::string> groups;
  for (const std::string_view element : elements_) {
    const auto id = json::IsObject(element) ? IdMember(element, "id") : json::ReadId(element);
    if (!id || id->size() > kIdMost)
      return Result(socket, event, name, kParameters, "a group's id is missing");
    groups.push_back(*id);
  }
  for (const std::string& group : groups) {
    const std::string key = socketio::GroupKey(group);
    if (!join) {
      if (!hub_.registry().IsIn(socket, key)) continue;
      TellPresence(socket, group, "leave");
      hub_.registry().Leave(socket, key);
      continue;
    }
    if (socket.rooms.size() >= static_cast<size_t>(node_.settings().groups_max)) {
      return Result(socket, event, name, kLogic, "too many groups");
    }
    if (hub_.registry().Join(socket, key)) TellPresence(socket, group, "join");
  }
  Result(socket, event, name, kOk, "ok", R"({"groups":)" + GroupsOf(socket) + "}");
}

void Shard::OnMsg(Socket& socket, const Event& event) {
  std::string store;
  const auto object = ObjectOf(event, store);
  if (socket.user == nullptr) return Result(socket, event, "msg_result", kLogic, "auth comes first");
  const auto target = object ? json::Member(*object, "target") : std::nullopt;
  const auto content = object ? json::Member(*object, "content") : std::nullopt;
  if (!target || !json::IsObject(*target) || !content) {
    return Result(socket, event, "msg_result", kParameters, "target or content is missing");
  }
  const auto type_text = json::Member(*object, "type");
  const int64_t type = type_text ? json::ReadInteger(*type_text).value_or(-1) : 0;
  std::vector<std::string> ids;
  if (type == 2) {
    const auto list = json::Member(*target, "ids");
    if (list && json::ReadArray(*list, elements_)) {
      for (const std::string_view element : elements_) {
        if (const auto id = json::ReadId(element)) ids.push_back(*id);
      }
    }
  } else if (const auto id = IdMember(*target, "id")) {
    ids.push_back(*id);
  }
  if (ids.empty() || ids.size() > 1000 || type < 0 || type > 2) {
    return Result(socket, event, "msg_result", kParameters,
                  "type is 0 (user), 1 (group) or 2 (users), with the target's id or ids");
  }
  const auto drop = json::Member(*object, "volatile");
  const int64_t now = WallNow().time_since_epoch().count();
  const std::string id = std::to_string(node_.ids().Next(static_cast<uint64_t>(now)));
  std::string arguments = R"({"id":")" + id + R"(","createTime":)" + std::to_string(now) + R"(,"fromId":)";
  json::AppendQuoted(arguments, *socket.user->id);
  arguments += R"(,"msgType":)" + std::to_string(type) + R"(,"target":)";
  arguments += *target;
  arguments += R"(,"content":)";
  arguments += *content;
  arguments += '}';
  const std::string device = IdMember(*target, "device").value_or("");
  for (const std::string& to : ids) {
    Publish({.target = {.kind = type == 1 ? Target::Kind::kGroup : Target::Kind::kUser,
                        .id = to,
                        .device = device,
                        .name_space = 0},
             .event = "msg",
             .arguments = arguments,
             .attachments = {},
             .droppable = drop && json::IsTrue(*drop)});
  }
  Result(socket, event, "msg_result", kOk, "ok",
         R"({"id":")" + id + R"(","createTime":)" + std::to_string(now) + "}");
}

void Shard::OnOnline(Socket& socket, const Event& event) {
  std::string store;
  std::string group;
  if (const auto object = ObjectOf(event, store)) {
    group = IdMember(*object, "groupId").value_or("");
  } else {
    group = json::ReadId(event.argument(0)).value_or("");
  }
  if (group.empty()) return Result(socket, event, "online_result", kParameters, "the group's id is missing");
  // The socket may be gone when all have answered.
  const std::string own = hub_.IdOf(socket);
  engineio::SessionId session;
  engineio::ParseSessionId(hub_.engine().IdOf(*socket.client->session), session);
  const int64_t ack = event.id;
  const auto ask = [group](Shard& shard, const Reply& reply) {
    Answer answer;
    if (Room* room = shard.hub_.registry().FindRoom(socketio::GroupKey(group))) {
      for (const Member* member : room->members) {
        if (member->user != nullptr) answer.texts.emplace_back(*member->user->id);
      }
    }
    reply(std::move(answer));
  };
  AskAll(ask, [this, group, own, session, ack](Answer answer) {
    engineio::Session* still = hub_.engine().Find(session);
    if (still == nullptr || !still->open()) return;
    for (Socket* each = static_cast<socketio::Client*>(still->client)->first; each != nullptr;
         each = each->next) {
      if (hub_.IdOf(*each) != own) continue;
      std::sort(answer.texts.begin(), answer.texts.end());
      answer.texts.erase(std::unique(answer.texts.begin(), answer.texts.end()), answer.texts.end());
      std::string data = R"({"groupId":)" + json::Quoted(group) + R"(,"userIds":[)";
      for (size_t i = 0; i < answer.texts.size(); ++i) {
        if (i > 0) data += ',';
        json::AppendQuoted(data, answer.texts[i]);
      }
      const std::vector<std::string_view> none;
      const Event to{.name = "online", .elements = &none, .attachments = nullptr, .id = ack, .array = {}};
      Result(*each, to, "online_result", kOk, "ok", data + "]}");
      return;
    }
  });
}

void Shard::OnRoom(Socket& socket, const Event& event, bool join) {
  const auto room = json::ReadId(event.argument(0));
  if (!room || room->size() > kIdMost) {
    return Result(socket, event, join ? "join_result" : "leave_result", kParameters,
                  "the room's name is missing");
  }
  const std::string key = socketio::RoomKey(socket.name_space, *room);
  if (join && socket.rooms.size() >= static_cast<size_t>(node_.settings().groups_max)) {
    return Result(socket, event, "join_result", kLogic, "too many rooms");
  }
  if (join) {
    hub_.registry().Join(socket, key);
  } else {
    hub_.registry().Leave(socket, key);
  }
  if (event.id >= 0) Result(socket, event, "", kOk, "ok");
}

// emit(room, event, …): to all others in a room one is in oneself.
void Shard::OnEmit(Socket& socket, const Event& event) {
  const auto room = json::ReadId(event.argument(0));
  const auto name = json::ReadString(event.argument(1));
  if (!room || !name || name->empty()) {
    return Result(socket, event, "emit_result", kParameters, "a room and an event's name are wanted");
  }
  if (!hub_.registry().IsIn(socket, socketio::RoomKey(socket.name_space, *room))) {
    return Result(socket, event, "emit_result", kLogic, "join the room first");
  }
  Publish(
      {.target = {.kind = Target::Kind::kRoom, .id = *room, .device = {}, .name_space = socket.name_space},
       .event = *name,
       .arguments = std::string(event.Arguments(2)),
       .attachments = *event.attachments,
       .droppable = false},
      &socket);
  if (event.id >= 0) Result(socket, event, "", kOk, "ok");
}

void Shard::OnReferenceEvent(Socket& socket, const Event& event) {
  if (event.name == "message") {
    hub_.Send(socket, hub_.MakeEvent(socket.name_space, "message-back", event.Arguments(), -1, false, {},
                                     static_cast<int>(event.attachments->size())));
    for (const std::string& bytes : *event.attachments) {
      hub_.engine().Send(*socket.client->session, MakeFrame(FrameKind::kBinary, bytes));
    }
  } else if (event.name == "message-with-ack") {
    hub_.Acknowledge(socket, event.id, event.Arguments(), *event.attachments);
  }
}

}  // namespace muster::push
