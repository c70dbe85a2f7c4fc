#include "options.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>

namespace example {
namespace {

constexpr const char* kHelp =
    R"(example-app: a small web program that does what it is asked, for examples and tests
  --port N              where it listens (environment: PORT; default: any free port)
  --address IP          on this address (environment: ADDRESS; default 127.0.0.1)
  --id TEXT             its name, in every answer as X-Instance
  --version TEXT        shown as X-Version (environment: APP_VERSION; default 1)
  --peers A:P,B:P       the other instances; shown only
  --redis A:P,B:P       counts visits in the Redis (Cluster) of these nodes (environment: REDIS_NODES; its
                        password: REDIS_PASSWORD)
  --config FILE         shows the digest of FILE, and doesn't start without it; read again on SIGHUP
  --cluster-port N      a second port that answers with the id
  --seeds A:P,B:P       asks these cluster ports for their ids until each has answered
  --health-path PATH    default /health
  --show-env A,B        environment variables to show beside those that begin with APP_
  --start-delay 2s      not healthy before (environment: APP_START_DELAY)
  --stop-delay 2s       takes so long to stop
  --stop-bound 5s       longest wait for open requests at a stop
  --never-ready         never healthy
  --fail-start          ends at once with status 3
  --access-log          a line for each request
Paths: / /info /visits /echo… /health /slow?ms= /crash /hang /exit?status= /log?line= /upload… /big?bytes=
       /unhealthy /allocate?mb= /static/… /sockjs/info; a WebSocket on any path sends back what it gets.
)";

bool ReadPort(const std::string& text, int& port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port >= 0 && port <= 65535;
}

bool ReadDelay(const std::string& text, Milliseconds& delay) {
  const auto read = ReadDuration(text);
  if (read) delay = *read;
  return read.has_value();
}

bool SetText(const std::string& text, std::string& target) {
  target = text;
  return true;
}

bool SetList(const std::string& text, std::vector<std::string>& target) {
  target = SplitList(text);
  return true;
}

}  // namespace

std::optional<Milliseconds> ReadDuration(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || number > 86'400'000) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit == "ms") return Milliseconds(number);
  if (unit == "s") return Milliseconds(number * 1000);
  if (unit == "m") return Milliseconds(number * 60'000);
  return std::nullopt;
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c != ',' && c != ' ')
      parts.back().push_back(c);
    else if (!parts.back().empty())
      parts.emplace_back();
  }
  if (parts.back().empty()) parts.pop_back();
  return parts;
}

std::optional<Options> ReadOptions(int argc, char** argv, std::string& error) {
  Options options;
  using Setter = std::function<bool(const std::string&)>;
  const std::map<std::string, Setter> settings = {
      {"id", [&](const auto& text) { return SetText(text, options.id); }},
      {"version", [&](const auto& text) { return SetText(text, options.version); }},
      {"address", [&](const auto& text) { return SetText(text, options.address); }},
      {"port", [&](const auto& text) { return ReadPort(text, options.port); }},
      {"peers", [&](const auto& text) { return SetList(text, options.peers); }},
      {"redis", [&](const auto& text) { return SetList(text, options.redis); }},
      {"config", [&](const auto& text) { return SetText(text, options.config); }},
      {"cluster-port", [&](const auto& text) { return ReadPort(text, options.cluster_port); }},
      {"seeds", [&](const auto& text) { return SetList(text, options.seeds); }},
      {"health-path", [&](const auto& text) { return SetText(text, options.health_path); }},
      {"show-env", [&](const auto& text) { return SetList(text, options.show_env); }},
      {"start-delay", [&](const auto& text) { return ReadDelay(text, options.start_delay); }},
      {"stop-delay", [&](const auto& text) { return ReadDelay(text, options.stop_delay); }},
      {"stop-bound", [&](const auto& text) { return ReadDelay(text, options.stop_bound); }},
  };
  const std::map<std::string, bool*> flags = {{"never-ready", &options.never_ready},
                                              {"fail-start", &options.fail_start},
                                              {"access-log", &options.access_log}};
  const auto set = [&](const std::string& name, const std::string& text, const std::string& where) {
    if (settings.at(name)(text)) return true;
    error = where + ": '" + text + "' is not what it takes";
    return false;
  };
  // The environment first, so that the command line wins.
  const std::pair<const char*, const char*> from_environment[] = {{"ADDRESS", "address"},
                                                                  {"PORT", "port"},
                                                                  {"APP_VERSION", "version"},
                                                                  {"REDIS_NODES", "redis"},
                                                                  {"APP_START_DELAY", "start-delay"}};
  for (const auto& [variable, name] : from_environment) {
    const char* text = std::getenv(variable);
    if (text && *text && !set(name, text, variable)) return std::nullopt;
  }
  // Never on the command line, which everybody on the host can read.
  if (const char* password = std::getenv("REDIS_PASSWORD")) options.redis_password = password;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help") {
      if (write(STDOUT_FILENO, kHelp, std::char_traits<char>::length(kHelp)) < 0) std::perror("write");
      return std::nullopt;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, 2) == "--" ? word.substr(2, equals - 2) : "";
    if (const auto flag = flags.find(name); flag != flags.end() && equals == std::string::npos) {
      *flag->second = true;
      continue;
    }
    if (settings.count(name) == 0 || (equals == std::string::npos && i + 1 == argc)) {
      error = word + ": not an option, or its value is missing; see --help";
      return std::nullopt;
    }
    const std::string value = equals == std::string::npos ? argv[++i] : word.substr(equals + 1);
    if (!set(name, value, "--" + name)) return std::nullopt;
  }
  return options;
}

}  // namespace example
