#include "recipes/nginx/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/files.h"
#include "base/text.h"
#include "net/http.h"
#include "net/websocket.h"
#include "recipes/nginx/sources.h"

namespace muster::nginx {
namespace {

constexpr Duration kAnswerWithin = 5s;
constexpr size_t kClients = 16;  // addresses made up to see whether ip_hash spreads them

using Answer = Result<net::Response>;

std::string Header(const net::Response& response, std::string_view name) {
  const auto found = response.headers.find(name);
  return found == response.headers.end() ? std::string() : found->second;
}

// The member that answered: where nginx tried several, the last.
std::string UpstreamOf(const net::Response& response) {
  const std::string all = Header(response, "x-muster-upstream");
  const size_t comma = all.rfind(", ");
  return comma == std::string::npos ? all : all.substr(comma + 2);
}

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
      if (one.path.empty()) continue;
      source_.clear();
      // nginx gives a fixed answer to everybody.
      if (one.limited && one.status == 0) {
        const bool lets_in = co_await LetsIn(one);
        if (!lets_in) continue;
      }
      if (one.status != 0) {
        co_await FixedAnswer(one);
      } else if (one.is_static) {
        co_await StaticFile(one);
      } else if (!one.upstream.empty()) {
        co_await Reaches(one);
        co_await Spreads(one);
        co_await LimitsBody(one);
        if (one.websocket) co_await Echoes(one);
      }
      if (one.gzip && one.status == 0) co_await Compresses(one);
    }
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

  net::Task<Answer> Ask(const Try& one, net::Headers headers, std::string_view method = "GET") {
    net::Request request;
    request.method = method;
    request.target = one.path;
    request.headers = std::move(headers);
    request.headers["x-muster-verify"] = input_.token;
    if (!one.host.empty()) request.headers["host"] = one.host;
    const net::Endpoint endpoint = EndpointOf(one);
    co_return co_await net::Fetch(*input_.loop, endpoint, request, kAnswerWithin);
  }

  std::string FromWhere() const { return source_.empty() ? "" : " as " + source_; }

  void Say(const Try& one, std::string_view what, bool passed, std::vector<std::string> evidence,
           std::string hint = "") {
    checks_.push_back({.name = fmt::format("{}: {} {}", input_.instance, one.route, what),
                       .passed = passed,
                       .evidence = std::move(evidence),
                       .hint = passed ? "" : std::move(hint)});
  }

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

  net::Task<void> FixedAnswer(const Try& one) {
    const net::Headers none;
    const Answer answer = co_await Ask(one, none);
    const bool status = answer.ok() && answer->status == one.status;
    if (one.location.empty()) {
      Say(one, fmt::format("answers {}", one.status), status,
          {fmt::format("GET {}: {}", one.path, Show(answer))}, "another route may catch this path");
      co_return;
    }
    const std::string location = answer.ok() ? Header(*answer, "location") : "";
    // nginx fills in $variables, and a path gets scheme and host before it.
    const std::string fixed = one.location.substr(0, one.location.find('$'));
    const bool there =
        fixed.starts_with('/') ? location.find(fixed) != std::string::npos : location.starts_with(fixed);
    Say(one, fmt::format("redirects to {}", one.location), status && there,
        {fmt::format("GET {}: {}, Location: {}", one.path, Show(answer), location)},
        "another route may catch this path");
  }

  net::Task<void> StaticFile(const Try& one) {
    const net::Headers none;
    const Answer answer = co_await Ask(one, none);
    bool passed = answer.ok() && answer->status == 200;
    std::vector<std::string> evidence = {fmt::format("GET {}{}: {}", one.path, FromWhere(), Show(answer))};
    if (passed && !one.file.empty()) {
      const auto file = ReadFile(input_.folder + "/" + one.file);
      passed = file.ok() && *file == answer->body;
      evidence.push_back(passed ? fmt::format("{} bytes, as sent along", answer->body.size())
                                : "its content is not the file's");
    }
    Say(one, "serves its files", passed, std::move(evidence),
        "see whether the file is there and nginx's user may read it");
  }

  net::Task<void> Reaches(const Try& one) {
    const net::Headers none;
    const Answer answer = co_await Ask(one, none);
    const std::string from = answer.ok() ? UpstreamOf(*answer) : "";
    const bool good = answer.ok() && !from.empty() && (answer->status < 502 || answer->status > 504);
    Say(one, fmt::format("reaches {}", one.upstream), good,
        {fmt::format("GET {}{}: {}{}", one.path, FromWhere(), Show(answer),
                     from.empty() ? "" : " from " + from)},
        "see whether its instances are ready: muster ps");
    if (!good || one.arrives == one.path) co_return;
    const std::string arrived = Header(*answer, "x-muster-uri");
    Say(one, fmt::format("arrives as {}", one.arrives), arrived == one.arrives,
        {fmt::format("{} arrived as {}", one.path, arrived)});
  }

  const Upstream* FindUpstream(const Try& one) const {
    for (const Upstream& upstream : input_.upstreams) {
      if (upstream.name == one.upstream) return &upstream;
    }
    return nullptr;
  }

  // Which member answered how often, to `count` requests of as many clients as there are `addresses`.
  net::Task<std::map<std::string, size_t>> Count(const Try& one, size_t count,
                                                 std::vector<std::string> addresses) {
    std::map<std::string, size_t> counts;
    for (size_t i = 0; i < count; ++i) {
      net::Headers headers;
      if (!addresses.empty()) headers[Lower(one.real_ip_header)] = addresses[i % addresses.size()];
      const Answer answer = co_await Ask(one, headers);
      if (answer.ok()) ++counts[UpstreamOf(*answer)];
    }
    co_return counts;
  }

  static std::string Lower(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  }

  std::vector<std::string> Told(const Upstream& upstream, const std::map<std::string, size_t>& counts) const {
    std::vector<std::string> lines;
    for (const Member& member : upstream.members) {
      const auto found = counts.find(member.address);
      lines.push_back(fmt::format("{} ({}): {}{}", member.instance, member.address,
                                  found == counts.end() ? 0 : found->second,
                                  input_.out.contains(member.instance) ? ", out" : ""));
    }
    return lines;
  }

  net::Task<void> Spreads(const Try& one) {
    const Upstream* upstream = FindUpstream(one);
    if (!upstream) co_return;
    std::vector<std::string> in;
    for (const Member& member : upstream->members) {
      if (!input_.out.contains(member.instance)) in.push_back(member.address);
    }
    if (in.size() < 2) co_return;
    if (upstream->balance == Balance::kIpHash) {
      co_await SticksToClient(one, *upstream);
      co_return;
    }
    const size_t requests = in.size() * 4;
    const std::vector<std::string> nobody;
    const std::map<std::string, size_t> counts = co_await Count(one, requests, nobody);
    // Other clients take turns, too, so each gets a share, if not exactly a fourth of the requests.
    const auto gets_some = [&](const std::string& address) {
      const auto found = counts.find(address);
      if (found == counts.end()) return false;
      return found->second >= 1 && found->second <= 12;
    };
    const bool balanced = upstream->balance == Balance::kLeastConn
                              ? counts.size() >= 2
                              : std::all_of(in.begin(), in.end(), gets_some);
    Say(one, fmt::format("spreads {} requests over {} instances", requests, in.size()), balanced,
        Told(*upstream, counts), "see the logs of the instances that got none");
  }

  net::Task<void> SticksToClient(const Try& one, const Upstream& upstream) {
    std::vector<std::string> nobody;
    const std::map<std::string, size_t> counts = co_await Count(one, 8, nobody);
    Say(one, "sends one client to one instance", counts.size() == 1 && !counts.begin()->first.empty(),
        Told(upstream, counts));
    // Clients that are made up aren't let in.
    if (one.real_ip_header.empty() || one.limited) co_return;
    std::vector<std::string> clients;
    // ip_hash looks at the first three numbers of an address; neighbours fall on different members.
    for (size_t i = 0; i < kClients; ++i) clients.push_back(fmt::format("198.18.{}.7", i));
    const std::map<std::string, size_t> spread = co_await Count(one, kClients, clients);
    Say(one, fmt::format("spreads {} clients", kClients), spread.size() >= 2, Told(upstream, spread),
        "add the address of this host to real_ip.from if clients come through a proxy on it");
  }

  // Only says how long its body would be: nginx refuses it for that already.
  net::Task<void> LimitsBody(const Try& one) {
    if (one.body_limit <= 0) co_return;
    net::Headers headers;
    headers["content-length"] = std::to_string(one.body_limit + 1);
    constexpr std::string_view method = "PATCH";
    const Answer answer = co_await Ask(one, headers, method);
    Say(one, fmt::format("refuses a body over {}", SizeText(one.body_limit)),
        answer.ok() && answer->status == 413,
        {fmt::format("a request of {} bytes: {}", one.body_limit + 1, Show(answer))});
  }

  net::Task<void> Compresses(const Try& one) {
    net::Headers headers;
    const Answer plain = co_await Ask(one, headers);
    if (!plain.ok()) co_return;
    std::string type = Header(*plain, "content-type");
    type = type.substr(0, type.find(';'));
    const bool fits = std::find(one.gzip_types.begin(), one.gzip_types.end(), type) != one.gzip_types.end();
    // What isn't to be compressed can't be tried here.
    const bool known = std::ssize(plain->body) >= one.gzip_min_length && plain->status == 200;
    if (!fits || !known || !Header(*plain, "content-encoding").empty()) co_return;
    headers["accept-encoding"] = "gzip";
    const Answer answer = co_await Ask(one, headers);
    const std::string encoding = answer.ok() ? Header(*answer, "content-encoding") : "";
    Say(one, "is compressed", encoding == "gzip",
        {fmt::format("{} bytes of {}: Content-Encoding: {}", plain->body.size(), type, encoding)});
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
};

}  // namespace

net::Task<std::vector<Check>> VerifyRoutes(VerifyInput input) {
  Verifier verifier(std::move(input));
  co_return co_await verifier.Run();
}

}  // namespace muster::nginx
