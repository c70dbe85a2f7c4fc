// Commands beside an instance: their output as events, their input as requests.
#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "api/window.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/text.h"
#include "server/api.h"

namespace muster::server {

struct RunningExec {
  control::Agents* agents = nullptr;
  std::string cluster, host, id;
  int64_t room = 0;     // bytes of input that may be under way
  bool ended = false;   // no more input comes
  bool closed = false;  // none is read any more, or the command is over
  std::vector<net::Promised<bool>> waiting;

  void Wake() {
    for (const auto& one : std::exchange(waiting, {})) one.Set(true);
  }
  void Close() {
    closed = true;
    Wake();
  }
};

namespace {

constexpr int64_t kWindow = 1 << 20;         // bytes of output under way
constexpr int64_t kInputWindow = 256 << 10;  // bytes of input under way
constexpr size_t kInputPiece = 64 << 10;

// Hands input on as the command reads it. False where it reads no more.
net::Task<bool> Feed(std::shared_ptr<RunningExec> exec, std::string bytes, bool end) {
  for (size_t at = 0; at < bytes.size(); at += kInputPiece) {
    while (exec->room <= 0 && !exec->closed) {
      const net::Promised<bool> room;
      exec->waiting.push_back(room);
      co_await room;
    }
    if (exec->closed) co_return false;
    const api::Input input{.id = exec->id, .data = bytes.substr(at, kInputPiece), .end = false};
    exec->room -= static_cast<int64_t>(input.data.size());
    exec->agents->Tell(exec->cluster, exec->host, input);
  }
  if (end) exec->agents->Tell(exec->cluster, exec->host, api::Input{.id = exec->id, .data = "", .end = true});
  co_return true;
}

net::Task<void> FeedFirst(std::shared_ptr<RunningExec> exec, std::string bytes, bool end) {
  const bool fed = co_await Feed(exec, std::move(bytes), end);
  (void)fed;  // a command that doesn't want it is fine
}

std::string ChunkEvent(const api::Chunk& chunk, bool coded) {
  // Nothing in it has to be escaped, which is most of the work with other forms.
  if (coded) {
    return net::FormatSse(
        "chunk", fmt::format(R"({{"stream":"{}","base64":"{}"}})", chunk.stream == "err" ? "err" : "out",
                             EncodeBase64(chunk.data)));
  }
  Json json{{"stream", chunk.stream}, {"data", chunk.data}};
  // JSON holds text only: what isn't comes a second time, exactly.
  if (!IsUtf8(chunk.data)) json["base64"] = EncodeBase64(chunk.data);
  return net::FormatSse("chunk", Dump(json));
}

// Names the instances that can be meant: those of the service of that name, or the nearest one.
Error NoInstance(const std::string& cluster, const std::string& name,
                 const std::vector<Instance>& instances) {
  std::vector<std::string> of_service, all;
  for (const Instance& one : instances) {
    all.push_back(one.name);
    if (one.service == name) of_service.push_back(one.name);
  }
  if (of_service.empty()) {
    Error error = Error::NotFound("unknown-instance", "{} has no instance {}", cluster, name);
    const auto near = Nearest(name, all);
    if (near) return std::move(error).Hint("did you mean {}? muster ps lists them", *near);
    return std::move(error).Hint("muster ps lists them");
  }
  constexpr size_t kNamedMost = 20;
  const std::string more =
      of_service.size() > kNamedMost ? fmt::format(" and {} more", of_service.size() - kNamedMost) : "";
  of_service.resize(std::min(of_service.size(), kNamedMost));
  return Error::NotFound("unknown-instance", "{} is a service, and a command runs beside one instance", name)
      .Hint("name one of {}{}", Join(of_service, ", "), more);
}

// Arguments may hold passwords: only how many there were is written down.
std::string DetailOf(const api::ExecMessage& message) {
  const size_t arguments = message.argv.size() - 1;
  const std::string program = message.instance + ": " + message.argv[0];
  if (arguments == 0) return program;
  return fmt::format("{} with {} {}", program, arguments, arguments == 1 ? "argument" : "arguments");
}

}  // namespace

net::Task<void> Api::Exec(net::Exchange& exchange, Call call) {
  const auto found = FindController(call);
  if (!found.ok()) {
    co_await Refuse(exchange, found.error());
    co_return;
  }
  api::ExecMessage message{.id = RandomHex(8), .epoch = (*found)->row().epoch, .instance = "", .argv = {}};
  std::string input;
  bool input_open = false, coded = false;
  const Status read = api::Fields(*call.body, "body")
                          .Text("instance", message.instance)
                          .Texts("argv", message.argv)
                          .Text("input", input)
                          .Bool("input_open", input_open)
                          .Bool("base64", coded)
                          .Give(Ok{});
  const Instance* instance = nullptr;
  for (const Instance& one : (*found)->desired()) {
    if (one.name == message.instance) instance = &one;
  }
  std::optional<Error> error;
  if (!read.ok()) error = read.error();
  if (!error && !instance) {
    error = NoInstance((*found)->row().key, message.instance, (*found)->desired());
  }
  if (!error && message.argv.empty()) error = Error::Invalid("no-command", "no command was given");
  if (error) {
    co_await Refuse(exchange, *error);
    co_return;
  }
  const std::string cluster = (*found)->row().key, host = instance->host;
  // An agent of an older release hands none on, and runs the command all the same.
  const bool can_input = deps_.agents->knows_windows(cluster, host);
  message.window = kWindow;
  message.input = can_input && (input_open || !input.empty());
  (void)deps_.store->AddAudit({.id = 0,
                               .at = WallNow(),
                               .who = call.who,
                               .cluster = cluster,
                               .action = "exec",
                               .detail = DetailOf(message)});
  auto queue = std::make_shared<EventQueue>();
  auto exec = std::make_shared<RunningExec>();
  exec->agents = deps_.agents;
  exec->cluster = cluster;
  exec->host = host;
  exec->id = message.id;
  exec->room = kInputWindow;
  auto over = std::make_shared<bool>(false);
  auto owed = std::make_shared<int64_t>(0);  // bytes passed on that the agent hasn't been told of
  queue->on_taken = [agents = deps_.agents, cluster, host, id = message.id, owed] {
    if (*owed < kWindow / 4) return;
    agents->Tell(cluster, host, api::More{.id = id, .bytes = std::exchange(*owed, 0)});
  };
  if (input_open) {
    queue->Push(net::FormatSse("started", Dump({{"exec", message.id}, {"input", can_input}})));
    if (can_input) execs_[message.id] = exec;
  }
  deps_.agents->Stream(
      cluster, host, message, message.id,
      [queue, owed, coded](const api::Chunk& chunk) {
        *owed += api::Weight(chunk.data);
        queue->Push(ChunkEvent(chunk, coded));
      },
      [queue, exec, over](const api::End& end) {
        *over = true;
        Json json{{"status", end.status}};
        if (end.error) json["error"] = api::ToJson(*end.error);
        queue->Push(net::FormatSse("end", Dump(json)));
        queue->Close();
        exec->Close();
      },
      [exec](const api::Taken& taken) {
        exec->room += taken.bytes;
        exec->closed |= taken.closed;
        exec->Wake();
      });
  if (!input.empty() && can_input) net::Spawn(FeedFirst(exec, std::move(input), !input_open));
  co_await Pump(exchange, queue);
  if (!*over) deps_.agents->CancelStream(cluster, host, message.id);
  exec->Close();
  execs_.erase(message.id);
}

net::Task<Answer> Api::ExecInput(Call call) {
  const auto found = execs_.find(call.part("exec"));
  if (found == execs_.end() || found->second->cluster != call.part("cluster")) {
    co_return Bad(Error::NotFound("exec-over", "no command {} runs that reads input", call.part("exec"))
                      .Hint("its `end` event tells how it ended"));
  }
  const std::shared_ptr<RunningExec> exec = found->second;
  const auto query = call.request->query();
  const bool end = query.contains("end") && query.at("end") != "0";
  bool read = !exec->ended && !exec->closed;
  if (read) {
    exec->ended = end;
    read = co_await Feed(exec, call.request->body, end);
  }
  if (!read) {
    co_return Bad(Error::Conflict("input-closed", "the command reads no more input")
                      .Hint("its `end` event tells how it ended"));
  }
  co_return Good(Json::object());
}

}  // namespace muster::server
