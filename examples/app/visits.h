// Visits, counted in Redis: what a program does that uses a Redis Cluster and lives through a failover of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loop.h"
#include "options.h"
#include "redis_link.h"

namespace example {

struct Visit {
  int64_t number = 0;  // 0: not counted, as `why` says
  std::string node;    // the one that counted it, HOST:PORT
  std::string why;
};

class Visits {
 public:
  Visits(Loop& loop, const Options& options) : loop_(loop), options_(options), nodes_(options.redis) {}

  // Counts one. `done` is called once, later, and within two seconds, whatever has become of Redis. A visit
  // whose answer was lost is counted again, and so perhaps twice: better than not at all, for visits.
  void Count(std::function<void(const Visit&)> done);
  // What came of the last one that was counted here, or couldn't be.
  const Visit& last() const { return last_; }

 private:
  // One visit on its way.
  struct Going {
    std::function<void(const Visit&)> done;  // nullptr once called
    std::string why = "no node of Redis has answered";
    int redirects = 0;
  };

  void Ask(const std::shared_ptr<Going>& going, const std::string& node, bool asking);
  void On(const std::shared_ptr<Going>& going, const std::string& node, std::string_view line);
  void Redirect(const std::shared_ptr<Going>& going, const std::string& from, std::string_view error);
  void AskAnother(const std::shared_ptr<Going>& going);
  void Finish(const std::shared_ptr<Going>& going, Visit visit);

  Loop& loop_;
  const Options& options_;
  std::vector<std::string> nodes_;  // those it was told of, and by Redis
  size_t next_ = 0;                 // of `nodes_`: asked where the owner isn't known
  std::string owner_;               // of the one slot in use; "": not known
  std::map<std::string, std::unique_ptr<RedisLink>> links_;
  Visit last_;
};

}  // namespace example
