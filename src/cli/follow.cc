#include "cli/follow.h"

#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/json.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/hints.h"
#include "cli/home.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "model/up_command.h"

namespace muster::cli {
namespace {

constexpr Duration kRedrawEvery = 100ms;
constexpr Duration kOneInterrupt = 500ms;  // two within this are one
constexpr Duration kWayBackWithin = 30s;
constexpr int kReopenMost = 20;  // so many times is a broken stream opened again

// Shared by the stream, the timer and the signals. Whoever ends it first sets `end`.
struct Following : std::enable_shared_from_this<Following> {
  Context* context;
  ApiClient* api;
  std::string run;
  bool json = false;
  std::string up;
  Progress progress;
  size_t drawn = 0;  // lines of the live picture on the screen
  int interrupts = 0;
  Time interrupted{};  // the last time
  bool over = false;
  net::Promised<Status> end;

  Following(Context& the_context, ApiClient& the_api, std::string the_run, bool as_json, const Plan& plan)
      : context(&the_context),
        api(&the_api),
        run(std::move(the_run)),
        json(as_json),
        progress(plan, Now(), WallNow()) {}

  bool live() const { return context->console.out_is_terminal && !json; }

  void Draw() {
    const std::vector<std::string> lines =
        progress.Draw(Now(), context->console.size(), context->console.color);
    context->console.out(Redraw(drawn, lines));
    drawn = lines.size();
  }

  // A line that stays: above the live picture where there is one.
  void Say(const std::string& line) {
    if (live()) {
      context->console.out(Redraw(drawn, {}));
      drawn = 0;
    }
    if (live()) {
      context->console.OutLine(line);
      Draw();
    } else {
      context->console.ErrLine(line);
    }
  }

  void Take(const std::string& name, const Json& data) {
    if (json) {
      Json line = data.is_object() ? data : Json::object();
      line["event"] = name;
      context->console.OutText(DumpJson(line));
    }
    const auto event = EventFrom(name, data);
    if (!event.ok()) return;  // Of a newer server.
    const std::vector<std::string> lines = progress.On(*event, Now());
    if (json) return;
    if (live()) {
      Draw();
    } else {
      for (const std::string& line : lines) context->console.OutLine(line);
    }
  }

  void Tick() {
    if (over) return;
    Draw();
    api->loop().After(kRedrawEvery, [self = shared_from_this()] { self->Tick(); });
  }
};

using Shared = std::shared_ptr<Following>;

net::Task<void> Cancel(Shared following) {
  auto answer = co_await following->api->AskTask("POST", "/v1/runs/" + following->run + "/cancel", "{}");
  if (!answer.ok() && !following->over) following->Say("not cancelled: " + answer.error().Text());
}

// Opens the stream again and again until the run has finished.
net::Task<void> Pump(Shared following) {
  for (int attempt = 0; attempt < kReopenMost && !following->over; ++attempt) {
    OnEvent on_event = [following](const std::string& name, const Json& data) {
      if (following->over) return false;
      following->Take(name, data);
      return !following->progress.finished().has_value();
    };
    Status status = co_await following->api->StreamTask("GET", "/v1/runs/" + following->run + "/events", "",
                                                        std::move(on_event));
    if (following->over || following->progress.finished()) break;
    if (!status.ok() && status.error().kind() == ErrorKind::kNotFound) {
      following->end.Set(status);
      co_return;
    }
    if (attempt == 0) following->Say("the server has gone; its instances run on; looking for it");
    co_await following->api->loop().Sleep(300ms);
    if (following->over) co_return;
    Status server = EnsureServer(*following->context);
    if (!server.ok()) {
      following->end.Set(std::move(server));
      co_return;
    }
    auto answer = co_await following->api->AskTask("GET", "/v1/runs/" + following->run, "");
    if (answer.ok() && Text(*answer, "state") != "running") following->Take("finished", *answer);
    if (following->progress.finished()) break;
  }
  if (following->progress.finished()) {
    following->end.Set(Done());
  } else {
    following->end.Set(Error::Unavailable("server-gone", "the server went away in the middle of the run"));
  }
}

void OnInterrupt(Shared following) {
  if (following->over) return;
  // What sends one to the program and to its group, as timeout(1) does, means one.
  if (following->interrupts == 1 && Now() - following->interrupted < kOneInterrupt) return;
  following->interrupted = Now();
  if (++following->interrupts == 1) {
    following->Say(
        "cancelling: what is under way ends, who was taken out comes back; Ctrl-C again leaves at once");
    net::Spawn(Cancel(following));
  } else {
    following->end.Set(
        Error::Refused("left", "left; the server goes on with cancelling the run {}", following->run)
            .Hint("muster status shows how it goes"));
  }
}

net::Task<Status> Wait(Shared following) {
  net::Spawn(Pump(following));
  if (following->live()) following->Tick();
  Status status = co_await following->end;
  following->over = true;
  co_return status;
}

// "web-1, web-2 and 38 more"
std::string Some(const std::vector<std::string>& names) {
  constexpr size_t kNamedMost = 10;
  const size_t named = std::min(names.size(), kNamedMost);
  const std::string text = Join({names.begin(), names.begin() + static_cast<std::ptrdiff_t>(named)}, ", ");
  return named == names.size() ? text : fmt::format("{} and {} more", text, names.size() - named);
}

// Whether muster rollback has a revision to go to from what the run left.
bool CanGoBack(const RunEvent& run, ApiClient& api) {
  if (run.revision <= 1) return false;
  const auto history = api.Ask("GET", ClusterTarget(run.cluster, "/history?most=1"));
  return !history.ok() || Number(*history, "goes_back_to", 1) > 0;  // of an earlier server nobody knows
}

// Who is on which release now: nothing but traffic goes back by itself.
void SayCancelled(const Following& following, Context& context) {
  const RunEvent& run = *following.progress.finished();
  const std::string& option = context.console.cluster_option;
  if (run.error && run.error->code() == "cancelled-by-down") {  // nobody keeps anything
    context.console.ErrLine(
        fmt::format("the run was cancelled: {} [{}]", run.error->message(), run.error->code()));
    if (!run.error->hint().empty()) context.console.ErrLine("  fix: " + run.error->hint());
    return;
  }
  if (run.action != "up" && run.action != "scale" && run.action != "rollback" && run.action != "resume") {
    const std::string on =
        run.action == "down" ? "" : NameCluster("muster resume", option) + " goes on with the rest, ";
    context.console.ErrLine("the run was cancelled; " + on +
                            NameCluster("muster status shows what stands", option));
    return;
  }
  const Progress::Reach reach = following.progress.HowFar();
  const auto say = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) context.console.ErrLine(fmt::format("  {}: {}", what, Some(names)));
  };
  context.console.ErrLine("the run was cancelled; who has the new release keeps it");
  say("on the new release", reach.ready);
  say("on the new release, not ready yet", reach.started);
  say("not on it", reach.not_yet);
  const std::string back =
      CanGoBack(run, *following.api) ? "muster rollback goes back" : "muster down stops what is there";
  const std::string on = following.up.empty() ? NameCluster("muster resume", option) : following.up;
  context.console.ErrLine(on + " goes on with the rest; " + NameCluster(back, option));
}

// What a release leaves that failed, and the ways on.
void SayHowOn(const RunEvent& run, Context& context, ApiClient& api, const std::string& up) {
  const std::string back = NameCluster("muster rollback", context.console.cluster_option);
  const bool brings = run.action == "up" || run.action == "scale" || run.action == "resume";
  if (!brings && run.action != "rollback") return;
  const std::string again = up.empty() ? UpCommand(run.cluster) : up;
  if (!CanGoBack(run, api)) {
    context.console.ErrLine("there is no earlier good revision to go back to; mend it and run " + again +
                            " again");
  } else if (brings) {
    context.console.ErrLine("what was not touched runs on; mend it and run " + again +
                            " again, or go back: " + back);
  } else {
    context.console.ErrLine("what was not touched runs on; go to the last revision that was good before: " +
                            back + ", or mend the file and run " + again);
  }
}

// What there is to say at the end of a run that isn't done.
Followed Conclude(const Following& following, Context& context) {
  const RunEvent& run = *following.progress.finished();
  Followed followed{.finished = true, .done = run.state == "done"};
  if (followed.done) return followed;
  followed.exit_code = 1;
  if (run.state == "cancelled") {
    followed.exit_code = following.interrupts > 0 ? 130 : 1;
    if (!following.json) SayCancelled(following, context);
    return followed;
  }
  if (run.state == "paused") {
    // Nothing went wrong with the cluster: the cause is said, and how to go on.
    const std::string why =
        run.error ? run.error->message() : "the server was ended in the middle of the run";
    context.console.ErrLine("paused: " + why + " [run-paused]\n  fix: " +
                            NameCluster("muster resume goes on with it", context.console.cluster_option));
    return followed;
  }
  const auto& failures = following.progress.failures();
  Error error = run.error          ? *run.error
                : failures.empty() ? Error::Internal("run-failed", "the run failed")
                                   : Error(failures[0].second).While("{}", failures[0].first);
  if (error.evidence().empty() && !failures.empty()) {
    error = std::move(error).Evidence(failures[0].second.evidence());
  }
  if (error.hint().empty() && !failures.empty()) {
    error = std::move(error).Hint("muster logs {} --tail 50", failures[0].first);
  }
  followed.failed = true;
  if (error.kind() == ErrorKind::kRefused) followed.exit_code = 3;
  PrintError(context.console, error);
  return followed;
}

// `end` as the run has ended, if it did.
Followed FollowOne(Context& context, ApiClient& api, const std::string& run, const Plan& plan, bool json,
                   RunEvent& end, std::string up = "") {
  const auto following = std::make_shared<Following>(context, api, run, json, plan);
  following->up = std::move(up);
  for (const int signal : {SIGINT, SIGTERM}) {
    api.loop().OnSignal(signal, [weak = std::weak_ptr<Following>(following)] {
      if (const Shared shared = weak.lock()) OnInterrupt(shared);
    });
  }
  const EchoOff echo(following->live() && context.console.in_is_terminal);
  const Status status = api.loop().RunTask(Wait(following));
  if (following->live()) following->Draw();
  if (!status.ok()) {
    PrintError(context.console, status.error());
    return {.exit_code = following->interrupts > 0 ? 130 : 1};
  }
  end = *following->progress.finished();
  return Conclude(*following, context);
}

// What has come of a run's way back where the server died between the failure and the way back from it: the
// next one takes it.
RunEvent AwaitWayBack(ApiClient& api, RunEvent end) {
  const Time give_up = Now() + kWayBackWithin;
  while (end.goes_back && Now() < give_up) {
    std::this_thread::sleep_for(50ms);
    const auto answer = api.Ask("GET", "/v1/runs/" + end.run);
    if (!answer.ok()) break;
    auto now = RunFrom(*answer);
    if (!now.ok()) break;
    end = std::move(*now);
  }
  return end;
}

}  // namespace

Followed FollowRun(Context& context, ApiClient& api, const Json& started, bool json, const std::string& up) {
  const auto plan = api::PlanFrom(Object(started, "plan"));
  if (json) {
    Json line = started;
    line["event"] = "started";
    context.console.OutText(DumpJson(line));
  }
  RunEvent end;
  const Followed followed =
      FollowOne(context, api, Text(started, "run"), plan.ok() ? *plan : Plan{}, json, end, up);
  if (!followed.failed) return followed;
  end = AwaitWayBack(api, std::move(end));
  if (end.rolled_back_by.empty()) {
    if (end.no_way_back) {
      PrintError(context.console, Error(*end.no_way_back).While("going back to the last good revision"));
    }
    // What was not reached yet goes on as it was: nobody has to hurry.
    if (!json) SayHowOn(end, context, api, up);
    return followed;
  }
  if (!json) context.console.OutLine("going back to the last good revision");
  const auto answer = api.Ask("GET", "/v1/runs/" + end.rolled_back_by);
  if (!answer.ok()) {
    PrintError(context.console, answer.error());
    return followed;
  }
  const auto way_back = api::PlanFrom(Object(*answer, "plan"));
  RunEvent gone_back;
  const Followed back =
      FollowOne(context, api, end.rolled_back_by, way_back.ok() ? *way_back : Plan{}, json, gone_back);
  if (json) return followed;
  if (back.done) context.console.OutLine("went back: the last good revision runs again");
  if (back.failed) SayHowOn(gone_back, context, api, up);
  return followed;
}

}  // namespace muster::cli
