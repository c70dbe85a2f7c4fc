// The commands, by file. Each group adds its declarations to one list. Declaring is pure; whoever asks owns
// the list.
#pragma once

#include <vector>

#include "cli/command.h"

namespace muster::cli {

void AddFileCommands(std::vector<Command>& commands);    // check plan up render schema
void AddAdoptCommands(std::vector<Command>& commands);   // adopt
void AddLookCommands(std::vector<Command>& commands);    // status ps logs history audit verify
void AddActCommands(std::vector<Command>& commands);     // exec restart stop start scale down rollback resume
void AddDrillCommands(std::vector<Command>& commands);   // drill, host …
void AddSecretCommands(std::vector<Command>& commands);  // secret …
void AddPushCommands(std::vector<Command>& commands);    // push …
void AddServerCommands(std::vector<Command>& commands);  // server …, agent run, doctor, version
void AddShellCommands(std::vector<Command>& commands);   // completion, __complete, __docs

std::vector<Command> AllCommands();

}  // namespace muster::cli
