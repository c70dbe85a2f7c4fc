#include "recipes/nginx/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "net/http.h"
#include "net/websocket.h"
#include "recipes/nginx/sources.h"
#include "recipes/nginx/verdicts.h"

namespace muster::nginx {
namespace {

constexpr Duration kAnswerWithin = 5s;
constexpr size_t kClients = 16;  // addresses made up to see whether ip_hash spreads them
constexpr int kRounds = 2, kLeastConnRounds = 4;
constexpr Duration kPause = 100ms;   // for what occupies a member to end
constexpr size_t kPlacesMost = 32;   // further ports and names of a server
constexpr size_t kFilesMost = 1000;  // of one route
constexpr Duration kFilesWithin = 15s;
constexpr size_t kWrongMost = 5;
constexpr size_t kCompressedTries = 8;
constexpr uint64_t kCompressedMost = 16u << 20;

constexpr const char* kSeeWhoIsReady = "see whether its instances are ready: muster ps";
constexpr const char* kSeeLogs = "see the logs of the instances that answered none";

using Answer = Result<net::Response>;

std::string Show(const Answer& answer) {
  if (!answer.ok()) return answer.error().Text();
  return fmt::format("status {}", answer->status);
}

// Tries the routes of one nginx, one after the other.
class Verifier {
 public:
  explicit Verifier(VerifyInput input) : input_(std::move(input)) {}

  net::Task<std::vector<Check>> Run() {
    for (const Try& one : input_.tries) {
      if (one.path.empty()) {
        Skip(one, "is tried", one.untried.empty() ? "there is no path to ask for" : one.untried);
        continue;
      }
      source_.clear();
      // nginx gives a fixed answer to everybody.
      if (one.limited && one.status == 0) {
        const bool lets_in = co_await LetsIn(one);
        if (!lets_in) continue;
      }
      Check first = co_await Basic(one);
      const bool good = first.passed;
      checks_.push_back(std::move(first));
      if (one.is_static && one.status == 0 && !one.files_at.empty()) co_await ServesFiles(one);
      if (!one.headers.empty()) co_await SendsHeaders(one);
      if (!one.upstream.empty() && one.status == 0) {
        if (good) co_await ArrivesAs(one);
        const Upstream* upstream = FindUpstream(one);
        const bool nobody = !good && upstream && AllOut(*upstream, input_.out);  // which is said already
        if (!nobody) co_await Spreads(one);
        co_await LimitsBody(one);
        if (one.websocket && !nobody) co_await Echoes(one);
      }
      if (one.gzip && one.status == 0) co_await Compresses(one);
      if (good) co_await Elsewhere(one);
    }
    TellPlaces();
    co_return std::move(checks_);
  }

 private:
  net::Endpoint EndpointOf(const Try& one) const {
    net::Endpoint endpoint;
    endpoint.host = input_.address;
    endpoint.port = one.port;
    endpoint.tls = one.tls;
    endpoint.tls_name = one.host;
    endpoint.tls_verify = false;
    endpoint.source_address = source_;
    return endpoint;
  }

  net::Request RequestFor(const Try& one, const std::string& target) const {
    net::Request request;
    request.target = target;
    request.headers["x-muster-verify"] = input_.token;
    if (!one.host.empty()) request.headers["host"] = one.host;
    return request;
  }

  net::Task<Answer> Ask(const Try& one, net::Headers headers, std::string_view method = "GET",
                        std::string path = "") {
    net::Request request = RequestFor(one, path.empty() ? one.path : path);
    request.method = method;
    for (const auto& [name, value] : headers) request.headers[name] = value;
    const net::Endpoint endpoint = EndpointOf(one);
    co_return co_await net::Fetch(*input_.loop, endpoint, request, kAnswerWithin);
  }

  // The route; with its server where another server has one of the same path.
  std::string Named(const Try& one) const {
    std::set<std::string> ways;
    for (const Try& other : input_.tries) {
      if (other.route == one.route) ways.insert(WayOf(other));
    }
    return ways.size() < 2 ? one.route : fmt::format("{} at {}", one.route, WayOf(one));
  }

  std::string FromWhere() const { return source_.empty() ? "" : " as " + source_; }

  Check Judged(const Try& one, std::string_view what, bool passed, std::vector<std::string> evidence,
               std::string hint = "") const {
    return {.name = fmt::format("{}: {} {}", input_.instance, Named(one), what),
            .passed = passed,
            .evidence = std::move(evidence),
            .hint = passed ? "" : std::move(hint)};
  }
  void Say(const Try& one, std::string_view what, bool passed, std::vector<std::string> evidence,
           std::string hint = "") {
    checks_.push_back(Judged(one, what, passed, std::move(evidence), std::move(hint)));
  }
  void Skip(const Try& one, std::string_view what, std::string why) {
    checks_.push_back({.name = fmt::format("{}: {} {}", input_.instance, Named(one), what),
                       .passed = true,
                       .evidence = {std::move(why)},
                       .skipped = true});
  }

  // The member that answered; "" where none did.
  static std::string Answered(const Answer& answer) {
    return answer.ok() && !IsNoAnswer(*answer) ? UpstreamOf(*answer) : "";
  }

  // nginx has tried all members that it knows.
  static bool SaysNobody(const Answer& answer) { return answer.ok() && Answered(answer).empty(); }

  // By `allow_from`, not by a member, which may have reasons of its own.
  static bool IsRefused(const Answer& answer) {
    return answer.ok() && answer->status == 403 && UpstreamOf(*answer).empty();
  }

  // Sees to it that who isn't let in is refused. Whether the route itself can be tried: from `source_`, which
  // is let in.
  net::Task<bool> LetsIn(const Try& one) {
    const net::Headers none;
    if (one.allow_from.empty()) {  // laid out by an earlier release, which didn't tell who is let in
      const Answer answer = co_await Ask(one, none);
      if (!IsRefused(answer)) co_return true;
      Say(one, "refuses this host, as `allow_from` says", true,
          {fmt::format("GET {}: {}", one.path, Show(answer))});
      co_return false;
    }
    const Sources sources = SourcesFor(one.allow_from, OwnAddresses(), input_.address);
    std::string allowed;
    for (const std::string& from : sources.allowed) {
      source_ = from;
      const Answer answer = co_await Ask(one, none);
      if (!answer.ok()) continue;  // not every address gets everywhere
      allowed = from;
      break;
    }
    bool tried = false;
    for (const std::string& from : sources.refused) {
      source_ = from;
      const Answer answer = co_await Ask(one, none);
      if (!answer.ok()) continue;
      tried = true;
      const std::string what = allowed.empty() ? "this host" : from;
      Say(one, fmt::format("refuses {}, as `allow_from` says", what), IsRefused(answer),
          {fmt::format("GET {} as {}: {}", one.path, from, Show(answer))},
          "see whether a `raw` directive lets others in");
      break;
    }
    source_ = allowed;
    co_return !allowed.empty() || !tried;  // where nobody got an answer the route's own try tells why
  }

  // What the route is there for, asked once.
  net::Task<Check> Basic(const Try& one) {
    const net::Headers none;
    const Answer answer = co_await Ask(one, none);
    if (one.status != 0) co_return FixedAnswer(one, answer);
    if (one.is_static) co_return StaticFile(one, answer);
    if (!one.upstream.empty()) co_return Reaches(one, answer);
    co_return Judged(one, "is answered", answer.ok(), {Show(answer)});
  }

  std::string Asked(const Try& one, const Answer& answer) const {
    const std::string from = answer.ok() ? UpstreamOf(*answer) : "";
    return fmt::format("GET {}{}: {}{}", one.path, FromWhere(), Show(answer),
                       from.empty() ? "" : " from " + from);
  }

  Check FixedAnswer(const Try& one, const Answer& answer) const {
    // What a service answers is not nginx's own word.
    const bool status = answer.ok() && answer->status == one.status && UpstreamOf(*answer).empty();
    if (one.location.empty()) {
      return Judged(one, fmt::format("answers {}", one.status), status, {Asked(one, answer)},
                    "another route may catch this path");
    }
    const std::string location = answer.ok() ? Header(*answer, "location") : "";
    return Judged(
        one, fmt::format("redirects to {}", one.location), status && IsRedirectTo(one.location, location),
        {fmt::format("{}, Location: {}", Asked(one, answer), location)}, "another route may catch this path");
  }

  // "" : it isn't known.
  std::string DigestOf(std::string_view file) const {
    for (const ServedFile& one : input_.files) {
      if (one.path == file) return one.sha256;
    }
    return "";
  }

  Check StaticFile(const Try& one, const Answer& answer) const {
    bool passed = answer.ok() && answer->status == 200 && UpstreamOf(*answer).empty();
    std::vector<std::string> evidence = {Asked(one, answer)};
    const std::string wanted = DigestOf(one.file);
    if (passed && !wanted.empty()) {
      passed = Sha256Hex(answer->body) == wanted;
      evidence.push_back(passed ? fmt::format("{} bytes, as sent along", answer->body.size())
                                : "its content is not that of the file that was sent along");
    }
    return Judged(one, "serves its files", passed, std::move(evidence),
                  "see whether the file is there and nginx's user may read it: muster plan tells what was "
                  "changed by hand");
  }

  // The rest of them. What they weigh isn't known: they are digested as they come.
  net::Task<void> ServesFiles(const Try& one) {
    const size_t slash = one.file.find('/', std::string_view("www/").size());
    const std::string folder = one.file.substr(0, slash + 1);
    std::vector<const ServedFile*> files;
    for (const ServedFile& file : input_.files) {
      if (!folder.empty() && file.path.starts_with(folder)) files.push_back(&file);
    }
    const Time end = Now() + kFilesWithin;
    std::vector<std::string> wrong;
    size_t asked = 0;
    for (const ServedFile* file : files) {
      if (asked >= kFilesMost || Now() > end || wrong.size() >= kWrongMost) break;
      ++asked;
      const std::string url = one.files_at + UrlPath(std::string_view(file->path).substr(folder.size()));
      Digest digest;
      net::Request request = RequestFor(one, url);
      const net::Endpoint endpoint = EndpointOf(one);
      std::function<bool(std::string_view)> add = [&digest](std::string_view chunk) {
        digest.AddRaw(chunk);
        return true;
      };
      const Answer answer = co_await net::FetchStream(*input_.loop, endpoint, std::move(request),
                                                      std::move(add), kAnswerWithin);
      if (!answer.ok() || answer->status != 200) {
        wrong.push_back(fmt::format("GET {}{}: {}", url, FromWhere(), Show(answer)));
      } else if (!UpstreamOf(*answer).empty()) {
        wrong.push_back(fmt::format("GET {}: from {}, which is no file", url, UpstreamOf(*answer)));
      } else if (digest.Hex() != file->sha256) {
        wrong.push_back(fmt::format("GET {}: its content is not that of the file that was sent along", url));
      }
    }
    const bool passed = wrong.empty();
    if (passed) wrong.push_back(fmt::format("{} files asked for", asked));
    if (files.size() > 1) {
      const std::string what = asked == files.size() || !passed
                                   ? fmt::format("serves each of its {} files", files.size())
                                   : fmt::format("serves {} of its {} files", asked, files.size());
      Say(one, what, passed, std::move(wrong),
          "muster plan tells what was changed by hand; muster up FILE mends it");
    }
  }

  net::Task<void> SendsHeaders(const Try& one) {
    const net::Headers none;
    const Answer answer = co_await Ask(one, none);
    std::vector<std::string> names, missing;
    for (const auto& [name, value] : one.headers) {
      names.push_back(name);
      const std::string sent = answer.ok() ? Header(*answer, Lower(name)) : "";
      // The service may have sent one of that name, too.
      if (sent.find(value) == std::string::npos) missing.push_back(fmt::format("{}: {}", name, sent));
    }
    const bool passed = answer.ok() && missing.empty();
    if (!answer.ok()) missing = {Show(answer)};
    Say(one, "sends " + Join(names, ", "), passed, std::move(missing), "another route may catch this path");
  }

  Check Reaches(const Try& one, const Answer& answer) const {
    const std::string from = answer.ok() ? UpstreamOf(*answer) : "";
    const Upstream* upstream = FindUpstream(one);
    const bool member = !from.empty() && (!upstream || FindMember(*upstream, from));
    const bool good = member && answer->status < 500;
    std::string what = fmt::format("reaches {}", one.upstream);
    if (good && answer->status >= 400) what += fmt::format(", which answers {}", answer->status);
    std::vector<std::string> evidence = {Asked(one, answer)};
    std::string hint = kSeeWhoIsReady;
    if (upstream && AllOut(*upstream, input_.out)) {
      evidence.push_back("all its instances are out: they are stopped, or not ready");
      hint = fmt::format("muster start {} brings back who is stopped; muster ps shows how they are",
                         one.upstream.substr(0, one.upstream.find(':')));
    } else if (!from.empty() && !member) {
      evidence.push_back(fmt::format("{} is none of the members of {}", from, one.upstream));
      hint = "another route may catch this path";
    } else if (answer.ok() && from.empty()) {
      evidence.push_back("nginx answered it by itself");
      hint = "another route may catch this path";
    } else if (member && !IsNoAnswer(*answer)) {
      hint = "its instances answer so themselves: see muster logs, or set `try:` to a path that they answer";
    }
    return Judged(one, what, good, std::move(evidence), hint);
  }

  net::Task<void> ArrivesAs(const Try& one) {
    if (one.arrives == one.path) co_return;
    const net::Headers none;
    const Answer answer = co_await Ask(one, none);
    const std::string arrived = answer.ok() ? Header(*answer, "x-muster-uri") : "";
    Say(one, fmt::format("arrives as {}", one.arrives), arrived == one.arrives,
        {fmt::format("{} arrived as {}", one.path, arrived)});
  }

  // The same through the server's further ports and names.
  net::Task<void> Elsewhere(const Try& one) {
    std::vector<Try> others;
    for (const int port : one.ports) {
      others.push_back(one);
      others.back().port = port;
    }
    for (const std::string& name : one.names) {
      others.push_back(one);
      others.back().host = name;
    }
    const std::string first = WayOf(one);
    for (const std::string& pattern : one.patterns) {
      Place& place = PlaceOf(pattern, first);
      place.why_not = "it is a pattern: nobody can tell which name it catches";
    }
    for (size_t i = 0; i < others.size(); ++i) {
      const Try& other = others[i];
      Place& place = PlaceOf(WayOf(other), first);
      if (i >= kPlacesMost) {
        place.why_not = fmt::format("{} others were tried", kPlacesMost);
        continue;
      }
      const Check check = co_await Basic(other);
      Place& now = PlaceOf(WayOf(other), first);
      ++now.tried;
      if (check.passed) continue;
      now.wrong.push_back(check.name);
      now.wrong.insert(now.wrong.end(), check.evidence.begin(), check.evidence.end());
    }
  }

  // Another port or name of a server, and how its routes did there.
  struct Place {
    std::string way, first;
    size_t tried = 0;
    std::vector<std::string> wrong;
    std::string why_not;
  };

  static std::string WayOf(const Try& one) {
    return one.host.empty() ? fmt::format("port {}", one.port) : fmt::format("{}:{}", one.host, one.port);
  }

  Place& PlaceOf(const std::string& way, const std::string& first) {
    for (Place& place : places_) {
      if (place.way == way && place.first == first) return place;
    }
    places_.push_back({.way = way, .first = first});
    return places_.back();
  }

  void TellPlaces() {
    for (Place& place : places_) {
      Check check{.name = fmt::format("{}: {} answers as {}", input_.instance, place.way, place.first),
                  .passed = place.wrong.empty()};
      if (place.tried == 0) {
        check.skipped = true;
        check.evidence = {place.why_not};
      } else {
        check.evidence = place.wrong;
        if (check.passed) check.evidence = {fmt::format("{} routes asked", place.tried)};
        if (!check.passed) check.hint = "another server may have the same name or port";
      }
      checks_.push_back(std::move(check));
    }
  }

  const Upstream* FindUpstream(const Try& one) const {
    for (const Upstream& upstream : input_.upstreams) {
      if (upstream.name == one.upstream) return &upstream;
    }
    return nullptr;
  }

  // Adds which member answered how often. What isn't answered counts for "".
  net::Task<void> Count(const Try& one, size_t requests, std::map<std::string, size_t>& counts) {
    const net::Headers none;
    bool ask_on = AskOn(counts, false);
    for (size_t i = 0; i < requests && ask_on; ++i) {
      const Answer answer = co_await Ask(one, none);
      ++counts[Answered(answer)];
      ask_on = AskOn(counts, SaysNobody(answer));
    }
  }

  net::Task<void> Spreads(const Try& one) {
    const Upstream* upstream = FindUpstream(one);
    if (!upstream) co_return;
    const std::set<std::string> marked = MarkedIn(*upstream, input_.out);
    const size_t in = upstream->members.size() - marked.size();
    if (in < 2) co_return;
    if (upstream->balance == Balance::kIpHash) {
      co_await SticksToClient(one, *upstream);
      co_return;
    }
    // Others' requests take turns, too, and `least_conn` gives one that has just answered its turn again: who
    // got none has another chance; so has one that a request of somebody else keeps from its turn.
    const bool least_conn = upstream->balance == Balance::kLeastConn;
    Spread spread;
    size_t requests = 0;
    for (int round = 0; round < (least_conn ? kLeastConnRounds : kRounds); ++round) {
      if (round >= kRounds) co_await input_.loop->Sleep(kPause);
      co_await Count(one, in * 4, spread.counts);
      requests += in * 4;
      if (spread.counts.contains("") || Silent(*upstream, input_.out, spread).empty()) break;
    }
    if (least_conn && !Silent(*upstream, input_.out, spread).empty()) {
      const auto table = ReadFile("/proc/self/net/tcp");
      if (table.ok()) spread.connections = CountConnections(*table);
    }
    const Verdict verdict = JudgeSpread(*upstream, input_.out, spread);
    const std::string what = fmt::format("spreads {} requests over {} instances", requests, in);
    std::vector<std::string> told = Told(*upstream, input_.out, spread.counts);
    if (const size_t asked = Requests(spread.counts); asked < requests) {
      told.push_back(fmt::format("asked no more after {}", asked));
    }
    if (verdict == Verdict::kBusy) {
      Skip(one, what,
           "those that got none have more connections than the others just now: " + Join(told, ", "));
    } else {
      Say(one, what, verdict == Verdict::kGood, std::move(told),
          spread.counts.contains("") && spread.counts.size() == 1 ? kSeeWhoIsReady : kSeeLogs);
    }
  }

  net::Task<void> SticksToClient(const Try& one, const Upstream& upstream) {
    std::map<std::string, size_t> counts;
    co_await Count(one, 8, counts);
    Say(one, "sends one client to one instance",
        counts.size() == 1 && FindMember(upstream, counts.begin()->first),
        Told(upstream, input_.out, counts));
    co_await SpreadsClients(one, upstream);
  }

  // As many clients as can be made up: by the header that nginx believes where it does, else by the addresses
  // of the loopback network.
  net::Task<void> SpreadsClients(const Try& one, const Upstream& upstream) {
    const std::string what = fmt::format("spreads {} clients", kClients);
    if (one.limited) co_return Skip(one, what, "clients that are made up aren't let in");
    const std::string before = source_;
    const bool by_header = !one.real_ip_header.empty();
    if (by_header && !one.real_ip_from.empty()) {
      const Sources sources = SourcesFor(one.real_ip_from, OwnAddresses(), input_.address);
      if (sources.allowed.empty())
        co_return Skip(one, what,
                       "no address of this host is in real_ip.from, so nginx takes no client's name from it");
      source_ = sources.allowed.front();
    } else if (!by_header && !input_.address.starts_with("127.")) {
      co_return Skip(one, what, "all requests of this host come from one client");
    }
    std::map<std::string, size_t> counts;
    for (size_t i = 0; i < kClients; ++i) {
      // ip_hash looks at the first three numbers of an address; neighbours fall on different members.
      net::Headers headers;
      if (by_header) {
        headers[Lower(one.real_ip_header)] = fmt::format("198.18.{}.7", i);
      } else {
        source_ = fmt::format("127.18.{}.7", i);
      }
      const Answer answer = co_await Ask(one, headers);
      ++counts[Answered(answer)];
      if (!AskOn(counts, SaysNobody(answer))) break;
    }
    source_ = before;
    const bool members = std::all_of(counts.begin(), counts.end(), [&](const auto& count) {
      return FindMember(upstream, count.first) != nullptr;
    });
    Say(one, what, counts.size() >= 2 && members, Told(upstream, input_.out, counts));
  }

  // Only says how long its body would be: nginx refuses it for that already.
  net::Task<void> LimitsBody(const Try& one) {
    if (one.body_limit <= 0) co_return;
    net::Headers headers;
    headers["content-length"] = std::to_string(one.body_limit + 1);
    constexpr std::string_view method = "PATCH";
    const Answer answer = co_await Ask(one, headers, method);
    Say(one, fmt::format("refuses a body over {}", SizeText(one.body_limit)),
        answer.ok() && answer->status == 413 && UpstreamOf(*answer).empty(),
        {fmt::format("a request of {} bytes: {}", one.body_limit + 1, Show(answer))});
  }

  // The path that is asked for, and of a route with files the largest of them.
  std::vector<std::string> PathsToCompress(const Try& one) const {
    std::vector<std::pair<uint64_t, std::string>> sized;
    const size_t slash = one.file.find('/', std::string_view("www/").size());
    const std::string folder = one.file.substr(0, slash + 1);
    for (const ServedFile& file : input_.files) {
      if (one.files_at.empty() || folder.empty() || !file.path.starts_with(folder)) continue;
      std::error_code error;
      const auto size = fs::file_size(input_.folder + "/" + file.path, error);
      if (error || size > kCompressedMost) continue;
      sized.emplace_back(size, one.files_at + UrlPath(std::string_view(file.path).substr(folder.size())));
    }
    std::sort(sized.rbegin(), sized.rend());
    std::vector<std::string> paths;
    for (const auto& [size, path] : sized) {
      if (paths.size() < kCompressedTries) paths.push_back(path);
    }
    if (paths.empty()) paths.push_back(one.path);
    return paths;
  }

  net::Task<void> Compresses(const Try& one) {
    std::vector<std::string> why_not;
    for (const std::string& path : PathsToCompress(one)) {
      net::Headers headers;
      constexpr std::string_view method = "GET";
      const Answer plain = co_await Ask(one, headers, method, path);
      std::string why = plain.ok() ? WhyPlain(one, *plain) : Show(plain);
      if (!why.empty()) {
        why_not.push_back(fmt::format("GET {}: {}", path, why));
        continue;
      }
      headers["accept-encoding"] = "gzip";
      const Answer answer = co_await Ask(one, headers, method, path);
      const std::string encoding = answer.ok() ? Header(*answer, "content-encoding") : "";
      Say(one, "is compressed", encoding == "gzip",
          {fmt::format("GET {}: {} bytes of {}: Content-Encoding: {}", path, plain->body.size(),
                       Header(*plain, "content-type"), encoding)});
      co_return;
    }
    Skip(one, "is compressed", Join(why_not, "; "));
  }

  net::Task<void> Echoes(const Try& one) {
    net::Headers headers;
    headers["x-muster-verify"] = input_.token;
    if (!one.host.empty()) headers["host"] = one.host;
    const net::Endpoint endpoint = EndpointOf(one);
    auto connected =
        co_await net::WebSocketClient::Connect(*input_.loop, endpoint, one.path, headers, kAnswerWithin);
    const std::string_view what = "echoes over WebSocket: text, binary, fragmented";
    if (!connected.ok()) {
      Say(one, what, false, {connected.error().Text()},
          "set `try:` to a path that takes WebSockets and sends back what it gets");
      co_return;
    }
    const std::unique_ptr<net::WebSocketClient> socket = std::move(connected).value();
    std::vector<std::string> evidence;
    bool passed = true;
    for (const std::string_view kind : {"text", "binary", "fragmented"}) {
      const bool binary = kind == "binary";
      std::string message = binary ? std::string("\x00\xffmuster\x01", 9) : std::string("muster verifies");
      if (kind == "fragmented") message = std::string(1000, 'm');
      Status sent = Done();
      if (kind == "fragmented") {
        sent = co_await socket->SendFragmented(message, binary, 300);
      } else {
        sent = co_await socket->Send(message, binary);
      }
      std::string told = "came back";
      if (!sent.ok()) {
        told = sent.error().Text();
      } else {
        const auto back = co_await socket->Receive(kAnswerWithin);
        if (!back.ok()) {
          told = back.error().Text();
        } else if (back->close) {
          told = fmt::format("closed with {}", back->close_code);
        } else if (back->data != message || back->binary != binary) {
          told = "something else came back";
        }
      }
      evidence.push_back(fmt::format("{}: {}", kind, told));
      passed = passed && told == "came back";
      if (told != "came back") break;
    }
    Say(one, what, passed, std::move(evidence),
        "set `try:` to a path that takes WebSockets and sends back what it gets");
    (void)co_await socket->Close(1000);
  }

  VerifyInput input_;
  std::string source_;  // whom it asks as; "" : as the kernel chooses
  std::vector<Check> checks_;
  std::vector<Place> places_;
};

}  // namespace

net::Task<std::vector<Check>> VerifyRoutes(VerifyInput input) {
  Verifier verifier(std::move(input));
  co_return co_await verifier.Run();
}

}  // namespace muster::nginx
