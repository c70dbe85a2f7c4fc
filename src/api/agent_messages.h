// What server and agent say to each other over a net::Channel: one JSON object a frame, {"v":1,"type":…}.
//
//   agent → server   hello{cluster,host,pid,version,epoch_seen,streams,pings}   once, first
//   server → agent   welcome{epoch}                        from now on orders with less are refused
//   server → agent   order{id,epoch,step,instance?}        do a step; the same id again: attach or repeat
//   agent → server   outcome{id,error?,values}             exactly one for each order
//   server → agent   observe{id,drift,fresh}
//   agent → server   observed{id,instances}
//   agent → server   changed{instance}                     an Observed, at once, whenever its state changes
//   agent → server   want_blob{sha256}
//   server → agent   blob{sha256,size}                     then 'B' frames of at most 1 MiB
//   server → agent   logs{id,instances,tail,since_ms,follow,window}
//   agent → server   chunk{id,instance,data,at}, end{id,error?}
//   server → agent   exec{id,instance,argv,epoch,window,input}
//   agent → server   chunk{id,stream,data|base64}, end{id,status,error?}
//   server → agent   more{id,bytes}                        so many bytes of chunks have been passed on
//   server → agent   input{id,base64,end}                  for the command's standard input
//   agent → server   taken{id,bytes,closed}                so many bytes of input the command has read
//   server → agent   verify{id,instance,args}
//   agent → server   verified{id,checks}
//   server → agent   cancel{id}                            ends a logs or exec
//   server → agent   ping{}                                now and then, to one that knows it
//   agent → server   pong{}                                at once: it isn't hung
//   server → agent   leave{epoch}                          the host has no instance left: the agent ends
//
// Streams have windows, since all share one connection: no more than `window` bytes of `data` are under way
// until `more` is said, so that a slow reader stops its own stream at its source, and nobody else's.
//
// Pure: encoding and decoding only; what sends is net/channel.h. Names in _ms are milliseconds (at_ms,
// since_ms: since 1970), sizes and windows bytes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/instance.h"
#include "model/plan.h"

namespace muster::api {

constexpr int kAgentProtocol = 1;
constexpr int kStreams = 1;

struct Hello {
  std::string cluster, host, version;
  int pid = 0;
  int64_t epoch_seen = 0;
  int streams = 0;     // kStreams of the agent; 0: it knows neither windows nor input
  bool pings = false;  // it answers them
  int protocol = kAgentProtocol;
};
struct Welcome {
  int64_t epoch = 0;
};
struct OrderMessage {
  std::string id;
  int64_t epoch = 0;
  Step step;
  std::optional<Instance> instance;
};
struct Outcome {
  std::string id;
  std::optional<Error> error;
  std::map<std::string, std::string> values;
};
struct Observe {
  std::string id;
  bool drift = true;
  bool fresh = false;
};
struct ObservedMessage {
  std::string id;
  std::vector<Observed> instances;
};
struct Changed {
  Observed instance;
};
struct WantBlob {
  std::string sha256;
};
struct Blob {
  std::string sha256;
  int64_t size = 0;
  std::optional<Error> error;
};
struct Logs {
  std::string id;
  std::vector<std::string> instances;
  int tail = -1;
  int64_t since_ms = 0;
  bool follow = false;
  int64_t window = 0;  // bytes that may be under way before More is said; 0: any number
  int64_t from = -1;   // begin at this position, whatever tail and since say; -1: unsaid
};
struct ExecMessage {
  std::string id;
  int64_t epoch = 0;
  std::string instance;
  std::vector<std::string> argv;
  int64_t window = 0;
  bool input = false;  // standard input comes as Input; else there is none
};
struct More {
  std::string id;
  int64_t bytes = 0;
};
struct Input {
  std::string id, data;  // any bytes
  bool end = false;      // nothing comes after it
};
struct Taken {
  std::string id;
  int64_t bytes = 0;
  bool closed = false;  // the command reads no more
};
struct Chunk {
  std::string id, instance, stream, data;
  int64_t at_ms = 0;
  bool exact = false;    // data may be any bytes; else what is no UTF-8 is replaced
  int64_t position = 0;  // of a log: behind this line; 0 where it isn't known
};
struct End {
  std::string id;
  int status = 0;
  std::optional<Error> error;
};
struct VerifyMessage {
  std::string id, instance;
  std::map<std::string, std::string> args;
};
struct CheckResult {
  std::string name;
  bool passed = false;
  std::vector<std::string> evidence;
  std::string hint;
  bool skipped = false;
};
struct Verified {
  std::string id;
  std::vector<CheckResult> checks;
  std::optional<Error> error;
};
struct CancelMessage {
  std::string id;
};
struct Leave {
  int64_t epoch = 0;
};

// Of an agent's: `order`, where it isn't empty, asks whether that order is still waited for.
struct Ping {
  std::string order = {};
};
struct Pong {
  bool wanted = true;
};

using AgentMessage = std::variant<Hello, Welcome, OrderMessage, Outcome, Observe, ObservedMessage, Changed,
                                  WantBlob, Blob, Logs, ExecMessage, Chunk, End, VerifyMessage, Verified,
                                  CancelMessage, Leave, More, Input, Taken, Ping, Pong>;

std::string Encode(const AgentMessage& message);
// Code "bad-message" with what is wrong; "newer-protocol" for a version above ours. Never throws; fuzzed.
Result<AgentMessage> DecodeAgentMessage(std::string_view text);

}  // namespace muster::api
