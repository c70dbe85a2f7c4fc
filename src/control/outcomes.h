// What became of revisions, by their runs. Pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace muster::control {

// Whether runs of this action bring a revision. restart, stop, start and down act on the one that stands.
bool Brings(std::string_view action);

// Whether this run brought its revision to its end, everywhere.
bool BroughtUp(const store::RunRow& run);

// Notes in the stored plan of a run that it leaves others of an unfinished release as they are.
void MarkPartial(nlohmann::json& plan);

// What the stored plan of a run notes of the way back by itself, should it fail. None in those of releases
// that knew none.
struct WayBack {
  bool wanted = false;     // it goes back, should it fail
  bool cancelled = false;  // somebody cancelled it before it failed: then it doesn't
  std::string run;         // that goes back
  std::string error;       // why none could begin: JSON, "" none
};
WayBack WayBackOf(const store::RunRow& run);
void NoteWayBack(const WayBack& way_back, nlohmann::json& plan);
void NoteWayBack(const WayBack& way_back, store::RunRow& run);

// Whether it has failed, is to go back, and nothing has come of that yet.
bool AwaitsWayBack(const store::RunRow& run);

// What became of `revision`: "done" where one of its runs brought it up; else the state of the newest that
// was to
// ("running", "failed", "cancelled", "paused", "putting-back"; "partial" where that was done, but left
// instances of an earlier release as they were); "" where no run is known. `runs`: newest first.
std::string OutcomeOf(int64_t revision, const std::vector<store::RunRow>& runs);

// "rollback to 3", the note of a revision that a rollback made; what may follow says why. It is for people,
// who may write the same.
std::string RollbackNote(int64_t revision);

// A revision's stored bundle (store::RevisionRow) says which revision a rollback went back to; 0 where none
// made it. What it says of the files is the same with and without.
std::string WithRollbackTarget(const std::string& files, int64_t target);
std::string FilesOf(const store::RevisionRow& revision);
// 0 where no rollback made it. What an earlier release stored says so by nothing but the note.
int64_t RollbackTarget(const store::RevisionRow& revision);

// The newest revision before `current` that was brought up, and to go back to which changes something; 0
// where there is none. A revision made by going back to N stands for N, so that going back again leads
// further back and never to what was left that way. One that did not get there counts for nothing.
// `revisions`: those kept, oldest first. One whose runs are forgotten is taken for good where nothing else
// is.
int64_t GoodBefore(int64_t current, const std::vector<store::RevisionRow>& revisions,
                   const std::vector<store::RunRow>& runs);

// Why GoodBefore finds none, and which revision can be gone to all the same. Code "unknown-revision".
Error NothingBefore(const std::string& cluster, int64_t current,
                    const std::vector<store::RevisionRow>& revisions, const std::vector<store::RunRow>& runs);

}  // namespace muster::control
