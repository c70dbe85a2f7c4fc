// From what routes name to the members that stand behind them. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/instance.h"
#include "recipes/nginx/settings.h"

namespace muster::nginx {

struct Member {
  std::string instance;
  std::string address;  // host:port
  bool operator==(const Member&) const = default;
};

struct Upstream {
  std::string name;
  Balance balance = Balance::kRoundRobin;
  int keepalive = 0;
  std::vector<Member> members;
  bool operator==(const Upstream&) const = default;
};

// A target taken apart. `service` is nullptr where the file has none of that name.
struct ParsedTarget {
  const Service* service = nullptr;
  std::string name;  // without the port
  std::string port;  // "" where none is named
  int ordinal = 0;   // 0: all instances
};
ParsedTarget ParseTarget(std::string_view text, const Cluster& cluster);

// The names of the TCP ports that a service's settings declare; nullopt where its kind keeps them elsewhere.
std::optional<std::vector<std::string>> DeclaredPorts(const Service& service);
// The port that is meant where a route names none: the only one, else "http"; "" if that doesn't settle it.
std::string DefaultPort(const std::vector<std::string>& ports);
// How many instances the service's settings ask for; nullopt where they don't say.
std::optional<int> DeclaredInstances(const Service& service, const Cluster& cluster);

// All upstreams of the routes, in order, each once, and which one each route uses: `of` points into the
// Settings they were made from, which live longer. Codes: "route-unknown-target", "route-no-port".
struct Upstreams {
  std::vector<Upstream> all;
  std::map<const Route*, std::string> of;
};
Result<Upstreams> ResolveUpstreams(const Settings& settings, const Cluster& cluster,
                                   const Placement& placement);

// Where a guest or a member of the service that routes send to is to stand: "UPSTREAM=host:port,UPSTREAM=…";
// "" where none of them sends to it.
std::string SeatsOf(const Settings& settings, const Cluster& cluster, const Instance& instance);
// The upstreams with members that stand elsewhere by now; `moved` has seats by name. Whoever stood on such a
// seat before doesn't: it is left out.
std::vector<Upstream> WithMoved(std::vector<Upstream> upstreams,
                                const std::map<std::string, std::string>& moved);
// The upstreams with their guests; `guests` has seats by name. Upstreams that aren't there are passed over.
std::vector<Upstream> WithGuests(std::vector<Upstream> upstreams,
                                 const std::map<std::string, std::string>& guests);

// Instance::extra["upstreams"]: one line an upstream, one a member. Reading what was written gives the same.
std::string FormatUpstreams(const std::vector<Upstream>& upstreams);
std::vector<Upstream> ParseUpstreams(std::string_view text);

// Those of `out` that are marked: where all members of an upstream are out, none is.
std::set<std::string> MarkedIn(const Upstream& upstream, const std::set<std::string>& out);
// conf/upstreams.conf: the upstream blocks, and the variables that show to who knows `token` where a request
// went.
std::string RenderUpstreams(const std::vector<Upstream>& upstreams, const std::set<std::string>& out,
                            std::string_view token);
// The members that a nginx with these upstreams sends requests to.
std::set<std::string> ServedIn(std::string_view rendered);
// The same as earlier releases, which didn't tell when each member answered, wrote it.
std::string AsEarlier(std::string upstreams);

}  // namespace muster::nginx
