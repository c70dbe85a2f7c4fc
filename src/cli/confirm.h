// What can't be taken back is done once a person has typed the cluster's name. Blocks on the terminal, on the
// command's one thread.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/command.h"

namespace muster::cli {

// Something of a cluster is to go for good.
struct Parting {
  std::string command;   // "muster down --delete-data"
  std::string act;       // "deleting the data of demo"
  std::string question;  // what is asked at a terminal
};

// What has to be typed before that, or `given`. Code "confirm-name".
Result<std::string> Confirmed(Context& context, const std::string& key, const std::string& given,
                              const Parting& parting);

}  // namespace muster::cli
