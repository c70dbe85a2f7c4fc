// What the files of Shard share. For its thread.
#pragma once

#include <map>

#include "push/socketio/json.h"
#include "push/spear/node.h"

namespace muster::push {

enum TimerOfShard : uint8_t { kTimerOfAck = 10, kTimerOfDrain, kTimerOfEcho };

// The result codes of gru.
enum ResultCode { kOk = 0, kFailed = -1, kSystem = 1001, kLogic = 1002, kParameters = 1003 };

// Acks that are on their way for one publication.
struct Shard::PendingAck : TimerNode {
  int64_t id = 0;
  SocketIds asked;  // who may still answer, each once
  Answer answer;
  BytesLeft bytes_left;
  Reply reply;
};

// A request of the push API that waits for shards.
struct ApiCall {
  Connection* connection = nullptr;  // nullptr: it is gone
  std::string from;                  // address
  size_t left = 0;
  bool batch = false;
  BytesLeft bytes_left;
  std::vector<std::string> results;
};

// Engine.IO alone, whose messages come back: what the protocol's official suite talks to.
class Shard::EchoSessions : public engineio::EngineHandler {
 public:
  EchoSessions(Shard& shard, engineio::Options options)
      : shard_(shard), engine_(shard.loop_, Own(options), *this) {}
  engineio::Engine& engine() { return engine_; }

  void OnOpen(engineio::Session&) override {}
  void OnMessage(engineio::Session& session, bool binary, std::string_view message) override {
    if (binary) {
      engine_.Send(session, MakeFrame(FrameKind::kBinary, message));
    } else {
      engine_.Send(session, MakeJoinedFrame(FrameKind::kText, "4", message));
    }
  }
  void OnClosed(engineio::Session&, engineio::CloseReason) override {}
  bool OnOtherRequest(Connection& connection, const http::Request& request) override {
    connection.handler = kClients;
    shard_.hub_.engine().OnRequest(connection, request);
    return true;
  }
  void HandOver(uint8_t shard, MovedConnection moved) override { shard_.HandOver(shard, std::move(moved)); }

 private:
  static engineio::Options Own(engineio::Options options) {
    options.path = "/engine.io/";
    options.timer_kind = kTimerOfEcho;
    return options;
  }
  Shard& shard_;
  engineio::Engine engine_;
};

}  // namespace muster::push
