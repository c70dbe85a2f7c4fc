// The part of Engine that ends sessions.
#include "push/engineio/engine.h"

namespace muster::push::engineio {
namespace {

constexpr Duration kClosingWait = 30s;  // for the GET that is told of the end

}  // namespace

std::string_view CloseReasonText(CloseReason reason) {
  switch (reason) {
    case CloseReason::kClient:
      return "transport close";
    case CloseReason::kTransportClose:
      return "transport close";
    case CloseReason::kTransportError:
      return "transport error";
    case CloseReason::kPingTimeout:
      return "ping timeout";
    case CloseReason::kParseError:
      return "parse error";
    case CloseReason::kServer:
      return "forced close";
    case CloseReason::kSlow:
      return "slow consumer";
  }
  return "";
}

void Engine::Close(Session& session) {
  if (!session.open()) return;
  const bool waits = !session.websocket && !session.out.empty();
  if ((session.websocket || session.transport != nullptr) && !waits) {
    if (!session.websocket) AnswerPoll(session, "1");
    CloseNow(session, CloseReason::kServer);
    return;
  }
  // The end goes into an answer of its own: a client that is told of it in the same as its last messages is
  // closed before it comes to them, and drops them.
  if (session.transport != nullptr) AnswerPoll(session);
  session.state = Session::State::kClosing;
  EndProbe(session);
  loop_.timers().Set(session, loop_.now() + kClosingWait);
  handler_.OnClosed(session, CloseReason::kServer);
}

void Engine::EndProbe(Session& session) {
  Connection* probe = std::exchange(session.probe, nullptr);
  if (probe == nullptr) return;
  probe->owner = nullptr;
  loop_.CloseWebSocket(*probe, websocket::kNoCode);
}

void Engine::CloseNow(Session& session, CloseReason reason) {
  if (reason == CloseReason::kParseError) {
    loop_.Notify({.kind = Notice::Kind::kBadProtocol, .what = "a bad Engine.IO packet"});
  }
  if (session.state == Session::State::kClosed) return;
  if (session.websocket && session.transport != nullptr && session.transport->slow)
    reason = CloseReason::kSlow;
  const bool told = session.state == Session::State::kClosing;
  session.state = Session::State::kClosed;
  loop_.timers().Clear(session);
  loop_.LeavePlace(std::exchange(session.place, nullptr));
  (session.websocket ? counters_.websocket : counters_.polling).Add(-1);
  switch (reason) {
    case CloseReason::kClient:
    case CloseReason::kTransportClose:
      counters_.closed_by_client.Add(1);
      break;
    case CloseReason::kPingTimeout:
      counters_.closed_by_ping_timeout.Add(1);
      break;
    case CloseReason::kServer:
      counters_.closed_by_server.Add(1);
      break;
    default:
      counters_.closed_by_error.Add(1);
      break;
  }
  if (Connection* transport = std::exchange(session.transport, nullptr)) {
    transport->owner = nullptr;
    if (session.websocket) {
      loop_.CloseWebSocket(*transport, reason == CloseReason::kSlow ? uint16_t{websocket::kPolicy}
                                                                    : uint16_t{websocket::kNoCode});
    } else {
      // A client that closes is answered by a noop, one that is closed by a close packet.
      session.transport = transport;
      session.out.Clear();
      AnswerPoll(session, reason == CloseReason::kClient ? "6" : "1");
    }
  }
  EndProbe(session);
  if (Connection* posting = std::exchange(session.posting, nullptr)) posting->owner = nullptr;
  session.out.Clear();
  dead_.push_back(&session);
  if (!told) handler_.OnClosed(session, reason);
}

void Engine::OnClosed(Connection& connection) {
  Session* session = static_cast<Session*>(std::exchange(connection.owner, nullptr));
  if (session == nullptr) return;
  if (session->probe == &connection) {
    session->probe = nullptr;
    return;
  }
  if (session->posting == &connection) session->posting = nullptr;
  if (session->transport == &connection) session->transport = nullptr;
  CloseNow(*session, connection.slow ? CloseReason::kSlow : CloseReason::kTransportClose);
}

}  // namespace muster::push::engineio
