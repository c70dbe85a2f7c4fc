#include "recipes/app/texts.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "recipes/common/placement.h"

namespace muster::app {
namespace {

constexpr std::string_view kBlanks = " \t\r";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWord(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

char At(std::string_view text, size_t at) { return at < text.size() ? text[at] : '\0'; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return lower;
}

// Each line that is nothing but a comment becomes blanks, so that what follows keeps its place.
std::string WithoutComments(std::string text) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const size_t first = text.find_first_not_of(kBlanks, start);
    if (first < end && (text[first] == '#' || text[first] == ';' || text.compare(first, 2, "//") == 0)) {
      std::fill(text.begin() + static_cast<std::ptrdiff_t>(start),
                text.begin() + static_cast<std::ptrdiff_t>(end), ' ');
    }
    start = end + 1;
  }
  return text;
}

bool IsNameEnd(char c) {
  return c == '\0' || std::string_view(" \t\r\n\"'=,;[](){}<>").find(c) != std::string_view::npos;
}

// What the value around `at` is called, in lower case: the key before it in its line, the option before it in
// a command. Of a list over several lines the key above it. Empty where there is none.
std::string NameBefore(std::string_view text, size_t at) {
  if (at == 0) return "";
  const size_t line_start = text.rfind('\n', at - 1);
  size_t start = line_start == std::string_view::npos ? 0 : line_start + 1;
  while (start > 0) {
    const size_t first = text.find_first_not_of(kBlanks, start);
    if (At(text, first) != '-' || IsWord(At(text, first + 1)) || At(text, first + 1) == '-') break;
    const size_t above = start < 2 ? std::string_view::npos : text.rfind('\n', start - 2);
    start = above == std::string_view::npos ? 0 : above + 1;
  }
  const std::string_view before = text.substr(start, at - start);
  // The last `name=`, `name:` or `--name `, none of which may be part of an address or of a URL.
  for (size_t i = before.size(); i-- > 0;) {
    const char c = before[i];
    const bool separates =
        c == '=' ||
        (c == ':' &&
         (i + 1 == before.size() || kBlanks.find(before[i + 1]) != std::string_view::npos ||
          before[i + 1] == '\n' || std::string_view("\n[\"'").find(before[i + 1]) != std::string_view::npos));
    const bool option = kBlanks.find(c) != std::string_view::npos;
    if (!separates && !option) continue;
    size_t end = i;
    while (end > 0 && (before[end - 1] == ' ' || before[end - 1] == '"' || before[end - 1] == '\'')) --end;
    size_t begin = end;
    while (begin > 0 && !IsNameEnd(before[begin - 1]) && before[begin - 1] != ':') --begin;
    const std::string_view name = before.substr(begin, end - begin);
    if (name.find_first_not_of('-') == std::string_view::npos) continue;
    if (option && !separates && name.front() != '-') continue;
    return Lower(name);
  }
  return "";
}

std::string NameOf(const Part& part, size_t at) {
  const std::string name = NameBefore(part.text, at);
  if (!name.empty() || !part.where.starts_with("env ")) return name;
  return Lower(part.where.substr(4));
}

bool HasAny(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

// Where in the cluster file `offset` of the part is, and how to say so.
Mark MarkOf(const Part& part, size_t offset) {
  Mark mark = part.mark;
  if (part.value && part.text.find('\n') == std::string::npos) {
    mark.column += static_cast<int>(offset) + (part.value->quoted ? 1 : 0);
  }
  return mark;
}

std::string WhereOf(const Part& part, size_t offset) {
  if (part.text.find('\n') == std::string::npos) return part.where;
  const auto line =
      1 + std::count(part.text.begin(), part.text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
  return fmt::format("line {} of {}", line, part.where);
}

void Add(std::vector<Finding>& findings, std::string_view code, Mark mark, std::string message,
         std::string fix, Severity severity) {
  findings.push_back({.severity = severity,
                      .code = std::string(code),
                      .mark = mark,
                      .message = std::move(message),
                      .fix = std::move(fix),
                      .file = ""});
}

// --- addresses of this very machine

struct Loopback {
  size_t offset = 0;
  std::string_view text;
  bool any = false;  // 0.0.0.0 and [::]: all of its own, to listen at
};

// The number of characters that an IPv4 address takes there; 0 where there is none.
size_t QuadLength(std::string_view text, size_t at) {
  size_t end = at;
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && At(text, end++) != '.') return 0;
    const size_t first = end;
    int number = 0;
    for (; IsDigit(At(text, end)) && end - first < 3; ++end) number = number * 10 + (text[end] - '0');
    if (end == first || number > 255) return 0;
  }
  return end - at;
}

std::optional<Loopback> LoopbackAt(std::string_view text, size_t at) {
  const char before = at == 0 ? '\0' : text[at - 1];
  for (const std::string_view name : {"[::1]", "[::]", "[0:0:0:0:0:0:0:1]"}) {
    if (text.compare(at, name.size(), name) == 0) return Loopback{at, name, name == "[::]"};
  }
  if (IsWord(before) || before == '.') return std::nullopt;
  size_t length = 0;
  if (At(text, at) == 'l' || At(text, at) == 'L') {
    for (const std::string_view name : {"localhost.localdomain", "localhost"}) {
      if (length == 0 && Lower(text.substr(at, name.size())) == name) length = name.size();
    }
  } else if (text.compare(at, 4, "127.") == 0 || text.compare(at, 4, "0.0.") == 0) {
    length = QuadLength(text, at);
  }
  if (length == 0) return std::nullopt;
  const std::string_view found = text.substr(at, length);
  const bool any = found[0] == '0';
  const char after = At(text, at + length);
  if (IsWord(after) || (after == '.' && IsWord(At(text, at + length + 1)))) return std::nullopt;
  if (any && (found != "0.0.0.0" || after == '/')) return std::nullopt;  // 0.0.0.0/0 is everybody
  if (!any && after == '/' && IsDigit(At(text, at + length + 1)) && IsDigit(found[0])) {
    const bool url = at >= 2 && text.compare(at - 2, 2, "//") == 0;
    if (!url) return std::nullopt;  // a network, such as 127.0.0.0/8
  }
  return Loopback{at, found, any};
}

// Does the authority of a URL lie around `at`, with a user or other addresses before it maybe?
bool InUrl(std::string_view text, size_t at) {
  for (size_t i = at; i-- > 0;) {
    const char c = text[i];
    if (c == '/') return i > 0 && text[i - 1] == '/';
    if (std::string_view(" \t\r\n\"'?#<>|").find(c) != std::string_view::npos) return false;
  }
  return false;
}

// --- lists of members

bool NamesMembers(std::string_view name) {
  return HasAny(name, {"seed", "peer", "member", "bootstrap", "contact", "nodes", "quorum", "ensemble",
                       "initial-cluster", "initial_cluster"});
}

}  // namespace

std::vector<Part> PartsOf(const Service& service, const Cluster& cluster) {
  std::vector<Part> parts;
  const Value& settings = service.settings;
  const auto value = [&](const Value* one, std::string where) {
    if (one && one->is_scalar())
      parts.push_back({.value = one, .text = one->text, .mark = one->mark, .where = where});
  };
  const auto file = [&](const Value* one, const std::string& where) {
    if (!one || !one->is_scalar()) return;
    const auto found = cluster.files.find(one->text);
    if (found == cluster.files.end() || found->second.text.empty()) return;
    parts.push_back({.value = nullptr, .text = found->second.text, .mark = one->mark, .where = where});
  };
  value(settings.Find("command"), "command");
  value(settings.Find("working_folder"), "working_folder");
  if (const Value* env = settings.Find("env")) {
    for (const Value::Entry& entry : env->entries) value(&entry.value, "env " + entry.key);
  }
  file(settings.Find("env_file"), settings.Text("env_file"));
  if (const Value* files = settings.Find("files")) {
    for (const Value::Entry& entry : files->entries) {
      const Value* from = entry.value.is_scalar() ? &entry.value : entry.value.Find("from");
      if (entry.value.Bool("template", true)) file(from, from ? from->text : entry.key);
      value(entry.value.Find("content"), "files " + entry.key);
    }
  }
  return parts;
}

void CheckLocalhost(const Part& part, const Cluster& cluster, std::vector<Finding>& findings) {
  const std::string text = part.value ? part.text : WithoutComments(part.text);
  for (size_t at = 0; at < text.size(); ++at) {
    if (std::string_view("lL10[").find(text[at]) == std::string_view::npos) continue;
    const auto found = LoopbackAt(text, at);
    if (!found) continue;
    at += found->text.size() - 1;
    const auto own = [&](const Host& host) { return host.address == found->text; };
    if (std::any_of(cluster.hosts.begin(), cluster.hosts.end(), own)) continue;
    const size_t after = found->offset + found->text.size();
    const bool url = InUrl(text, found->offset);
    if (!url && found->offset > 0 && text[found->offset - 1] == '/') continue;  // a part of a path
    const bool port = At(text, after) == ':' && (IsDigit(At(text, after + 1)) || At(text, after + 1) == '{');
    const std::string name = NameOf(part, found->offset);
    const bool listens = HasAny(name, {"listen", "bind", "allow", "trust", "no_proxy", "no-proxy"});
    const bool to_others =
        HasAny(name, {"advertise", "announce", "public", "external"}) || NamesMembers(name);
    if (found->any) {
      // What to listen at is all right; what to tell others is not.
      const bool told = to_others || HasAny(name, {"endpoint", "api", "upstream", "origin", "callback"}) ||
                        name.ends_with("url") || name.ends_with("uri");
      if (listens || !told) continue;
    } else if (!url && !port && !(to_others && !listens)) {
      continue;
    }
    // Whoever reads a URL may be a browser; a bare address may be meant for a sidecar.
    Add(findings, "localhost-peer", MarkOf(part, found->offset),
        fmt::format("{} points at {}, which is another machine for everyone else",
                    WhereOf(part, found->offset), found->text),
        "write {{address}}, the address of a host, or {{SERVICE.endpoints}}",
        url && !listens ? Severity::kError : Severity::kWarning);
  }
}

void CheckSeeds(const Service& service, const Part& part, const Cluster& cluster, const Placement& members,
                std::vector<Finding>& findings) {
  std::unordered_map<std::string, const Host*> hosts;
  for (const Host& host : cluster.hosts) hosts[host.name] = &host;
  // What the words of a list stand for: members as `address:port`, or the hosts alone.
  struct Form {
    std::set<std::string> wanted;
    std::unordered_map<std::string, std::string> words;
  };
  std::map<std::string, Form> forms;  // by port; "" is for those without
  for (const auto& [name, place] : common::MembersOf(members, service.name)) {
    const auto found = hosts.find(place->host);
    if (found == hosts.end()) continue;
    const Host& host = *found->second;
    for (const auto& [port, range] : place->ports) {
      Form& form = forms[port];
      const std::string endpoint = fmt::format("{}:{}", host.address, range.first);
      form.wanted.insert(endpoint);
      form.words[endpoint] = endpoint;
      form.words[fmt::format("{}:{}", host.name, range.first)] = endpoint;
    }
    Form& bare = forms[""];
    bare.wanted.insert(host.address);
    bare.words[host.address] = bare.words[host.name] = host.address;
  }
  struct List {
    std::set<std::string> listed;
    size_t first = 0;
  };
  std::map<std::pair<std::string, std::string>, List> lists;  // by port and what it is called
  const std::string text = part.value ? part.text : WithoutComments(part.text);
  // A list over several lines has its name in the first of them only.
  const bool one_line = text.find('\n') == std::string::npos;
  for (size_t at = 0; at < text.size();) {
    const auto inside = [&](char c) { return IsWord(c) || c == '.' || c == ':'; };
    size_t end = at;
    while (end < text.size() && inside(text[end])) ++end;
    if (end == at) {
      ++at;
      continue;
    }
    std::string word = text.substr(at, end - at);
    while (word.ends_with('.') || word.ends_with(':')) word.pop_back();
    for (const auto& [port, form] : forms) {
      const auto found = form.words.find(word);
      if (found == form.words.end()) continue;
      const std::string name = NameOf(part, at);
      if (port.empty() && !NamesMembers(name)) continue;
      List& list = lists[{port, one_line ? name : ""}];
      if (list.listed.empty()) list.first = at;
      list.listed.insert(found->second);
    }
    at = end;
  }
  for (const auto& [key, list] : lists) {
    const std::string& port = key.first;
    const std::set<std::string>& wanted = forms[port].wanted;
    if (wanted.size() < 2 || list.listed.size() == wanted.size()) continue;
    // One alone is a list only where it is called one; an own address to announce isn't.
    if (list.listed.size() < 2 && !NamesMembers(NameOf(part, list.first))) continue;
    std::vector<std::string> missing;
    std::set_difference(wanted.begin(), wanted.end(), list.listed.begin(), list.listed.end(),
                        std::back_inserter(missing));
    constexpr size_t kNamedMost = 10;
    const size_t unnamed = missing.size() > kNamedMost ? missing.size() - kNamedMost : 0;
    missing.resize(missing.size() - unnamed);
    const std::string more = unnamed > 0 ? fmt::format(" and {} more", unnamed) : "";
    Add(findings, "seeds-incomplete", MarkOf(part, list.first),
        fmt::format("{} lists members of {} without {}{}", WhereOf(part, list.first), service.name,
                    Join(missing, ", "), more),
        fmt::format("write {{{{peers.{}}}}}: it always names them all", port.empty() ? "PORT" : port),
        list.listed.size() < 2 ? Severity::kWarning : Severity::kError);
  }
}

namespace {

// Is what is called so an identity? Runs, requests and the like are to differ.
bool NamesIdentity(std::string_view name) {
  std::string bare;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != '.') bare += c;
  }
  if (HasAny(bare, {"run", "request", "session", "trace", "build", "boot", "deploy"})) return false;
  for (const std::string_view whole : {"id", "name", "node", "instance", "member", "identity", "uuid"}) {
    if (bare == whole) return true;
  }
  if (name.ends_with("-id") || name.ends_with("_id") || name.ends_with(".id")) return true;
  for (const std::string_view who : {"node", "instance", "member", "client", "broker", "worker", "peer"}) {
    if (bare.ends_with(std::string(who) + "id") || bare.ends_with(std::string(who) + "name")) return true;
  }
  return false;
}

}  // namespace

void CheckStartIds(const Service& service, const Part& part, std::vector<Finding>& findings) {
  // What a shell makes of it differs at each start; the host's name is not the cluster's to know, and the
  // same for all members on the host.
  constexpr std::array<std::string_view, 17> kSigns = {"$RANDOM",
                                                       "${RANDOM",
                                                       "$SRANDOM",
                                                       "${SRANDOM",
                                                       "$$",
                                                       "$(uuidgen",
                                                       "`uuidgen",
                                                       "$(date",
                                                       "`date",
                                                       "$EPOCHSECONDS",
                                                       "${EPOCHSECONDS",
                                                       "$HOSTNAME",
                                                       "${HOSTNAME",
                                                       "$(hostname",
                                                       "`hostname",
                                                       "$(cat /proc/sys/kernel/random/",
                                                       "$(openssl rand"};
  for (const std::string_view sign : kSigns) {
    for (size_t at = part.text.find(sign); at != std::string::npos;
         at = part.text.find(sign, at + sign.size())) {
      if (!NamesIdentity(NameOf(part, at))) continue;
      size_t end = at;
      while (end < part.text.size() &&
             std::string_view(" \t\n\"'").find(part.text[end]) == std::string_view::npos) {
        ++end;
      }
      size_t start = at;
      while (start > 0 &&
             std::string_view(" \t\n\"'=").find(part.text[start - 1]) == std::string_view::npos) {
        --start;
      }
      const std::string word = part.text.substr(start, end - start);
      const bool host = sign.find("HOSTNAME") != std::string_view::npos || sign.ends_with("hostname");
      if (host && HasAny(word, {"{{instance}}", "{{ordinal}}", "{{id}}", "{{ports."})) continue;
      Add(findings, "id-not-fixed", MarkOf(part, at),
          host ? fmt::format("{} takes the id {} from the host: it is the same for all instances there",
                             WhereOf(part, at), word)
               : fmt::format("the id {} in {} would differ at each start; members could not be told apart",
                             word, WhereOf(part, at)),
          "write a fixed one: {{instance}}, or " + service.name + "-{{ordinal}}", Severity::kError);
      break;
    }
  }
}

}  // namespace muster::app
