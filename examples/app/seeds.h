// The second port, and finding the others through theirs: what a clustered program does at its start.
#pragma once

#include <map>
#include <string>

#include "loop.h"
#include "options.h"

namespace example {

class Seeds {
 public:
  Seeds(Loop& loop, const Options& options) : loop_(loop), options_(options) {}
  // Listens on the cluster port, if there is one, and begins to ask the seeds.
  bool Start(std::string& error);
  // The ids of the seeds that answered; "" for the others.
  const std::map<std::string, std::string>& answers() const { return answers_; }

 private:
  void AnswerAll();
  void Ask(const std::string& seed);
  void Again(const std::string& seed, const std::string& why);

  Loop& loop_;
  const Options& options_;
  int listener_ = -1;
  std::map<std::string, std::string> answers_;
  std::map<std::string, bool> complained_;
};

}  // namespace example
