// What each path answers. Touches no socket: the server sends what comes out.
#pragma once

#include <cstdint>
#include <string>

#include "http.h"
#include "options.h"
#include "seeds.h"
#include "visits.h"

namespace example {

struct Reply {
  Answer answer;
  Milliseconds delay{0};
  uint64_t filler = 0;   // so many bytes of text instead of the body
  int exit_status = -1;  // 0 or more: the program ends when it is sent
  bool visit = false;    // one is to be counted first; then OfVisit has the answer
};

class Pages {
 public:
  Pages(const Options& options, const Seeds& seeds, const Visits& visits)
      : options_(options), seeds_(seeds), visits_(visits) {}

  Reply Handle(const Request& request);
  Answer OfVisit(const Request& request, const Visit& visit) const;

  bool starting = true;
  bool stopping = false;
  int port = 0;
  std::string config_digest;  // "": no file
  uint64_t requests = 0;
  size_t websockets = 0;

 private:
  Answer Health() const;
  std::string Overview() const;
  std::string Info() const;
  std::string Echo(const Request& request) const;

  const Options& options_;
  const Seeds& seeds_;
  const Visits& visits_;
  bool unhealthy_ = false;
  std::string ballast_;
};

// A part of what `filler` stands for: lines that compress well, from byte `at` on.
std::string FillerText(uint64_t at, size_t bytes);

}  // namespace example
