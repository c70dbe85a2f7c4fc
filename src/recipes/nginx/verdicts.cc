#include "recipes/nginx/verdicts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>

#include "base/text.h"

namespace muster::nginx {

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string Header(const net::Response& response, std::string_view name) {
  const auto found = response.headers.find(name);
  return found == response.headers.end() ? std::string() : found->second;
}

namespace {

// Of what stands for each member that nginx tried.
std::string Last(const std::string& all) {
  const size_t comma = all.rfind(", ");
  return comma == std::string::npos ? all : all.substr(comma + 2);
}

}  // namespace

std::string UpstreamOf(const net::Response& response) {
  const std::string all = Header(response, "x-muster-upstream");
  return Last(all.substr(0, all.find(';')));
}

std::string WhyPlain(const Try& one, const net::Response& plain) {
  std::string type = Header(plain, "content-type");
  type = type.substr(0, type.find(';'));
  const auto& types = one.gzip_types;
  const auto named = [&](const char* word) {
    return std::find(types.begin(), types.end(), word) != types.end();
  };
  if (plain.status != 200) return fmt::format("status {}", plain.status);
  if (const std::string own = Header(plain, "content-encoding"); !own.empty())
    return fmt::format("it comes as {} already", own);
  if (!named(type.c_str()) && !named("*")) {
    return type.empty() ? "it has no type" : fmt::format("{} isn't among gzip.types", type);
  }
  if (std::ssize(plain.body) < one.gzip_min_length)
    return fmt::format("{} bytes, fewer than gzip.min_length, {}", plain.body.size(), one.gzip_min_length);
  return "";
}

bool IsRedirectTo(std::string_view wanted, std::string_view location) {
  const size_t variable = wanted.find('$');
  const std::string_view fixed = wanted.substr(0, variable);
  if (fixed.starts_with('/')) {
    const size_t scheme = location.find("://");
    if (scheme != std::string_view::npos && scheme < location.find('/')) {
      const size_t path = location.find('/', scheme + 3);
      location = path == std::string_view::npos ? std::string_view() : location.substr(path);
    }
  }
  return variable == std::string_view::npos ? location == fixed : location.starts_with(fixed);
}

std::string UrlPath(std::string_view name) {
  std::string path;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    path += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return path;
}

std::string NameFor(std::string_view pattern) {
  if (pattern == "_" || pattern.find_first_of("~^$") != std::string_view::npos) return "";
  std::string name(pattern);
  if (name.starts_with("*.")) name = "muster-verify" + name.substr(1);
  if (name.starts_with('.')) name = name.substr(1);
  if (name.ends_with(".*")) name = name.substr(0, name.size() - 1) + "test";
  return name.find('*') == std::string::npos ? name : "";
}

const Member* FindMember(const Upstream& upstream, std::string_view address) {
  for (const Member& member : upstream.members) {
    if (member.address == address) return &member;
  }
  return nullptr;
}

bool IsNoAnswer(const net::Response& response) {
  if (response.status < 502 || response.status > 504) return false;
  const std::string all = Header(response, "x-muster-upstream");
  const size_t times = all.find(';');
  // An nginx that an earlier release has written for doesn't say when each member answered.
  return times == std::string::npos || times == 0 || Last(all.substr(times + 1)) == "-";
}

bool AllOut(const Upstream& upstream, const std::set<std::string>& out) {
  return !upstream.members.empty() &&
         std::all_of(upstream.members.begin(), upstream.members.end(),
                     [&](const Member& member) { return out.contains(member.instance); });
}

std::vector<std::string> Told(const Upstream& upstream, const std::set<std::string>& out,
                              const std::map<std::string, size_t>& counts) {
  std::vector<std::string> lines;
  for (const Member& member : upstream.members) {
    const auto found = counts.find(member.address);
    lines.push_back(fmt::format("{} ({}): {}{}", member.instance, member.address,
                                found == counts.end() ? 0 : found->second,
                                out.contains(member.instance) ? ", out" : ""));
  }
  for (const auto& [address, count] : counts) {
    if (!FindMember(upstream, address))
      lines.push_back(fmt::format("{}: {}", address.empty() ? "no member answered" : address, count));
  }
  return lines;
}

size_t Requests(const std::map<std::string, size_t>& counted) {
  size_t asked = 0;
  for (const auto& [address, count] : counted) asked += count;
  return asked;
}

bool AskOn(const std::map<std::string, size_t>& counted, bool nginx_says_so) {
  constexpr size_t kUnansweredMost = 2;
  const auto unanswered = counted.find("");
  return unanswered == counted.end() || (!nginx_says_so && unanswered->second < kUnansweredMost);
}

std::vector<Member> Silent(const Upstream& upstream, const std::set<std::string>& out, const Spread& spread) {
  std::vector<Member> silent;
  const std::set<std::string> marked = MarkedIn(upstream, out);
  for (const Member& member : upstream.members) {
    if (!marked.contains(member.instance) && !spread.counts.contains(member.address))
      silent.push_back(member);
  }
  return silent;
}

Verdict JudgeSpread(const Upstream& upstream, const std::set<std::string>& out, const Spread& spread) {
  size_t most = 0;  // that one that got its turn has
  const auto has = [&](const std::string& address) {
    const auto found = spread.connections.find(address);
    return found == spread.connections.end() ? size_t{0} : found->second;
  };
  for (const auto& [address, count] : spread.counts) {
    if (!FindMember(upstream, address)) return Verdict::kBad;
    most = std::max(most, has(address));
  }
  const std::vector<Member> silent = Silent(upstream, out, spread);
  if (silent.empty()) return Verdict::kGood;
  const bool busy = upstream.balance == Balance::kLeastConn && !spread.counts.empty() &&
                    std::all_of(silent.begin(), silent.end(),
                                [&](const Member& member) { return has(member.address) > most; });
  return busy ? Verdict::kBusy : Verdict::kBad;
}

std::map<std::string, size_t> CountConnections(std::string_view table) {
  std::map<std::string, size_t> counts;
  for (const std::string& line : Split(table, '\n')) {
    std::istringstream words(line);
    std::string slot, local, remote, state;
    words >> slot >> local >> remote >> state;
    if (state != "01" || remote.size() != 13) continue;  // established; IPv4
    const auto address = static_cast<uint32_t>(std::strtoul(remote.substr(0, 8).c_str(), nullptr, 16));
    const auto port = std::strtoul(remote.c_str() + 9, nullptr, 16);
    // As the kernel keeps it: the first number stands lowest.
    ++counts[fmt::format("{}.{}.{}.{}:{}", address & 255, address >> 8 & 255, address >> 16 & 255,
                         address >> 24, port)];
  }
  return counts;
}

}  // namespace muster::nginx
