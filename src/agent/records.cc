#include "agent/records.h"

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/files.h"
#include "model/words.h"

namespace muster::agent {

Paths PathsOf(const std::string& host_folder, const std::string& instance) {
  Paths paths{.name = instance};
  paths.host = host_folder;
  paths.folder = host_folder + "/instances/" + instance;
  paths.logs = paths.folder + "/logs";
  paths.data = paths.folder + "/data";
  paths.records = host_folder + "/records/" + instance;
  paths.pristine = paths.records + "/pristine";
  paths.artifacts = host_folder + "/artifacts";
  return paths;
}

std::string ArtifactPath(const Paths& paths, const std::string& sha256, const std::string& name) {
  return paths.artifacts + "/" + sha256 + "/" + name;
}

std::string FillIn(const std::string& text, const Paths& paths, const Instance& instance) {
  return FillWords(text, [&](std::string_view word) -> std::optional<std::string> {
    if (word == "folder") return paths.folder;
    if (word == "data") {
      const auto elsewhere = instance.extra.find(kDataElsewhere);
      return elsewhere == instance.extra.end() ? paths.data : elsewhere->second;
    }
    if (word == "logs") return paths.logs;
    if (instance.artifact.name.empty()) return std::nullopt;
    return ArtifactPath(paths, instance.artifact.sha256, instance.artifact.name);
  });
}

std::vector<std::string> RecordedInstances(const std::string& host_folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(host_folder + "/records", error)) {
    if (entry.is_directory(error)) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<Remembered> ReadRecord(const Paths& paths) {
  const auto text = ReadFile(paths.records + "/desired.json");
  if (!text.ok()) return std::nullopt;
  const auto json = api::ParseJson(*text);
  if (!json.ok()) return std::nullopt;
  auto desired = api::InstanceFrom(*json);
  if (!desired.ok()) return std::nullopt;
  Remembered remembered{.desired = std::move(*desired),
                        .memory = {},
                        .running_hash = "",
                        .live_hash = "",
                        .had_process = false,
                        .since = WallNow()};
  const auto state_text = ReadFile(paths.records + "/state.json");
  const auto state = state_text.ok() ? api::ParseJson(*state_text) : Result<api::Json>(state_text.error());
  if (!state.ok() || !state->is_object()) return remembered;
  try {
    Supervisor::Memory& memory = remembered.memory;
    memory.state = StateNamed(state->value("state", "stopped"));
    memory.wanted = state->value("wanted", false);
    memory.crash_count = state->value("crash_count", 0);
    memory.unproven = state->value("unproven", false);
    memory.restarts = state->value("restarts", 0);
    memory.last_exit = state->value("last_exit", "");
    remembered.running_hash = state->value("running_hash", "");
    remembered.live_hash = state->value("live_hash", "");
    remembered.had_process = state->value("had_process", false);
    remembered.log_from = state->value("log_from", int64_t{0});
    remembered.life_from = state->value("life_from", int64_t{0});
    remembered.loop_from = state->value("loop_from", int64_t{0});
    remembered.since = WallTime(Duration(state->value("since", int64_t{0})));
  } catch (const api::Json::exception&) {
    // Somebody wrote into it: what it says doesn't count, the process itself tells.
  }
  return remembered;
}

Status WriteDesired(const Paths& paths, const Instance& desired) {
  // It may hold secrets.
  return WriteFile(paths.records + "/desired.json", api::ToJson(desired).dump(),
                   {.mode = 0600, .durable = true});
}

Status WriteState(const Paths& paths, const Remembered& remembered) {
  const Supervisor::Memory& memory = remembered.memory;
  const api::Json json{{"v", 1},
                       {"state", StateName(memory.state)},
                       {"wanted", memory.wanted},
                       {"crash_count", memory.crash_count},
                       {"unproven", memory.unproven},
                       {"restarts", memory.restarts},
                       {"last_exit", memory.last_exit},
                       {"running_hash", remembered.running_hash},
                       {"live_hash", remembered.live_hash},
                       {"had_process", remembered.had_process},
                       {"log_from", remembered.log_from},
                       {"life_from", remembered.life_from},
                       {"loop_from", remembered.loop_from},
                       {"since", remembered.since.time_since_epoch().count()}};
  return WriteFile(paths.records + "/state.json", json.dump(), {.mode = 0600});
}

}  // namespace muster::agent
