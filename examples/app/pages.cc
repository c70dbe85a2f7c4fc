#include "pages.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

extern char** environ;

namespace example {
namespace {

constexpr std::string_view kFillerLine = "the same line again and again, so that it can be compressed\n";
constexpr uint64_t kFillerMost = 1u << 30;

uint64_t NumberIn(const Request& request, std::string_view name, uint64_t most) {
  return std::min<uint64_t>(std::strtoull(request.Query(name).c_str(), nullptr, 10), most);
}

bool Below(const std::string& path, std::string_view folder) {
  return path == folder || path.compare(0, folder.size() + 1, std::string(folder) + "/") == 0;
}

std::string JsonList(const std::vector<std::string>& texts) {
  std::string json;
  for (const std::string& text : texts) json += (json.empty() ? "" : ",") + JsonText(text);
  return "[" + json + "]";
}

std::string JsonMap(const std::map<std::string, std::string>& texts) {
  std::string json;
  for (const auto& [name, text] : texts)
    json += (json.empty() ? "" : ",") + JsonText(name) + ":" + JsonText(text);
  return "{" + json + "}";
}

// Only what is meant to be seen: an environment may hold secrets.
std::map<std::string, std::string> ShownEnvironment(const std::vector<std::string>& also) {
  std::map<std::string, std::string> shown;
  for (char** entry = environ; *entry; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (!equals) continue;
    const std::string name(*entry, static_cast<size_t>(equals - *entry));
    const bool listed = std::find(also.begin(), also.end(), name) != also.end();
    if (listed || name.compare(0, 4, "APP_") == 0) shown[name] = equals + 1;
  }
  return shown;
}

std::string VisitJson(const Visit& visit) {
  return "\"visits\":" + std::to_string(visit.number) + ",\"node\":" + JsonText(visit.node) +
         ",\"error\":" + JsonText(visit.why);
}

Answer Plain(int status, std::string body) { return {.status = status, .body = std::move(body)}; }
Answer Json(std::string body) { return {.type = "application/json", .body = std::move(body) + "\n"}; }

[[noreturn]] void Crash() {
  Log("crash asked for");
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);  // A test that crashes a hundred times should leave no hundred cores.
  std::abort();
}

[[noreturn]] void Hang() {
  Log("hang asked for");
  while (true) pause();  // SIGTERM is blocked for the loop's sake, so only SIGKILL ends this.
}

}  // namespace

std::string FillerText(uint64_t at, size_t bytes) {
  std::string text;
  text.reserve(bytes + kFillerLine.size());
  size_t from = static_cast<size_t>(at % kFillerLine.size());
  while (text.size() < bytes) {
    text += kFillerLine.substr(from);
    from = 0;
  }
  text.resize(bytes);
  return text;
}

Reply Pages::Handle(const Request& request) {
  ++requests;
  const std::string& path = request.path;
  const auto answer = [](Answer one) { return Reply{.answer = std::move(one)}; };
  if (path == options_.health_path) return answer(Health());
  if (path == "/" || path == "/visits") {
    if (!options_.redis.empty()) return {.visit = true};
    return answer(path == "/" ? Plain(200, Overview())
                              : Plain(404, "no visits are counted without --redis\n"));
  }
  if (path == "/info") return answer(Json(Info()));
  if (Below(path, "/echo")) return answer(Json(Echo(request)));
  if (Below(path, "/upload")) {
    return answer(
        Json("{\"id\":" + JsonText(options_.id) + ",\"bytes\":" + std::to_string(request.body_bytes) + "}"));
  }
  if (Below(path, "/static")) return answer(Plain(200, "static " + path + " from " + options_.id + "\n"));
  if (path == "/sockjs/info")
    return answer(Json(R"({"websocket":true,"origins":["*:*"],"cookie_needed":false})"));
  if (path == "/slow") {
    const uint64_t ms = NumberIn(request, "ms", 600'000);
    return {.answer = Plain(200, "after " + std::to_string(ms) + " ms\n"), .delay = Milliseconds(ms)};
  }
  if (path == "/big") return {.answer = Plain(200, ""), .filler = NumberIn(request, "bytes", kFillerMost)};
  if (path == "/log") {
    Log(request.Query("line"));
    return answer(Plain(200, "logged\n"));
  }
  if (path == "/unhealthy") {
    unhealthy_ = !unhealthy_;
    Log(unhealthy_ ? "unhealthy from now on" : "healthy again");
    return answer(Plain(200, unhealthy_ ? "unhealthy\n" : "healthy\n"));
  }
  if (path == "/allocate") {
    // Written to, not only reserved: memory counts when it is touched.
    ballast_.assign(static_cast<size_t>(NumberIn(request, "mb", 4096)) << 20, 'm');
    return answer(Plain(200, std::to_string(ballast_.size()) + " bytes held\n"));
  }
  if (path == "/exit") {
    const int status = static_cast<int>(NumberIn(request, "status", 255));
    Log("exit " + std::to_string(status) + " asked for");
    return {.answer = Plain(200, "bye\n"), .exit_status = status};
  }
  if (path == "/crash") Crash();
  if (path == "/hang") Hang();
  return answer(Plain(404, "nothing at " + path + "\n"));
}

Answer Pages::OfVisit(const Request& request, const Visit& visit) const {
  const bool counted = visit.number > 0;
  if (request.path == "/visits") {
    Answer answer = Json("{\"id\":" + JsonText(options_.id) + "," + VisitJson(visit) + "}");
    if (!counted) answer.status = 503;
    return answer;
  }
  return Plain(
      200, Overview() +
               (counted ? "visits: " + std::to_string(visit.number) + ", counted in Redis by " + visit.node
                        : "visits: not counted: " + visit.why) +
               "\n");
}

Answer Pages::Health() const {
  const char* why = stopping ? "stopping" : unhealthy_ ? "unhealthy" : starting ? "starting" : "ok";
  const bool well = !stopping && !unhealthy_ && !starting;
  return Plain(well ? 200 : 503, std::string(why) + "\n");
}

std::string Pages::Overview() const {
  std::string peers;
  for (const std::string& peer : options_.peers) peers += " " + peer;
  std::string text = "id: " + options_.id + "\nversion: " + options_.version +
                     "\naddress: " + options_.address + "\nport: " + std::to_string(port) +
                     "\npeers:" + peers + "\n";
  if (!config_digest.empty()) text += "config: " + config_digest + "\n";
  for (const auto& [name, value] : ShownEnvironment(options_.show_env)) text += name + "=" + value + "\n";
  return text;
}

std::string Pages::Info() const {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  char folder[4096] = "";
  if (!getcwd(folder, sizeof folder)) folder[0] = '\0';
  return "{\"id\":" + JsonText(options_.id) + ",\"version\":" + JsonText(options_.version) +
         ",\"address\":" + JsonText(options_.address) + ",\"port\":" + std::to_string(port) +
         ",\"pid\":" + std::to_string(getpid()) + ",\"uid\":" + std::to_string(getuid()) +
         ",\"folder\":" + JsonText(folder) + ",\"open_files\":" + std::to_string(files.rlim_cur) +
         ",\"peers\":" + JsonList(options_.peers) + ",\"seeds\":" + JsonMap(seeds_.answers()) +
         ",\"config_sha256\":" + JsonText(config_digest) +
         ",\"environment\":" + JsonMap(ShownEnvironment(options_.show_env)) +
         ",\"requests\":" + std::to_string(requests) + ",\"websockets\":" + std::to_string(websockets) +
         ",\"redis\":{\"nodes\":" + JsonList(options_.redis) + "," + VisitJson(visits_.last()) + "}}";
}

std::string Pages::Echo(const Request& request) const {
  std::map<std::string, std::string> headers;
  for (const auto& [name, value] : request.headers) headers[name] = request.Header(name);
  return "{\"id\":" + JsonText(options_.id) + ",\"method\":" + JsonText(request.method) +
         ",\"target\":" + JsonText(request.target) + ",\"path\":" + JsonText(request.path) +
         ",\"query\":" + JsonText(request.query) + ",\"headers\":" + JsonMap(headers) +
         ",\"body_bytes\":" + std::to_string(request.body_bytes) + "}";
}

}  // namespace example
