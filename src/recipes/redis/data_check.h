// What can be lost because of how a Redis of any kind is to keep its data. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"
#include "model/plan.h"
#include "recipes/redis/conf.h"

namespace muster::redis {

// Whether a process that dies leaves what was written last nowhere: no append-only file. `settings` are a
// kind's own with the file's over them.
bool ForgetsWrites(const ConfSettings& settings);
// Whether it leaves nothing at all: no snapshots either.
bool KeepsNothing(const ConfSettings& settings);

// The same of a member, by what it is run with.
bool ForgetsWrites(const Instance& member);
bool KeepsNothing(const Instance& member);

// Adds the warning "no-appendonly" where `settings`, as SettingsOver gave them, switch the append-only file
// off. `then` says what muster does when a member dies all the same.
void CheckAppendOnly(const Service& service, const ConfSettings& settings, const std::string& then,
                     std::vector<Finding>& findings);

// For the plan of a change that takes members away and leaves no replicas. "" where there is nothing to note.
std::string NoCopiesNote(const Service& service, int replicas, const std::vector<Step>& steps);

}  // namespace muster::redis
