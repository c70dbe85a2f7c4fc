// The push API of a shard's admin listener: back-ends reach users, devices, groups, rooms and all.
#include <algorithm>

#include "base/text.h"
#include "push/spear/auth.h"
#include "push/spear/log.h"
#include "push/spear/shard_parts.h"

namespace muster::push {
namespace {

constexpr size_t kBatchMost = 10'000;
constexpr size_t kAttachmentsMost = 10;  // as many as clients may send
constexpr std::string_view kJson = "Content-Type: application/json\r\ncache-control: no-store\r\n";

std::string ErrorText(std::string_view code, std::string_view message) {
  return R"({"error":{"code":)" + json::Quoted(code) + R"(,"message":)" + json::Quoted(message) + "}}";
}

// Whom an object such as {"user":"7","device":"phone"} means; a word on why it means nobody.
std::string ReadTarget(std::string_view object, const std::vector<std::string>& namespaces, Target& target) {
  const auto text = [&](std::string_view name) {
    const auto value = json::Member(object, name);
    return value ? json::ReadId(*value).value_or("") : "";
  };
  if (!json::IsObject(object))
    return "`to` is missing: {\"user\"|\"group\"|\"room\"|\"socket\": …} or {\"all\": true}";
  if (const std::string name = text("namespace"); !name.empty()) {
    const auto found = std::find(namespaces.begin(), namespaces.end(), name);
    if (found == namespaces.end()) return "there is no such namespace";
    target.name_space = static_cast<uint16_t>(found - namespaces.begin());
  }
  const std::pair<std::string_view, Target::Kind> kinds[] = {{"user", Target::Kind::kUser},
                                                             {"group", Target::Kind::kGroup},
                                                             {"room", Target::Kind::kRoom},
                                                             {"socket", Target::Kind::kSocket}};
  int named = 0;
  for (const auto& [name, kind] : kinds) {
    const std::string id = text(name);
    if (id.empty()) continue;
    target.kind = kind;
    target.id = id;
    ++named;
  }
  if (const auto all = json::Member(object, "all"); all && json::IsTrue(*all)) {
    target.kind = Target::Kind::kEverybody;
    ++named;
  }
  if (named != 1) return "`to` names one of user, group, room, socket and all";
  target.device = text("device");
  if (!target.device.empty() && target.kind != Target::Kind::kUser) return "a device goes with a user";
  return {};
}

// For the log: "user 7 phone", "everybody".
std::string WhomText(const Target& target) {
  std::string text;
  switch (target.kind) {
    case Target::Kind::kUser:
    case Target::Kind::kUsers:
      text = "user ";
      break;
    case Target::Kind::kGroup:
      text = "group ";
      break;
    case Target::Kind::kRoom:
      text = "room ";
      break;
    case Target::Kind::kSocket:
      text = "socket ";
      break;
    case Target::Kind::kEverybody:
      return "everybody";
  }
  text += target.id;
  if (!target.device.empty()) text += " on " + target.device;
  return text;
}

std::string_view Unbracketed(std::string_view array) {
  array = Trim(array);
  // Of `[ ]` nothing may stay: a blank would get a comma before it.
  return array.size() < 2 ? std::string_view{} : Trim(array.substr(1, array.size() - 2));
}

}  // namespace

void Shard::AnswerAdmin(Connection& connection, int status, std::string_view text) {
  loop_.Respond(connection, status, kJson, text);
}

void Shard::RefuseAdmin(Connection& connection, int status, std::string_view code, std::string_view message) {
  if (MayLog(LogKind::kPushRefused)) {
    LogOf(
        LogKind::kPushRefused,
        {{"code", std::string(code)}, {"why", std::string(message)}, {"address", loop_.PeerOf(&connection)}});
  }
  AnswerAdmin(connection, status, ErrorText(code, message));
}

void Shard::OnClosed(Connection& connection) {
  if (connection.owner != nullptr) static_cast<ApiCall*>(connection.owner)->connection = nullptr;
  connection.owner = nullptr;
}

std::shared_ptr<ApiCall> Shard::Hold(Connection& connection) {
  auto call = std::make_shared<ApiCall>();
  call->connection = &connection;
  call->from = loop_.PeerOf(&connection);
  connection.owner = call.get();
  return call;
}

bool Shard::Allowed(Connection& connection, const http::Request& request) {
  const std::string& token = node_.settings().admin_token;
  if (token.empty()) {
    RefuseAdmin(connection, 403, "no-token", "this node has no token for its API: set admin.token_file");
    return false;
  }
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view given = request.authorization;
  const bool good = given.size() > kBearer.size() &&
                    http::SameWord(given.substr(0, kBearer.size()), kBearer) &&
                    SameSecret(Trim(given.substr(kBearer.size())), token);
  if (!good) RefuseAdmin(connection, 401, "bad-token", "Authorization: Bearer TOKEN is wanted");
  return good;
}

void Shard::OnRequest(Connection& connection, const http::Request& request) {
  const std::string_view path = request.path;
  const bool get = request.method == "GET", post = request.method == "POST";
  const bool head = request.method == "HEAD";
  // What stands behind other answers to HEAD would be read as the next one's.
  if (head && path != "/health" && path != "/metrics") connection.keep_alive = false;
  if ((get || head) && path == "/health") {
    const bool draining = node_.draining();
    loop_.Respond(connection, draining ? 503 : 200, kJson,
                  draining ? R"({"status":"draining"})" : R"({"status":"ok"})", head);
  } else if ((get || head) && path == "/metrics") {
    loop_.Respond(connection, 200, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
                  node_.Metrics(), head);
  } else if (get && path == "/state") {
    OnState(connection);
  } else if (path.substr(0, 4) != "/v1/") {
    RefuseAdmin(connection, 404, "not-found", "there are /health, /metrics, /state and /v1/…");
  } else if (!Allowed(connection, request)) {
    return;
  } else if (post && path == "/v1/push") {
    OnPush(connection, request);
  } else if (post && path == "/v1/kick") {
    OnKick(connection, request);
  } else if (post && path == "/v1/drain") {
    node_.Drain("push API");
    AnswerAdmin(connection, 202, R"({"status":"draining"})");
  } else if (get && path == "/v1/online") {
    OnOnlineRequest(connection, request);
  } else {
    RefuseAdmin(connection, 404, "not-found", "there are POST push, kick, drain and GET online");
  }
}

void Shard::OnPush(Connection& connection, const http::Request& request) {
  // What is no UTF-8 would have each client that gets it close its WebSocket.
  const bool valid = websocket::IsText(request.body) && json::IsValid(request.body);
  if (!valid || !json::IsObject(Trim(request.body))) {
    return RefuseAdmin(connection, 400, "bad-request", "the body is no JSON object");
  }
  const auto batch = json::Member(request.body, "batch");
  std::vector<std::string_view> orders{request.body};
  if (batch && (!json::ReadArray(*batch, orders) || orders.empty() || orders.size() > kBatchMost)) {
    return RefuseAdmin(connection, 400, "bad-request", "`batch` is an array of 1 to 10000 orders");
  }
  if (!node_.HasRoom()) {
    refused_busy.Add(static_cast<int64_t>(orders.size()));
    return RefuseAdmin(connection, 503, "busy", "too many messages are under way: try again");
  }
  auto call = Hold(connection);
  call->bytes_left = std::make_shared<std::atomic<int64_t>>(node_.settings().answer_bytes);
  call->batch = batch.has_value();
  call->left = orders.size();
  call->results.resize(orders.size());
  for (size_t i = 0; i < orders.size(); ++i) PushOne(call, i, orders[i]);
}

void Shard::PushOne(const std::shared_ptr<ApiCall>& call, size_t index, std::string_view order) {
  const auto done = [this, call, index](std::string result, bool good) {
    call->results[index] = std::move(result);
    if (--call->left > 0 || call->connection == nullptr) return;
    Connection& connection = *std::exchange(call->connection, nullptr);
    connection.owner = nullptr;
    if (!call->batch) return AnswerAdmin(connection, good ? 200 : 400, call->results[0]);
    AnswerAdmin(connection, 200, R"({"results":[)" + Join(call->results, ",") + "]}");
  };
  const auto refuse = [call, &done](std::string_view code, std::string_view why) {
    if (MayLog(LogKind::kPushRefused)) {
      LogOf(LogKind::kPushRefused,
            {{"code", std::string(code)}, {"why", std::string(why)}, {"address", call->from}});
    }
    done(ErrorText(code, why), false);
  };
  auto publication = std::make_shared<Publication>();
  const auto to = json::Member(order, "to");
  const std::string why = ReadTarget(to.value_or(""), node_.settings().namespaces, publication->target);
  if (!why.empty()) return refuse("bad-target", why);
  const auto event = json::Member(order, "event");
  publication->event = event ? json::ReadString(*event).value_or("") : "msg";
  if (publication->event.empty() || socketio::IsReserved(publication->event))
    return refuse("bad-request", "`event` is no name");
  const auto drop = json::Member(order, "volatile");
  publication->droppable = drop && json::IsTrue(*drop);
  const int64_t now = WallNow().time_since_epoch().count();
  const std::string id = std::to_string(node_.ids().Next(static_cast<uint64_t>(now)));
  const auto arguments = json::Member(order, "arguments");
  const auto content = json::Member(order, "content");
  if (arguments && (*arguments)[0] == '[') {
    publication->arguments = Unbracketed(*arguments);
  } else if (content) {  // the form of a client's `msg`
    const auto from = json::Member(order, "from");
    const Target& target = publication->target;
    const bool group = target.kind == Target::Kind::kGroup;
    std::string& text = publication->arguments;
    text = R"({"id":")" + id + R"(","createTime":)" + std::to_string(now) + R"(,"fromId":)";
    json::AppendQuoted(text, from ? json::ReadId(*from).value_or("") : "");
    text += R"(,"msgType":)" + std::string(group ? "1" : "0") + R"(,"target":{"id":)" +
            json::Quoted(target.id) + R"(,"type":)" + (group ? "1" : "0") + R"(},"content":)";
    text += *content;
    text += '}';
  } else {
    return refuse("bad-request", "`content` or `arguments` is missing");
  }
  const auto binary = json::Member(order, "binary");
  if (binary && json::IsTrue(*binary)) {
    auto text = TakeAttachments(publication->arguments, publication->attachments, kAttachmentsMost);
    if (!text) return refuse("bad-request", "a `base64` isn't, or there are more than 10");
    publication->arguments = std::move(*text);
  }
  const auto ack = json::Member(order, "ack");
  Duration timeout{0};
  if (ack && !json::IsTrue(*ack)) {
    const auto given = json::ReadString(*ack);
    const auto parsed = ParseDuration(given.value_or(""));
    if (!parsed.ok() || *parsed > 60s) return refuse("bad-request", "`ack` is true or a time up to 60s");
    timeout = *parsed;
  } else if (ack) {
    timeout = 5s;
  }
  std::function<void(Shard&, Reply)> ask;
  if (ack) {
    ask = [publication, timeout, bytes_left = call->bytes_left](Shard& shard, Reply reply) {
      shard.DeliverWithAck(*publication, timeout, bytes_left, std::move(reply));
    };
  } else {
    ask = [publication, origin = hub_.NextOrigin()](Shard& shard, const Reply& reply) {
      Answer answer;
      answer.count = shard.Deliver(*publication, origin);
      reply(std::move(answer));
    };
  }
  const bool acks = ack.has_value();
  const auto answered = [done, id, acks](const Answer& answer) {
    std::string result = R"({"id":")" + id + R"(","delivered":)" + std::to_string(answer.count);
    if (acks) {
      result += R"(,"acknowledged":)" + std::to_string(answer.acknowledged) + R"(,"answers":[)" +
                Join(answer.texts, ",") + "]";
      if (answer.left_out > 0) result += R"(,"answersLeftOut":)" + std::to_string(answer.left_out);
    }
    done(result + "}", true);
  };
  AskAll(std::move(ask), answered, BytesOfPublication(*publication));
}

void Shard::OnKick(Connection& connection, const http::Request& request) {
  Target target;
  const std::string why = json::IsValid(request.body)
                              ? ReadTarget(Trim(request.body), node_.settings().namespaces, target)
                              : "the body is no JSON object";
  if (!why.empty()) return RefuseAdmin(connection, 400, "bad-target", why);
  const auto from = json::Member(request.body, "from_group");
  const std::string group = from ? json::ReadId(*from).value_or("") : "";
  auto call = Hold(connection);
  const socketio::Origin kick = hub_.NextOrigin();
  const auto ask = [target, group, kick](Shard& shard, const Reply& reply) {
    Answer answer;
    answer.count = shard.Kick(target, group, kick);
    reply(std::move(answer));
  };
  AskAll(ask, [this, call, group, kick, whom = WhomText(target)](const Answer& answer) {
    for (size_t i = 0; i < node_.size(); ++i) {
      node_.shard(i).Post([kick](Shard& shard) { shard.hub_.recovery().KickedByAll(kick); });
    }
    if (MayLog(LogKind::kKicked)) {
      LogOf(LogKind::kKicked, {{"whom", whom},
                               {"from_group", group},
                               {"count", std::to_string(answer.count)},
                               {"by", "push API"},
                               {"address", call->from}});
    }
    if (call->connection == nullptr) return;
    call->connection->owner = nullptr;
    AnswerAdmin(*call->connection, 200, R"({"kicked":)" + std::to_string(answer.count) + "}");
  });
}

void Shard::OnOnlineRequest(Connection& connection, const http::Request& request) {
  const std::string group = http::DecodePercent(http::QueryValue(request.query, "group"));
  const std::string user = http::DecodePercent(http::QueryValue(request.query, "user"));
  if (group.empty() == user.empty()) {
    return RefuseAdmin(connection, 400, "bad-request", "?group=ID or ?user=ID");
  }
  auto call = Hold(connection);
  const auto ask = [group, user](Shard& shard, const Reply& reply) {
    Answer answer;
    std::vector<Member*> members;
    if (!group.empty()) {
      if (Room* room = shard.hub_.registry().FindRoom(socketio::GroupKey(group))) members = room->members;
    } else if (const User* found = shard.hub_.registry().FindUser(user)) {
      for (Member* member = found->first; member != nullptr; member = member->next_of_user)
        members.push_back(member);
    }
    answer.count = static_cast<int64_t>(members.size());
    for (const Member* member : members) {
      const auto& socket = static_cast<const socketio::Socket&>(*member);
      if (group.empty()) {
        answer.texts.push_back(R"({"socket":")" + shard.hub_.IdOf(socket) + R"(","device":)" +
                               json::Quoted(socket.device ? *socket.device : "") + "}");
      } else if (member->user != nullptr) {
        answer.texts.push_back(json::Quoted(*member->user->id));
      }
    }
    reply(std::move(answer));
  };
  AskAll(ask, [this, call, group](Answer answer) {
    if (call->connection == nullptr) return;
    call->connection->owner = nullptr;
    std::sort(answer.texts.begin(), answer.texts.end());
    answer.texts.erase(std::unique(answer.texts.begin(), answer.texts.end()), answer.texts.end());
    AnswerAdmin(*call->connection, 200,
                R"({"clients":)" + std::to_string(answer.count) +
                    (group.empty() ? R"(,"sockets":[)" : R"(,"users":[)") + Join(answer.texts, ",") + "]}");
  });
}

}  // namespace muster::push
