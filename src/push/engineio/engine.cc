#include "push/engineio/engine.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>

namespace muster::push::engineio {
namespace {

constexpr std::string_view kErrors[] = {
    "Transport unknown", "Session ID unknown", "Bad handshake method",
    "Bad request",       "Forbidden",          "Unsupported protocol version"};
enum ErrorCode { kUnknownTransport, kUnknownSid, kBadMethod, kBadRequest, kForbidden, kUnsupportedVersion };
constexpr std::string_view kText = "text/plain; charset=UTF-8";
constexpr std::string_view kHtml = "text/html";  // as the reference has it, which old browsers need
constexpr std::string_view kJson = "application/json";

// Whether a page of `origin` ("https://a:8443") was served by whom the request went to. Both name the port of
// the scheme or leave it out.
bool SameSite(std::string_view origin, std::string_view host) {
  const size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos) return false;
  const std::string_view port = origin.substr(0, scheme) == "https" ? ":443" : ":80";
  const auto named = [port](std::string_view authority) {
    const bool with_port =
        authority.size() > port.size() && authority.substr(authority.size() - port.size()) == port;
    return with_port ? authority.substr(0, authority.size() - port.size()) : authority;
  };
  const std::string_view from = named(origin.substr(scheme + 3));
  return !from.empty() && http::SameWord(from, named(host));
}

// As a WebSocket of protocol 3 has it, where binary packets have their type before them, too.
FrameRef AsProtocol3(const Frame& frame) {
  const std::string_view type = frame.kind == FrameKind::kBinary ? std::string_view("\x04", 1) : "";
  return MakeJoinedFrame(frame.kind, type, frame.payload(), frame.droppable);
}

}  // namespace

void FillRandom(void* bytes, size_t size) {
  thread_local char buffer[4096];
  thread_local size_t left = 0;
  if (size > left) {
    for (size_t got = 0; got < sizeof buffer;) {
      const ssize_t more = getrandom(buffer + got, sizeof buffer - got, 0);
      if (more > 0) got += static_cast<size_t>(more);
    }
    left = sizeof buffer;
  }
  left -= size;
  std::memcpy(bytes, buffer + left, size);
}

Engine::Engine(Loop& loop, Options options, EngineHandler& handler)
    : loop_(loop), options_(std::move(options)), handler_(handler), ping_(MakeFrame(FrameKind::kText, "2")) {
  cors_headers_.emplace_back();
  for (const std::string& origin : options_.origins) {
    std::string headers = "Access-Control-Allow-Origin: " + origin + "\r\n";
    if (origin != "*") headers += "Vary: Origin\r\n";
    if (options_.credentials) headers += "Access-Control-Allow-Credentials: true\r\n";
    cors_headers_.push_back(std::move(headers));
  }
}

std::string Engine::IdOf(const Session& session) const {
  SessionId id{.shard = options_.shard, .slot = session.slot, .secret = {}};
  std::memcpy(id.secret, session.secret, sizeof id.secret);
  return FormatSessionId(id);
}

Session* Engine::Find(const SessionId& id) {
  Session* session = sessions_.Find(id.slot);
  if (session == nullptr || session->state == Session::State::kClosed) return nullptr;
  return std::memcmp(session->secret, id.secret, sizeof id.secret) == 0 ? session : nullptr;
}

void Engine::SetCors(const http::Request& request) {
  cors_ = 0;
  if (request.origin.empty()) return;
  for (size_t i = 0; i < options_.origins.size() && cors_ == 0; ++i) {
    const std::string& origin = options_.origins[i];
    if (origin == "*" || origin == request.origin) cors_ = static_cast<uint8_t>(i + 1);
  }
}

// The headers alone keep no page out: WebSockets ask for none, and a POST is taken before its answer is
// withheld. Who sends no origin is no page.
bool Engine::MayAsk(const http::Request& request) {
  SetCors(request);
  return request.origin.empty() || cors_ != 0 || SameSite(request.origin, request.host);
}

void Engine::Preflight(Connection& connection, const http::Request& request) {
  std::string headers = cors_headers_[cors_];
  if (cors_ != 0) {
    headers += "Access-Control-Allow-Methods: GET,POST,OPTIONS\r\nAccess-Control-Max-Age: 86400\r\n";
    if (!request.asked_headers.empty()) {
      headers += fmt::format("Access-Control-Allow-Headers: {}\r\n", request.asked_headers);
    }
  }
  loop_.Respond(connection, 204, headers, "");
}

void Engine::RespondTo(Connection& connection, int status, std::string_view type, std::string_view body) {
  static thread_local std::string headers;
  headers = "Content-Type: ";
  headers += type;
  headers += "\r\ncache-control: no-store\r\n";
  headers += cors_headers_[cors_];
  loop_.Respond(connection, status, headers, body);
}

void Engine::Fail(Connection& connection, int code, bool upgrade) {
  counters_.refused.Add(1);
  loop_.Notify({.kind = Notice::Kind::kBadProtocol, .what = kErrors[code], .connection = &connection});
  if (upgrade) connection.keep_alive = false;
  if (upgrade && code != kForbidden) {
    RespondTo(connection, 400, kHtml, kErrors[code]);
    return;
  }
  RespondTo(connection, code == kForbidden ? 403 : 400, kJson,
            fmt::format(R"({{"code":{},"message":"{}"}})", code, kErrors[code]));
}

void Engine::OnRequest(Connection& connection, const http::Request& request) {
  Session* posting = static_cast<Session*>(connection.owner);
  if (posting != nullptr && posting->posting == &connection) posting->posting = nullptr;
  connection.owner = nullptr;
  const std::string_view path = options_.path;
  if (request.path != path && request.path != path.substr(0, path.size() - 1)) {
    if (!handler_.OnOtherRequest(connection, request)) {
      cors_ = 0;
      RespondTo(connection, 404, kText, "Not found\n");
    }
    return;
  }
  const bool allowed = MayAsk(request);
  if (request.method == "OPTIONS") {
    Preflight(connection, request);
    return;
  }
  const bool upgrade =
      http::Names(request.connection, "upgrade") && http::SameWord(request.upgrade, "websocket");
  if (!allowed) {
    Fail(connection, kForbidden, upgrade);
    return;
  }
  const std::string_view transport = http::QueryValue(request.query, "transport");
  const bool websocket = transport == "websocket" && options_.websocket;
  if (!websocket && !(transport == "polling" && options_.polling)) {
    Fail(connection, kUnknownTransport, upgrade);
    return;
  }
  const std::string_view sid = http::QueryValue(request.query, "sid");
  if (sid.empty()) {
    OnHandshake(connection, request, upgrade, websocket);
    return;
  }
  SessionId id;
  const bool good = ParseSessionId(sid, id);
  if (good && id.shard != options_.shard && id.shard < options_.shards) {
    handler_.HandOver(id.shard, loop_.Release(connection));
    return;
  }
  Session* session = good ? Find(id) : nullptr;
  if (session == nullptr) {
    Fail(connection, kUnknownSid, upgrade);
    return;
  }
  if (upgrade) {
    if (!websocket) {
      Fail(connection, kBadRequest, true);
    } else if (BecomeWebSocket(connection, request)) {
      BeginProbe(*session, connection);
    }
    return;
  }
  if (session->websocket != websocket || websocket) {
    Fail(connection, kBadRequest);
  } else if (request.method == "GET") {
    OnPoll(*session, connection);
  } else if (request.method == "POST") {
    OnPost(*session, connection, request);
  } else {
    Fail(connection, kBadRequest);
  }
}

void Engine::OnHandshake(Connection& connection, const http::Request& request, bool upgrade, bool websocket) {
  if (request.method != "GET") {
    Fail(connection, kBadMethod, upgrade);
    return;
  }
  if (websocket != upgrade) {
    Fail(connection, kBadRequest, upgrade);
    return;
  }
  const int protocol = http::QueryValue(request.query, "EIO") == "4" ? 4 : 3;
  if (protocol == 3 && !options_.protocol_3) {
    Fail(connection, kUnsupportedVersion, upgrade);
    return;
  }
  if (refusing_) {
    connection.keep_alive = false;
    RespondTo(connection, 503, kJson, R"({"code":4,"message":"Draining"})");
    return;
  }
  const Loop::Place place = loop_.TakePlace(connection);
  if (place.refused != 0) {
    connection.keep_alive = false;
    const std::string headers = cors_headers_[cors_] + (place.refused == 503 ? "Retry-After: 5\r\n" : "");
    loop_.Respond(connection, place.refused, headers, "");
    return;
  }
  if (websocket && !BecomeWebSocket(connection, request)) {
    loop_.LeavePlace(place.entry);
    return;
  }
  Session& session = Open(connection, websocket, protocol);
  session.place = place.entry;
  if (websocket) {
    loop_.Send(connection, MakeFrame(FrameKind::kText, OpenPacket(session)));
  } else {
    std::string body;
    if (protocol == 3) {
      AppendPacket3(body, false, OpenPacket(session));
    } else {
      body = OpenPacket(session);
    }
    RespondTo(connection, 200, kText, body);
  }
  handler_.OnOpen(session);
}

Session& Engine::Open(Connection& connection, bool websocket, int protocol) {
  const auto [session, slot] = sessions_.Make();
  session->kind = options_.timer_kind;
  session->slot = slot;
  session->protocol = static_cast<uint8_t>(protocol & 7);
  session->websocket = websocket;
  FillRandom(session->secret, sizeof session->secret);
  if (websocket) {
    session->transport = &connection;
    connection.owner = session;
  }
  (websocket ? counters_.websocket : counters_.polling).Add(1);
  counters_.opened.Add(1);
  // Many that came at once shall not all be pinged at once for ever.
  uint16_t random = 0;
  FillRandom(&random, sizeof random);
  const bool spread = options_.ping_interval >= 5s;
  SchedulePing(*session, spread ? options_.ping_interval * random / 65536 / 4 : Duration(0));
  return *session;
}

std::string Engine::OpenPacket(const Session& session) const {
  const bool upgrades = !session.websocket && options_.upgrades && options_.websocket;
  return fmt::format(R"(0{{"sid":"{}","upgrades":[{}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}})",
                     IdOf(session), upgrades ? "\"websocket\"" : "", options_.ping_interval.count(),
                     options_.ping_timeout.count(), loop_.limits().payload_max);
}

void Engine::SchedulePing(Session& session, Duration jitter) {
  session.awaits_pong = false;
  const Duration wait =
      session.protocol == 3 ? options_.ping_interval + options_.ping_timeout : options_.ping_interval;
  loop_.timers().Set(session, loop_.now() + wait - jitter);
}

void Engine::OnTimer(TimerNode& node) {
  Session& session = static_cast<Session&>(node);
  if (!session.open()) {
    CloseNow(session, CloseReason::kServer);
    return;
  }
  if (session.protocol == 3 || session.awaits_pong) {
    CloseNow(session, CloseReason::kPingTimeout);
    return;
  }
  session.awaits_pong = true;
  loop_.timers().Set(session, loop_.now() + options_.ping_timeout);
  Send(session, ping_);
}

bool Engine::BecomeWebSocket(Connection& connection, const http::Request& request) {
  const std::string accept = websocket::AcceptKey(request.websocket_key);
  if (request.method != "GET" || accept.empty()) {
    Fail(connection, kBadRequest, true);
    return false;
  }
  if (request.websocket_version != "13") {
    connection.keep_alive = false;
    counters_.refused.Add(1);
    loop_.Respond(connection, 426, "Sec-WebSocket-Version: 13\r\n", "");
    return false;
  }
  loop_.Upgrade(connection, accept, "");
  return true;
}

void Engine::OnPoll(Session& session, Connection& connection) {
  if (session.state == Session::State::kClosing) {
    session.transport = &connection;
    session.origin = cors_;
    if (!session.out.empty()) {
      AnswerPoll(session);
    } else {
      AnswerPoll(session, "1");
      CloseNow(session, CloseReason::kServer);
    }
    return;
  }
  if (session.transport != nullptr) {
    const uint8_t cors = cors_;
    CloseNow(session, CloseReason::kTransportError);
    cors_ = cors;
    Fail(connection, kBadRequest);
    return;
  }
  session.transport = &connection;
  session.origin = cors_;
  connection.owner = &session;
  if (!session.out.empty()) {
    AnswerPoll(session);
  } else if (session.probe != nullptr) {
    AnswerPoll(session, "6");  // the client waits for this one to end before it goes over
  }
}

// What waits, and `last` behind it, as the answer of the pending GET.
void Engine::AnswerPoll(Session& session, std::string_view last) {
  Connection& connection = *session.transport;
  cors_ = session.origin;
  session.transport = nullptr;
  connection.owner = nullptr;
  const auto append = session.protocol == 3 ? AppendPacket3 : AppendPacket;
  payload_.clear();
  session.out.ForEach(
      [&](const Frame& frame) { append(payload_, frame.kind == FrameKind::kBinary, frame.payload()); });
  session.out.Clear();
  if (!last.empty()) append(payload_, false, last);
  RespondTo(connection, 200, kText, payload_);
  if (payload_.capacity() > (1u << 20)) payload_ = {};
}

void Engine::OnBodyBegins(Connection& connection, const http::Request& request) {
  SessionId id;
  if (request.method != "POST" || !ParseSessionId(http::QueryValue(request.query, "sid"), id)) return;
  if (id.shard != options_.shard) {
    if (id.shard < options_.shards) handler_.HandOver(id.shard, loop_.Release(connection));
    return;
  }
  Session* session = Find(id);
  if (session == nullptr || !session->open() || !MayAsk(request)) return;  // OnRequest says why
  if (session->posting != nullptr) {                                       // two at a time
    CloseNow(*session, CloseReason::kTransportError);
    return;
  }
  session->posting = &connection;
  connection.owner = session;
}

void Engine::OnPost(Session& session, Connection& connection, const http::Request& request) {
  if (session.state == Session::State::kClosing) {  // nobody hears it any more; what waits is still fetched
    RespondTo(connection, 200, kHtml, "ok");
    return;
  }
  const bool binary = http::SameWord(request.content_type, "application/octet-stream");
  bool good = session.open() && session.posting == nullptr;
  if (session.protocol == 3) {
    good = good &&
           (binary ? ParseBinaryPayload3(request.body, packets_) : ParsePayload3(request.body, packets_));
  } else {
    good = good && !binary && ParsePayload(request.body, packets_);
  }
  if (!good) {
    CloseNow(session, CloseReason::kParseError);
    Fail(connection, kBadRequest);
    return;
  }
  const uint8_t cors = cors_;
  for (const Packet& packet : packets_) {
    if (!session.open()) break;
    if (packet.binary) {
      handler_.OnMessage(session, true, packet.bytes);
    } else {
      OnPacket(session, false, packet.text);
    }
  }
  cors_ = cors;
  RespondTo(connection, 200, kHtml, "ok");
}

void Engine::BeginProbe(Session& session, Connection& connection) {
  if (session.websocket || session.probe != nullptr || !session.open() || !options_.upgrades) {
    loop_.CloseWebSocket(connection, websocket::kNoCode);
    return;
  }
  session.probe = &connection;
  connection.owner = &session;
  loop_.timers().Set(connection, loop_.now() + options_.upgrade_timeout);
}

void Engine::OnProbe(Session& session, Connection& connection, bool binary, std::string_view packet) {
  if (!binary && packet == "2probe") {
    loop_.Send(connection, MakeFrame(FrameKind::kText, "3probe"));
    if (session.transport != nullptr) AnswerPoll(session, "6");
    return;
  }
  session.probe = nullptr;
  if (binary || packet != "5" || !session.open()) {
    connection.owner = nullptr;
    loop_.CloseWebSocket(connection, websocket::kNoCode);
    return;
  }
  loop_.timers().Clear(connection);
  if (session.transport != nullptr) AnswerPoll(session, "6");
  session.transport = &connection;
  session.websocket = true;
  counters_.polling.Add(-1);
  counters_.websocket.Add(1);
  counters_.upgraded.Add(1);
  if (session.protocol == 3) {
    Outbox all;
    session.out.ForEach([&all](const Frame& frame) { all.Push(AsProtocol3(frame)); });
    session.out.Clear();
    loop_.Append(connection, all);
    return;
  }
  loop_.Append(connection, session.out);
}

void Engine::OnMessage(Connection& connection, bool binary, std::string_view message) {
  Session* session = static_cast<Session*>(connection.owner);
  if (session == nullptr) {
    handler_.OnOtherMessage(connection, binary, message);
  } else if (session->probe == &connection) {
    OnProbe(*session, connection, binary, message);
  } else if (!session->open()) {
    return;  // nobody is there any more who could be told
  } else if (binary && session->protocol == 3) {
    if (message.empty() || message[0] != 4) {
      CloseNow(*session, CloseReason::kParseError);
    } else {
      handler_.OnMessage(*session, true, message.substr(1));
    }
  } else {
    OnPacket(*session, binary, message);
  }
}

void Engine::OnPacket(Session& session, bool binary, std::string_view packet) {
  if (binary) {
    handler_.OnMessage(session, true, packet);
    return;
  }
  switch (packet.empty() ? '\0' : packet[0]) {
    case '4':
      handler_.OnMessage(session, false, packet.substr(1));
      return;
    case '3':
      if (session.protocol == 3) break;
      SchedulePing(session);
      return;
    case '2':
      if (session.protocol != 3) break;
      SchedulePing(session);
      Send(session, MakeJoinedFrame(FrameKind::kText, "3", packet.substr(1)));
      return;
    case '1':
      CloseNow(session, CloseReason::kClient);
      return;
    case '0':
    case '5':
    case '6':
      return;
    default:
      CloseNow(session, CloseReason::kParseError);
      return;
  }
  CloseNow(session, CloseReason::kTransportError);  // the heartbeat's direction is wrong
}

bool Engine::Writable(const Session& session) {
  if (session.transport == nullptr) return false;
  return !session.websocket || !session.transport->blocked;
}

bool Engine::IsTooSlow(const Session& session) const {
  if (session.websocket) return session.transport != nullptr && session.transport->slow;
  return std::find(doomed_.begin(), doomed_.end(), &session) != doomed_.end();
}

bool Engine::Send(Session& session, FrameRef packet, std::span<const FrameRef> attachments) {
  if (!session.open()) return false;
  if (session.websocket) {
    if (session.protocol != 3) return loop_.Send(*session.transport, std::move(packet), attachments);
    std::vector<FrameRef> marked;
    for (const FrameRef& attachment : attachments) marked.push_back(AsProtocol3(*attachment));
    if (packet->kind == FrameKind::kBinary) packet = AsProtocol3(*packet);
    return loop_.Send(*session.transport, std::move(packet), marked);
  }
  if (packet->droppable && session.transport == nullptr) return false;
  size_t size = packet->size;
  for (const FrameRef& attachment : attachments) size += attachment->size;
  if (session.out.bytes() + size > loop_.limits().out_max && !session.out.empty()) {
    loop_.counters().dropped_slow.Add(1);
    const bool closes = loop_.limits().slow == SlowPolicy::kClose && !packet->droppable;
    loop_.Notify({.kind = closes ? Notice::Kind::kSlowClosed : Notice::Kind::kSlowDropped,
                  .what = "slow.bytes",
                  .connection = session.transport,
                  .bytes = session.out.bytes()});
    if (closes) {
      loop_.counters().closed_slow.Add(1);
      doomed_.push_back(&session);
    }
    return false;
  }
  session.out.Push(std::move(packet));
  for (const FrameRef& attachment : attachments) session.out.Push(attachment);
  if (session.transport != nullptr && !session.dirty) {
    session.dirty = true;
    dirty_.push_back(&session);
  }
  return true;
}

void Engine::Turn() {
  for (size_t i = 0; i < doomed_.size(); ++i) CloseNow(*doomed_[i], CloseReason::kSlow);
  doomed_.clear();
  answering_.swap(dirty_);
  for (Session* session : answering_) {
    session->dirty = false;
    if (session->open() && !session->websocket && session->transport != nullptr && !session->out.empty()) {
      AnswerPoll(*session);
    }
  }
  answering_.clear();
  for (Session* session : dead_) sessions_.Free(session->slot);
  dead_.clear();
}

}  // namespace muster::push::engineio
