// The ages that members tell of, as moments by the mender's clock. Pure; one for each mender.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/time.h"

namespace muster::redis {

class Moments {
 public:
  // `text`: milliseconds before it was told, "" where it isn't: it has just come, where it is new.
  // `earliest`: it stays the same however often it is told, so what came soonest is best.
  std::optional<Time> Of(const std::string& member, const char* name, const std::string& text, bool earliest,
                         Time now);

 private:
  struct Known {
    std::string text;
    Time moment;
  };
  std::map<std::pair<std::string, std::string>, Known> known_;
};

}  // namespace muster::redis
