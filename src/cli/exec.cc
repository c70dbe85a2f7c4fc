#include "cli/exec.h"

#include <unistd.h>

#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/json.h"
#include "base/bytes.h"
#include "cli/answer.h"
#include "cli/input.h"

namespace muster::cli {
namespace {

constexpr size_t kInputPiece = 256 << 10;

// Shared by the events of the command and by what feeds it.
struct Running {
  Running(Context& the_context, ApiClient& the_api, std::string the_target, bool as_json)
      : context(the_context),
        api(the_api),
        target(std::move(the_target)),
        json(as_json),
        input(the_api.loop(), STDIN_FILENO) {}

  Context& context;
  ApiClient& api;
  const std::string target;  // ".../exec"
  const bool json;
  InputReader input;
  bool over = false;
  bool broken = false;                     // nobody reads our output any more
  std::optional<net::Promised<bool>> fed;  // set once nothing is fed any more
  std::optional<int> status;
  std::optional<Error> failure;
  std::string out, err;  // with --json
};

net::Task<void> Feed(std::shared_ptr<Running> running, std::string target) {
  while (true) {
    std::string piece = co_await running->input.Next(kInputPiece);
    if (running->over) break;
    const bool end = piece.empty();
    std::string to = end ? target + "?end=1" : target;
    const auto answer = co_await running->api.PostBytesTask(std::move(to), std::move(piece));
    if (!answer.ok() || end) break;  // it reads no more; how the command ends tells what there is to tell
  }
  running->fed->Set(true);
}

void Print(Running& running, const Json& chunk) {
  const bool to_err = Text(chunk, "stream") == "err";
  const std::string coded = Text(chunk, "base64");
  const std::string bytes = coded.empty() ? Text(chunk, "data") : DecodeBase64(coded).value_or("");
  if (running.json) {
    (to_err ? running.err : running.out) += bytes;
  } else {
    const Console& console = running.context.console;
    (to_err ? console.err : console.out)(bytes);
    running.broken = console.out_broken && console.out_broken();
  }
}

bool Take(const std::shared_ptr<Running>& running, const std::string& name, const Json& data) {
  if (name == "chunk") {
    Print(*running, data);
    return !running->broken;
  }
  if (name == "started" && Flag(data, "input")) {
    running->fed.emplace();
    net::Spawn(Feed(running, running->target + "/" + Text(data, "exec") + "/input"));
  } else if (name == "started") {
    running->context.console.ErrLine("the agent is of an older release: the command reads no input");
  } else if (name == "end") {
    running->status = Number(data, "status");
    if (data.contains("error") && data["error"].is_object()) running->failure = api::ErrorFrom(data["error"]);
    return false;
  }
  return true;
}

net::Task<Status> Follow(std::shared_ptr<Running> running, std::string body) {
  OnEvent on_event = [running](const std::string& name, const Json& data) {
    return Take(running, name, data);
  };
  std::string target = running->target;
  Status status = co_await running->api.StreamTask("POST", std::move(target), std::move(body), on_event);
  running->over = true;
  running->input.Stop();
  if (running->fed) {
    const bool fed = co_await *running->fed;
    (void)fed;
  }
  co_return status;
}

}  // namespace

Result<int> RunExec(Context& context, const ExecArgs& args) {
  if (args.command.empty()) {
    return Error::Invalid("argument-missing", "there is no command to run in {}", args.instance)
        .Hint("muster exec {} -- COMMAND", args.instance);
  }
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  const auto running = std::make_shared<Running>(context, *api, ClusterTarget(key, "/exec"), args.json);
  std::string body = DumpJson({{"instance", args.instance},
                               {"argv", args.command},
                               {"input_open", !args.no_input},
                               {"base64", true}});
  const Status status = api->loop().RunTask(Follow(running, std::move(body)));
  if (running->broken) return 128 + SIGPIPE;  // as a program that writes where nobody reads
  if (!status.ok()) return status.error();
  if (running->failure && running->status.value_or(0) == 0) return *running->failure;
  if (!running->status) {
    return Error::Unavailable("server-gone", "the server went away before the command ended");
  }
  if (args.json) {
    Json answer{{"status", *running->status}, {"out", running->out}, {"err", running->err}};
    if (running->failure) answer["error"] = api::ToJson(*running->failure);
    PrintJson(context, answer);
  }
  if (running->failure) PrintError(context.console, *running->failure);
  return *running->status;
}

}  // namespace muster::cli
