#include "cli/way_out.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.h"

namespace muster::cli {
namespace {

// URLs of what a program connects to itself. http isn't among them: that is also what it tells browsers, and
// what names an XML schema.
constexpr std::array<std::string_view, 27> kSchemes{
    "mysql",       "mariadb", "postgres",  "postgresql", "redis",     "rediss",     "mongodb",
    "mongodb+srv", "amqp",    "amqps",     "kafka",      "ldap",      "ldaps",      "mqtt",
    "mqtts",       "nats",    "sqlserver", "oracle",     "smtp",      "clickhouse", "smtps",
    "ftp",         "sftp",    "imap",      "imaps",      "memcached", "zookeeper"};

// Addresses that stand for where it listens, whom it believes, or what it tells others.
constexpr std::array<std::string_view, 14> kNotCalled{
    "listen", "bind",     "allow",    "trust",    "no_proxy", "no-proxy", "noproxy",
    "public", "external", "advertis", "announce", "callback", "origin",   "redirect"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWord(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}
char At(std::string_view text, size_t at) { return at < text.size() ? text[at] : '\0'; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return lower;
}

bool IsCalled(std::string_view name) {
  const std::string lower = Lower(name);
  return std::none_of(kNotCalled.begin(), kNotCalled.end(),
                      [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

// The length of an IPv4 address there, and its first number.
struct Quad {
  size_t length = 0;
  int first = 0;
};
std::optional<Quad> QuadAt(std::string_view text, size_t at) {
  if (at > 0 && (IsWord(text[at - 1]) || text[at - 1] == '.')) return std::nullopt;
  Quad quad;
  size_t end = at;
  for (int part = 0; part < 4; ++part) {
    if (part > 0 && At(text, end++) != '.') return std::nullopt;
    const size_t begin = end;
    int number = 0;
    for (; IsDigit(At(text, end)) && end - begin < 3; ++end) number = number * 10 + (text[end] - '0');
    if (end == begin || number > 255) return std::nullopt;
    if (part == 0) quad.first = number;
  }
  if (IsWord(At(text, end)) || (At(text, end) == '.' && IsWord(At(text, end + 1)))) return std::nullopt;
  quad.length = end - at;
  return quad;
}

bool IsOutside(const Quad& quad) { return quad.first != 0 && quad.first != 127 && quad.first < 224; }

// How many characters a port takes there, its colon included.
size_t PortLength(std::string_view text, size_t at) {
  if (At(text, at) != ':') return 0;
  size_t end = at + 1;
  while (IsDigit(At(text, end))) ++end;
  const bool port = end - at > 1 && end - at <= 6 && !IsWord(At(text, end));
  return port ? end - at : 0;
}

std::string HostOfUrl(std::string_view text, size_t separator) {
  size_t begin = separator;
  while (begin > 0 && (IsWord(text[begin - 1]) || text[begin - 1] == '+')) --begin;
  const std::string scheme = Lower(text.substr(begin, separator - begin));
  if (std::find(kSchemes.begin(), kSchemes.end(), scheme) == kSchemes.end()) return "";
  const size_t start = separator + 3;
  std::string_view host = text.substr(start, text.find_first_of("/?#\"'`<> \t\r\n", start) - start);
  if (const size_t user = host.rfind('@'); user != std::string_view::npos) host.remove_prefix(user + 1);
  host = host.substr(0, host.find(','));
  const size_t colon = host.find(':');
  const std::string name = Lower(host.substr(0, colon));
  // A name without a dot is another container's or of /etc/hosts: who knows where.
  if (name.find('.') == std::string::npos || name.back() == '.') return "";
  if (!std::all_of(name.begin(), name.end(), [](char c) { return IsWord(c) || c == '.'; })) return "";
  if (name.starts_with("localhost.") || name.ends_with(".localhost")) return "";
  if (const auto quad = QuadAt(name, 0); quad && !IsOutside(*quad)) return "";
  if (colon == std::string_view::npos || PortLength(host, colon) == 0) return name;
  return name + std::string(host.substr(colon, PortLength(host, colon)));
}

// What names the value at `at`: its line up to there, the last two words of it.
std::string_view NameBefore(std::string_view text, size_t at) {
  const size_t line = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  const std::string_view before = text.substr(line == std::string_view::npos ? 0 : line + 1,
                                              at - (line == std::string_view::npos ? 0 : line + 1));
  size_t begin = before.size();
  for (int words = 0; begin > 0; --begin) {
    if (before[begin - 1] == ' ' && begin < before.size() && before[begin] != ' ' && ++words == 2) break;
  }
  return before.substr(begin);
}

bool IsCommentLine(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t");
  return first != std::string_view::npos &&
         (line[first] == '#' || line[first] == ';' || line.substr(first).starts_with("//") ||
          line.substr(first).starts_with("<!--"));
}

struct Told {
  std::string name;   // "DB_URL"; "" of a command and of files
  std::string where;  // "env DB_URL"
  Mark mark;
  std::string_view text;
  bool lines = false;  // of a file, where a line may be a comment
};

std::vector<Told> TextsOf(const Service& service, const Cluster& cluster) {
  std::vector<Told> texts;
  const auto value = [&](const Value* one, const std::string& name, const std::string& where, bool lines) {
    if (one && one->is_scalar()) texts.push_back({name, where, one->mark, one->text, lines});
  };
  const auto file = [&](const Value* one) {
    const auto found = one && one->is_scalar() ? cluster.files.find(one->text) : cluster.files.end();
    if (found != cluster.files.end()) texts.push_back({"", one->text, one->mark, found->second.text, true});
  };
  value(service.settings.Find("command"), "", "command", false);
  if (const Value* env = service.settings.Find("env")) {
    for (const Value::Entry& entry : env->entries) value(&entry.value, entry.key, "env " + entry.key, false);
  }
  file(service.settings.Find("env_file"));
  if (const Value* files = service.settings.Find("files")) {
    for (const Value::Entry& entry : files->entries) {
      file(entry.value.is_scalar() ? &entry.value : entry.value.Find("from"));
      value(entry.value.Find("content"), "", "files " + entry.key, true);
    }
  }
  return texts;
}

// The first that one of its lines names, with "line N of" before where it stands.
std::pair<std::string, std::string> FirstIn(const Told& text) {
  if (!text.lines) return {OutsideAddress(text.name, text.text), text.where};
  int number = 0;
  for (size_t start = 0; start < text.text.size();) {
    const size_t end = std::min(text.text.find('\n', start), text.text.size());
    const std::string_view line = text.text.substr(start, end - start);
    start = end + 1;
    ++number;
    if (IsCommentLine(line)) continue;
    if (std::string found = OutsideAddress("", line); !found.empty()) {
      return {std::move(found), fmt::format("line {} of {}", number, text.where)};
    }
  }
  return {};
}

}  // namespace

std::string OutsideAddress(std::string_view name, std::string_view text) {
  if (!IsCalled(name)) return "";
  for (size_t at = 0; at < text.size(); ++at) {
    if (text.compare(at, 3, "://") == 0) {
      const std::string host = HostOfUrl(text, at);
      if (!host.empty() && IsCalled(NameBefore(text, at))) return host;
    }
    if (!IsDigit(text[at])) continue;
    const auto quad = QuadAt(text, at);
    if (!quad || !IsOutside(*quad)) continue;
    const size_t end = at + quad->length;
    const size_t port = PortLength(text, end);
    const bool url = at >= 2 && text.compare(at - 2, 2, "//") == 0;
    // A whole value called so is an address whose port has a name of its own: DB_HOST and DB_PORT.
    const std::string lower = Lower(name);
    const bool alone = quad->length == text.size() && (lower.ends_with("host") || lower.ends_with("server"));
    if ((port > 0 || url || alone) && IsCalled(NameBefore(text, at))) {
      return std::string(text.substr(at, quad->length + port));
    }
    at = end - 1;
  }
  return "";
}

std::vector<Finding> CheckWayOut(const Cluster& cluster) {
  std::vector<Finding> findings;
  if (!cluster.rehearsal) return findings;
  for (const Service& service : cluster.services) {
    if (service.kind != "app") continue;
    for (const Told& text : TextsOf(service, cluster)) {
      const auto [address, where] = FirstIn(text);
      const std::string host = address.substr(0, address.find(':'));
      const bool ours = std::any_of(cluster.hosts.begin(), cluster.hosts.end(),
                                    [&](const Host& one) { return one.address == host; });
      if (address.empty() || ours) continue;
      Finding finding;
      finding.severity = Severity::kWarning;
      finding.code = "rehearsal-apart";
      finding.mark = text.mark;
      finding.message = fmt::format(
          "{} of {} names {}: as root a rehearsed host has a network of its own, without a way out", where,
          service.name, address);
      finding.fix =
          "MUSTER_REHEARSAL_NETWORK=loopback, set before its server starts, leaves it in this one's";
      findings.push_back(std::move(finding));
      break;  // once a service
    }
  }
  return findings;
}

}  // namespace muster::cli
