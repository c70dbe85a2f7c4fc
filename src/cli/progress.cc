#include "cli/progress.h"

#include <fmt/core.h>

#include <algorithm>

namespace muster::cli {
namespace {

std::string Seconds(Time from, Time to) {
  const auto ms = std::max<int64_t>(0, (to - from).count());
  if (ms < 60'000) return fmt::format("{:.1f}s", static_cast<double>(ms) / 1000);
  return fmt::format("{}m{:02}s", ms / 60'000, ms / 1000 % 60);
}

std::string ArgumentOf(const Step& step, const char* name) {
  const auto found = step.args.find(name);
  return found == step.args.end() ? "a member" : found->second;
}

constexpr Duration kTellWaitAfter = 5s;  // of a step, in lines; and so often
constexpr std::string_view kPutBack = ".put-back";

bool IsTrouble(InstanceState state) {
  return state == InstanceState::kFailed || state == InstanceState::kBackoff ||
         state == InstanceState::kUnhealthy;
}

}  // namespace

Progress::Progress(const Plan& plan, Time start, WallTime begun)
    : total_(static_cast<int>(plan.steps.size())), start_(start), begun_(begun) {
  for (const Step& step : plan.steps) {
    steps_[step.id] = step;
    Row& row = RowOf(step.instance);
    row.host = step.host;
    ++row.steps_left;
  }
}

Progress::Row& Progress::RowOf(const std::string& instance) {
  const auto [found, fresh] = row_of_.try_emplace(instance, rows_.size());
  if (fresh) rows_.push_back({.name = instance});
  return rows_[found->second];
}

Progress::Phase Progress::PhaseOf(const Row& row) {
  if (!row.open.empty()) return Phase::kMoving;
  if (row.failed) return Phase::kFailed;
  return row.steps_left > 0 ? Phase::kWaiting : Phase::kDone;
}

std::string Progress::Doing(const std::string& step_id) const {
  const auto found = steps_.find(step_id);
  if (found == steps_.end()) return step_id;
  const Step& step = found->second;
  if (step.verb == "install") return "writes its files";
  if (step.verb == "start") return "starts";
  if (step.verb == "stop") return "stops";
  if (step.verb == "reload") return "reloads";
  if (step.verb == "remove") return "is removed";
  if (step.verb == "drain") return "takes " + ArgumentOf(step, "member") + " out";
  if (step.verb == "restore") return "puts " + ArgumentOf(step, "member") + " back";
  if (step.verb == "admit") return "sends to " + ArgumentOf(step, "member") + ", too";
  if (step.verb == "dismiss") return "lets " + ArgumentOf(step, "member") + " go";
  if (step.verb == "step-down") return "steps down";
  if (step.verb == "leave") return "leaves";
  if (step.verb == "settle") return "settles";
  return step.verb;
}

std::string Progress::Did(const Step& step) const {
  if (step.verb == "install") return "installed";
  if (step.verb == "start") return "ready";
  if (step.verb == "stop") return "stopped";
  if (step.verb == "reload") return "reloaded";
  if (step.verb == "remove") return "removed";
  if (step.verb == "drain") return "took " + ArgumentOf(step, "member") + " out";
  if (step.verb == "restore") return "put " + ArgumentOf(step, "member") + " back";
  if (step.verb == "admit") return "sends to " + ArgumentOf(step, "member") + ", too";
  if (step.verb == "dismiss") return "let " + ArgumentOf(step, "member") + " go";
  if (step.verb == "step-down") return "stepped down";
  if (step.verb == "leave") return "left";
  if (step.verb == "settle") return "settled";
  return step.verb + " done";
}

std::vector<std::string> Progress::On(const Event& event, Time now) {
  if (const auto* step = std::get_if<StepEvent>(&event)) return OnStep(*step, now);
  if (const auto* observed = std::get_if<Observed>(&event)) return OnInstance(*observed);
  if (const auto* host = std::get_if<HostEvent>(&event)) {
    const std::string line = host->host + (host->connected ? " is reached" : " is silent");
    const std::string key = "host " + host->host;
    if (told_[key] == line || (host->connected && told_[key].empty())) return {};
    told_[key] = line;
    notices_.push_back(line);
    return {line};
  }
  if (const auto* paused = std::get_if<PausedEvent>(&event)) {
    const std::string line = fmt::format("{} waits: {}", paused->service, paused->reason);
    if (std::find(notices_.begin(), notices_.end(), line) != notices_.end()) return {};
    notices_.push_back(line);
    return {line};
  }
  if (const auto* waiting = std::get_if<WaitingEvent>(&event)) return OnWaiting(*waiting, now);
  finished_ = std::get<RunEvent>(event);
  return {};
}

std::vector<std::string> Progress::OnStep(const StepEvent& event, Time now) {
  done_ = std::max(done_, event.done);
  if (event.total > 0) total_ = event.total;
  std::string& seen = seen_[event.id];
  if (seen == event.state || seen == "done" || seen == "failed") return {};
  seen = event.state;
  Row& row = RowOf(event.instance);
  const auto planned = steps_.find(event.id);
  Step step;  // Put-backs are no part of the plan, but what they put back is.
  const bool in_plan = planned != steps_.end() && !event.id.ends_with(kPutBack);
  if (planned != steps_.end()) {
    step = planned->second;
  } else {
    if (event.id.ends_with(kPutBack)) {
      const auto undone = steps_.find(event.id.substr(0, event.id.size() - kPutBack.size()));
      if (undone != steps_.end()) step = undone->second;
    }
    step.verb = event.verb;
    steps_.emplace(event.id, step);
  }
  if (event.state == "sent") {
    // The service goes on: what it waited for is over.
    const std::string waited = step.service + " waits: ";
    std::erase_if(notices_, [&](const std::string& notice) { return notice.starts_with(waited); });
    row.open.emplace(event.id, now);
    return {};
  }
  const auto opened = row.open.find(event.id);
  const Time since = opened == row.open.end() ? now : opened->second;
  row.open.erase(event.id);
  row.waits.erase(event.id);
  if (event.state == "again") {  // no end of it: the run goes back, and comes to it once more
    return {fmt::format("[{}/{}] {}  hands over once more: {}", done_, total_, row.name,
                        event.error ? event.error->message() : event.verb + " was refused")};
  }
  if (in_plan && row.steps_left > 0) --row.steps_left;
  if (event.state == "done") {
    row.last = Did(step);
    // A load balancer sends to nobody who isn't ready, so it is free to and no more than that.
    if (!in_plan && step.verb == "restore") {
      row.last = "sends to " + ArgumentOf(step, "member") + " again once it is ready";
    }
    row.took = now - since;
    const std::string took = now - since >= 100ms ? " after " + Seconds(since, now) : "";
    return {fmt::format("[{}/{}] {}  {}{}", done_, total_, row.name, row.last, took)};
  }
  row.failed = true;
  if (event.error && event.error->code() == "cancelled") {
    row.cancelled = true;
    row.failure = (step.verb == "start"  ? "not ready yet"
                   : step.verb == "stop" ? "not stopped yet"
                                         : step.verb + " not done yet") +
                  std::string(" when the run was cancelled");
    return {fmt::format("[{}/{}] {}  {}", done_, total_, row.name, row.failure)};
  }
  row.failure = event.error ? event.error->message() : event.verb + " failed";
  const Error error = event.error ? *event.error : Error::Internal("step-failed", "{} failed", event.verb);
  failures_.emplace_back(row.name, error);
  return {fmt::format("[{}/{}] {}  failed: {} [{}]", done_, total_, row.name, error.message(), error.code())};
}

std::vector<std::string> Progress::OnWaiting(const WaitingEvent& event, Time now) {
  Row& row = RowOf(event.instance);
  const auto opened = row.open.find(event.id);
  if (opened == row.open.end()) return {};
  row.waits[event.id] = event.reason;
  const Time last = waits_told_.try_emplace(event.id, opened->second).first->second;
  if (now - std::max(last, opened->second) < kTellWaitAfter) return {};
  waits_told_[event.id] = now;
  return {fmt::format("[{}/{}] {}  {}: {}", done_, total_, row.name, Doing(event.id), event.reason)};
}

bool Progress::Begun(const std::string& step_id) const {
  const auto seen = seen_.find(step_id);
  return seen != seen_.end() && !seen->second.empty();
}

Progress::Reach Progress::HowFar() const {
  Reach reach;
  const auto state = [&](const std::string& id) {
    const auto seen = seen_.find(id);
    return seen == seen_.end() ? std::string() : seen->second;
  };
  const auto planned = [&](const std::string& id) { return steps_.find(id) != steps_.end(); };
  for (const Row& row : rows_) {
    const std::string install = row.name + ".install", start = row.name + ".start";
    const std::string reload = row.name + ".reload", back = row.name + ".stop" + std::string(kPutBack);
    if (!planned(install) && !planned(start) && !planned(reload)) continue;
    if (planned(install) && steps_.at(install).put_back == "remove") continue;  // stands in for a while only
    const bool written = !planned(install) || state(install) == "done";
    const bool starts = planned(start) && (Begun(start) || Begun(back));
    const bool there = written && (planned(start) ? starts : !planned(reload) || state(reload) == "done");
    const bool ready = !planned(start) || state(start) == "done" || state(back) == "done";
    (there ? ready ? reach.ready : reach.started : reach.not_yet).push_back(row.name);
  }
  return reach;
}

// What is to be started anew tells how the one before it ended until then: no news where that was before the
// run, or while it is being replaced.
bool Progress::IsOfBefore(const Observed& observed) const {
  const std::string start = observed.name + ".start";
  if (steps_.find(start) == steps_.end() || Begun(start)) return false;
  return observed.since < begun_ || Begun(observed.name + ".stop") || Begun(observed.name + ".install");
}

std::vector<std::string> Progress::OnInstance(const Observed& observed) {
  const auto known = row_of_.find(observed.name);
  if (known == row_of_.end() && !IsTrouble(observed.state)) return {};
  Row& row = RowOf(observed.name);
  if (row.host.empty()) row.host = observed.host;
  row.state = observed.state;
  row.state_known = true;
  std::string trouble;
  if (IsTrouble(observed.state)) {
    if (IsOfBefore(observed)) return {};
    trouble = std::string(StateName(observed.state));
    if (!observed.last_exit.empty()) trouble += " (" + observed.last_exit + ")";
  }
  std::string& told = told_[observed.name];
  // Between two crashes it is starting: nothing to tell, and the same end again is no news.
  if (trouble.empty() && observed.state != InstanceState::kReady) return {};
  if (told == trouble) return {};
  told = trouble;
  return trouble.empty() ? std::vector<std::string>{}
                         : std::vector<std::string>{observed.name + "  " + trouble};
}

std::string Progress::DrawRow(const Row& row, Time now, bool color, size_t name_width,
                              size_t host_width) const {
  const bool over = finished_ && finished_->state != "done";
  std::string sign, what, time;
  Color tint = Color::kNone;
  switch (PhaseOf(row)) {
    case Phase::kWaiting:
      sign = "·";
      what = row.last.empty() ? (over ? "not touched" : "waits") : row.last + (over ? "" : ", waits");
      tint = Color::kDim;
      break;
    case Phase::kMoving: {
      sign = over ? "·" : "●";
      what = Doing(row.open.begin()->first);
      if (row.open.size() > 1) what += fmt::format(" and {} more", row.open.size() - 1);
      if (const auto waits = row.waits.find(row.open.begin()->first); waits != row.waits.end() && !over)
        what += ": " + waits->second;
      if (row.state_known && IsTrouble(row.state)) what += ", " + std::string(StateName(row.state));
      if (over) what += ", left at that";
      time = Seconds(row.open.begin()->second, now);
      tint = Color::kYellow;
      break;
    }
    case Phase::kDone:
      sign = "✓";
      what = row.last.empty() ? std::string(StateName(row.state)) : row.last;
      if (row.took) time = Seconds(Time{}, Time{} + *row.took);
      tint = Color::kGreen;
      break;
    case Phase::kFailed:
      if (row.cancelled) {
        sign = "·";
        what = row.failure;
        tint = Color::kYellow;
        break;
      }
      sign = "✗";
      what = "failed: " + row.failure;
      tint = Color::kRed;
      break;
  }
  std::string line = Paint(sign, tint, color) + " " + Pad(row.name, name_width) + "  ";
  if (host_width > 0) line += Paint(Pad(row.host, host_width), Color::kDim, color) + "  ";
  return line + Paint(what, tint, color) + (time.empty() ? "" : "  " + Paint(time, Color::kDim, color));
}

std::string Progress::DrawTotal(Time now, bool color) const {
  int moving = 0, failed = 0;
  for (const Row& row : rows_) {
    moving += PhaseOf(row) == Phase::kMoving;
    failed += PhaseOf(row) == Phase::kFailed && !row.cancelled;
  }
  std::string line = fmt::format("{} of {} steps", done_, total_);
  if (moving > 0) line += fmt::format(", {} in motion", moving);
  if (failed > 0) line += ", " + Paint(fmt::format("{} failed", failed), Color::kRed, color);
  return line + ", " + Seconds(start_, now);
}

std::vector<std::string> Progress::Draw(Time now, Size size, bool color) const {
  const auto columns = static_cast<size_t>(std::max(2, size.columns)) - 1;
  const auto rows_most = static_cast<size_t>(std::max(2, size.rows)) - 1;
  size_t name_width = 0, host_width = 0;
  std::vector<const Row*> shown;
  for (const Row& row : rows_) {
    name_width = std::max(name_width, Width(row.name));
    host_width = std::max(host_width, Width(row.host));
    shown.push_back(&row);
  }
  const size_t notices = std::min<size_t>(notices_.size(), rows_most > 4 ? 2 : 0);
  const size_t room = rows_most - 1 - notices;
  size_t hidden = 0;
  if (shown.size() > room) {
    const auto rank = [](const Row* row) {
      switch (PhaseOf(*row)) {
        case Phase::kMoving:
          return 0;
        case Phase::kFailed:
          return 1;
        case Phase::kWaiting:
          return 2;
        case Phase::kDone:
          return 3;
      }
      return 4;
    };
    std::stable_sort(shown.begin(), shown.end(),
                     [&](const Row* a, const Row* b) { return rank(a) < rank(b); });
    const size_t kept = room > 0 ? room - 1 : 0;
    hidden = shown.size() - kept;
    shown.resize(kept);
  }
  std::vector<std::string> lines;
  for (const Row* row : shown) lines.push_back(DrawRow(*row, now, color, name_width, host_width));
  if (hidden > 0 && room > 0)
    lines.push_back(Paint(fmt::format("… and {} more", hidden), Color::kDim, color));
  for (size_t i = notices_.size() - notices; i < notices_.size(); ++i) {
    lines.push_back(Paint(notices_[i], Color::kYellow, color));
  }
  lines.push_back(DrawTotal(now, color));
  for (std::string& line : lines) line = Fit(line, columns);
  return lines;
}

std::string Redraw(size_t lines_before, const std::vector<std::string>& lines) {
  std::string text;
  if (lines_before > 0) text += fmt::format("\x1b[{}A\r", lines_before);
  for (const std::string& line : lines) text += line + "\x1b[K\n";
  return text + "\x1b[J";
}

}  // namespace muster::cli
