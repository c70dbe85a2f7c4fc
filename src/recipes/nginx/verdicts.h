// How `verify` judges what it has seen of one nginx. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"
#include "recipes/nginx/targets.h"
#include "recipes/nginx/tries.h"

namespace muster::nginx {

std::string Lower(std::string text);
std::string Header(const net::Response& response, std::string_view name);
// The member that answered: where nginx tried several, the last; "" where none did.
std::string UpstreamOf(const net::Response& response);

// Why this answer of a route with gzip isn't to be compressed; "" : it is.
std::string WhyPlain(const Try& one, const net::Response& plain);

// Whether an answer's Location is what a redirect to `wanted` sends: nginx puts scheme and host before a
// path, and fills in $variables, so that only what stands before the first can be compared.
bool IsRedirectTo(std::string_view wanted, std::string_view location);

// A file's name as it stands in a URL, folders included.
std::string UrlPath(std::string_view name);

// A name of a `server_name` that a client may ask for so that this pattern catches it; "" where that can't be
// told ("~…"), or where the name is none ("_").
std::string NameFor(std::string_view pattern);

// Is it nginx's word that it got no answer, rather than a member's?
bool IsNoAnswer(const net::Response& response);
// Is there nobody whom requests should go to? nginx tries them all the same: it wants one at least.
bool AllOut(const Upstream& upstream, const std::set<std::string>& out);
// A line for each member with the answers it gave, and one for what none of them answered, counted for "".
std::vector<std::string> Told(const Upstream& upstream, const std::set<std::string>& out,
                              const std::map<std::string, size_t>& counts);

// Whether to ask on after what was `counted` so far. Where nginx says that nobody answers, all are asked
// already. Where nothing was said in time, one member may hang: the others are to have their turns, so that
// it is seen which, but each that hangs takes as long.
bool AskOn(const std::map<std::string, size_t>& counted, bool nginx_says_so);

size_t Requests(const std::map<std::string, size_t>& counted);

// How requests of one client, one after the other, were spread.
struct Spread {
  std::map<std::string, size_t> counts;  // by the member's address
  std::map<std::string, size_t>
      connections;  // that nginx and others have to a member, where that was counted
};
enum class Verdict { kGood, kBad, kBusy };  // kBusy: who got none has more to do than the others

// Of the members that aren't out each is to have had its turn. `least_conn` gives turns to those that have
// the fewest connections, so that one with more may get none.
Verdict JudgeSpread(const Upstream& upstream, const std::set<std::string>& out, const Spread& spread);
// Those that should have answered, and haven't.
std::vector<Member> Silent(const Upstream& upstream, const std::set<std::string>& out, const Spread& spread);

// The connections of /proc/net/tcp, whose text this is, by the other end's address as host:port.
std::map<std::string, size_t> CountConnections(std::string_view table);

const Member* FindMember(const Upstream& upstream, std::string_view address);

}  // namespace muster::nginx
