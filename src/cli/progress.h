// The display of a run: a machine that is fed its events and answers with lines. Pure: knows no terminal, no
// clock.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "cli/console.h"
#include "cli/events.h"
#include "model/plan.h"

namespace muster::cli {

class Progress {
 public:
  // `begun`: the same moment by the wall clock, before which troubles are an earlier release's.
  Progress(const Plan& plan, Time start, WallTime begun = {});

  // Takes an event in; returns the plain lines that tell of it, for where there is no terminal. An event that
  // was seen before (a stream that was opened again starts at the run's start) gives no line twice.
  std::vector<std::string> On(const Event& event, Time now);

  // The live picture: a line an instance and a total at the end, none wider than `size.columns` - 1 and
  // together at most `size.rows` - 1. Where they don't all fit, those in motion come first and the others are
  // counted.
  std::vector<std::string> Draw(Time now, Size size, bool color) const;

  const std::optional<RunEvent>& finished() const { return finished_; }
  // Where a run that brings a release has got to: who was started on it, ready or not, and who wasn't.
  struct Reach {
    std::vector<std::string> ready, started, not_yet;
  };
  Reach HowFar() const;
  // The instances whose steps failed, with the errors.
  const std::vector<std::pair<std::string, Error>>& failures() const { return failures_; }

 private:
  enum class Phase { kWaiting, kMoving, kDone, kFailed };
  struct Row {
    std::string name, host;
    int steps_left = 0;
    std::map<std::string, Time> open;          // step ids in motion, since when
    std::map<std::string, std::string> waits;  // of those, what they wait for
    std::string last;                          // what was done last, "ready in 1.2s"
    bool failed = false;
    std::string failure;
    bool cancelled = false;  // its step ended for the run's sake, not for its own
    InstanceState state = InstanceState::kUnknown;
    bool state_known = false;
    std::optional<Duration> took;  // its last step
  };
  static Phase PhaseOf(const Row& row);
  Row& RowOf(const std::string& instance);
  std::vector<std::string> OnStep(const StepEvent& event, Time now);
  std::vector<std::string> OnWaiting(const WaitingEvent& event, Time now);
  std::vector<std::string> OnInstance(const Observed& observed);
  std::string Doing(const std::string& step_id) const;
  std::string Did(const Step& step) const;
  bool Begun(const std::string& step_id) const;
  bool IsOfBefore(const Observed& observed) const;
  std::string DrawRow(const Row& row, Time now, bool color, size_t name_width, size_t host_width) const;
  std::string DrawTotal(Time now, bool color) const;

  std::map<std::string, Step> steps_;
  std::vector<Row> rows_;
  std::map<std::string, size_t> row_of_;
  std::map<std::string, std::string> seen_;  // step id -> the last state told
  std::map<std::string, std::string> told_;  // instance -> the last trouble told
  std::map<std::string, Time> waits_told_;   // step id -> when a line told what it waits for
  std::vector<std::pair<std::string, Error>> failures_;
  std::vector<std::string> notices_;  // pauses and silent hosts, for the live picture
  std::optional<RunEvent> finished_;
  int done_ = 0, total_ = 0;
  Time start_;
  WallTime begun_;
};

// What brings the cursor back over `lines_before` lines and writes `lines` in their place.
std::string Redraw(size_t lines_before, const std::vector<std::string>& lines);

}  // namespace muster::cli
