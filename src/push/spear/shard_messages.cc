// What clients ask a shard for.
#include <algorithm>
#include <charconv>

#include "push/spear/auth.h"
#include "push/spear/log.h"
#include "push/spear/shard_parts.h"

namespace muster::push {
namespace {

using socketio::Event;
using socketio::Socket;

constexpr size_t kIdMost = 256;  // bytes of a user's, group's or room's name

// What a client must hear from spear only: called so by another client, it would be believed.
bool IsOfSpear(std::string_view event) {
  static constexpr std::string_view kEvents[] = {"msg", "presence", "kicked", "drain"};
  static constexpr std::string_view kRequests[] = {"auth",   "msg",  "subscribe", "unsubscribe",
                                                   "online", "join", "leave",     "emit"};
  static constexpr std::string_view kAnswer = "_result";
  if (std::find(std::begin(kEvents), std::end(kEvents), event) != std::end(kEvents)) return true;
  if (event.size() <= kAnswer.size() || event.substr(event.size() - kAnswer.size()) != kAnswer) return false;
  event.remove_suffix(kAnswer.size());
  return std::find(std::begin(kRequests), std::end(kRequests), event) != std::end(kRequests);
}

// The event's argument: an object, or a string that holds one, as gru's clients send.
std::optional<std::string_view> ObjectOf(const Event& event, std::string& store) {
  std::string_view argument = event.argument(0);
  if (json::IsObject(argument)) return argument;
  const auto text = json::ViewString(argument, store);
  if (!text || !json::IsValid(*text)) return std::nullopt;
  argument = *text;
  while (!argument.empty() && argument[0] <= ' ') argument.remove_prefix(1);
  if (!json::IsObject(argument)) return std::nullopt;
  return argument;
}

std::optional<std::string_view> ViewName(std::string_view value, std::string& store) {
  const auto id = json::ViewId(value, store);
  if (!id || id->size() > kIdMost) return std::nullopt;
  return id;
}

std::optional<std::string> IdMember(std::string_view object, std::string_view name) {
  const auto value = json::Member(object, name);
  if (!value) return std::nullopt;
  std::string store;
  const auto id = ViewName(*value, store);
  if (!id) return std::nullopt;
  return std::string(*id);
}

void AppendNumber(std::string& out, uint64_t number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
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
  text_ += R"(,"errorCode":)";
  text_ += std::to_string(code);
  text_ += R"(,"msg":)";
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
  if (claim.name.size() > kIdMost) return "name is too long";
  id = claim.id;
  name = claim.name;
  device = IdMember(object, "device").value_or("");
  return WhyNot(claim, node_.settings(), WallNow());
}

std::string Shard::Refusal(uint16_t, std::string_view auth) {
  if (!json::IsObject(auth) || node_.settings().reference || !json::Member(auth, "id")) return {};
  std::string id, name, device;
  std::string why = WhyNotThem(auth, id, name, device);
  if (!why.empty()) TellRefused(id, why);
  return why;
}

void Shard::TellRefused(const std::string& id, std::string_view why) const {
  if (!MayLog(LogKind::kAuthRefused)) return;
  LogOf(LogKind::kAuthRefused, {{"why", std::string(why)}, {"user", id}, {"address", loop_.PeerOf()}});
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
  hub_.Bind(socket, id, name);
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
           .droppable = false},
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
    TellRefused(id, why);
    Result(socket, event, "auth_result", kLogic, why);
    hub_.Disconnect(socket, true);
    return;
  }
  if (socket.user != nullptr && *socket.user->id != id) {
    TellRefused(id, "this connection is another user's already");
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
    if (join && !node_.settings().groups_open) {
      const std::string token = json::IsObject(element) ? TextMember(element, "token") : "";
      const std::string why = WhyNotIn(*id, *socket.user->id, token, node_.settings(), WallNow());
      if (!why.empty()) return Result(socket, event, name, kLogic, why + ": " + *id);
    }
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
      return Result(socket, event, name, kLogic, "too many groups", R"({"groups":)" + GroupsOf(socket) + "}");
    }
    if (hub_.registry().Join(socket, key)) TellPresence(socket, group, "join");
  }
  Result(socket, event, name, kOk, "ok", R"({"groups":)" + GroupsOf(socket) + "}");
}

bool Shard::MayUseGroup(const Socket& socket, std::string_view group) {
  if (node_.settings().groups_open) return true;
  key_.clear();
  socketio::AppendGroupKey(key_, group);
  return hub_.registry().IsIn(socket, key_);
}

void Shard::Busy(Socket& socket, const Event& event, std::string_view name) {
  refused_busy.Add(1);
  Result(socket, event, name, kSystem, "too many messages are under way: try again");
}

void Shard::OnMsg(Socket& socket, const Event& event) {
  const auto object = ObjectOf(event, object_text_);
  if (socket.user == nullptr) return Result(socket, event, "msg_result", kLogic, "auth comes first");
  const auto target = object ? json::Member(*object, "target") : std::nullopt;
  const auto content = object ? json::Member(*object, "content") : std::nullopt;
  if (!target || !json::IsObject(*target) || !content) {
    return Result(socket, event, "msg_result", kParameters, "target or content is missing");
  }
  // Taken out of what was a place itself, they may hold others, which nobody has looked at.
  const size_t attached = json::IsObject(event.argument(0)) ? event.attachments->size() : 0;
  if (attached > 0 &&
      (!json::PlacesAreWithin(*target, attached) || !json::PlacesAreWithin(*content, attached))) {
    return Result(socket, event, "msg_result", kParameters, "there is no such attachment");
  }
  const auto type_text = json::Member(*object, "type");
  const int64_t type = type_text ? json::ReadInteger(*type_text).value_or(-1) : 0;
  const auto to = json::Member(*target, type == 2 ? "ids" : "id");
  if (!to || type != 2 || !json::ReadArray(*to, elements_)) elements_.clear();
  if (to && type != 2) elements_.push_back(*to);
  std::erase_if(elements_, [this](std::string_view element) { return !ViewName(element, id_text_); });
  if (elements_.empty() || elements_.size() > 1000 || type < 0 || type > 2) {
    return Result(socket, event, "msg_result", kParameters,
                  "type is 0 (user), 1 (group) or 2 (users), with the target's id or ids");
  }
  if (type == 1 && !MayUseGroup(socket, *ViewName(elements_[0], id_text_))) {
    return Result(socket, event, "msg_result", kLogic, "join the group first");
  }
  if (!node_.HasRoom()) return Busy(socket, event, "msg_result");
  const auto now = static_cast<uint64_t>(WallNow().time_since_epoch().count());
  data_ = R"({"id":")";
  AppendNumber(data_, node_.ids().Next(now));
  data_ += R"(","createTime":)";
  AppendNumber(data_, now);
  std::string& arguments = outgoing_.arguments;
  arguments = data_;
  arguments += R"(,"fromId":)";
  json::AppendQuoted(arguments, *socket.user->id);
  arguments += R"(,"msgType":)";
  AppendNumber(arguments, static_cast<uint64_t>(type));
  arguments += R"(,"target":)";
  arguments += *target;
  arguments += R"(,"content":)";
  arguments += *content;
  arguments += '}';
  const auto drop = json::Member(*object, "volatile");
  const auto device = json::Member(*target, "device");
  outgoing_.event = "msg";
  // Nobody has looked at the numbers of places within a text.
  if (attached > 0) {
    outgoing_.attachments = *event.attachments;
  } else {
    outgoing_.attachments.clear();
  }
  outgoing_.droppable = drop && json::IsTrue(*drop);
  outgoing_.target.kind = type == 1              ? Target::Kind::kGroup
                          : elements_.size() > 1 ? Target::Kind::kUsers
                                                 : Target::Kind::kUser;
  outgoing_.target.name_space = 0;
  outgoing_.target.device = device ? ViewName(*device, id_text_).value_or("") : "";
  // Each shard encodes it once, however many it is for.
  outgoing_.target.id.clear();
  for (const std::string_view element : elements_) {
    if (!outgoing_.target.id.empty()) outgoing_.target.id += '\0';
    outgoing_.target.id += *ViewName(element, id_text_);
  }
  Publish(outgoing_);
  data_ += '}';
  Result(socket, event, "msg_result", kOk, "ok", data_);
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
  if (socket.user == nullptr && node_.settings().auth != AuthMode::kOpen) {
    return Result(socket, event, "online_result", kLogic, "auth comes first");
  }
  if (!MayUseGroup(socket, group)) {
    return Result(socket, event, "online_result", kLogic, "join the group first");
  }
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
  const auto room = json::ViewId(event.argument(0), id_text_);
  const auto name = json::ViewString(event.argument(1), data_);
  if (!room || !name || name->empty()) {
    return Result(socket, event, "emit_result", kParameters, "a room and an event's name are wanted");
  }
  if (socketio::IsReserved(*name) || IsOfSpear(*name)) {
    return Result(socket, event, "emit_result", kParameters, "events of clients may not be called so");
  }
  key_.clear();
  socketio::AppendRoomKey(key_, socket.name_space, *room);
  if (!hub_.registry().IsIn(socket, key_)) {
    return Result(socket, event, "emit_result", kLogic, "join the room first");
  }
  if (!node_.HasRoom()) return Busy(socket, event, "emit_result");
  outgoing_.target.kind = Target::Kind::kRoom;
  outgoing_.target.id = *room;
  outgoing_.target.device.clear();
  outgoing_.target.name_space = socket.name_space;
  outgoing_.event = *name;
  outgoing_.arguments = event.Arguments(2);
  outgoing_.attachments = *event.attachments;
  outgoing_.droppable = false;
  Publish(outgoing_, &socket);
  if (event.id >= 0) Result(socket, event, "", kOk, "ok");
}

void Shard::OnReferenceEvent(Socket& socket, const Event& event) {
  if (event.name == "message") {
    hub_.Send(socket,
              hub_.MakeEvent(socket.name_space, "message-back", event.Arguments(), -1, false, {},
                             static_cast<int>(event.attachments->size())),
              socketio::FramesOf(*event.attachments));
  } else if (event.name == "message-with-ack") {
    hub_.Acknowledge(socket, event.id, event.Arguments(), *event.attachments);
  }
}

}  // namespace muster::push
