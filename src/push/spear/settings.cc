#include "push/spear/settings.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>

#include "base/files.h"
#include "base/text.h"

namespace muster::push {
namespace {

constexpr std::string_view kVariablePrefix = "MUSTER_PUSH_";
constexpr const char* kProfileVariable = "MUSTER_PUSH_PROFILE";

// One setting, declared once: the file, the environment, --check and the manual follow from it.
struct Setting {
  std::string path;
  std::string help;
  bool secret = false;  // comes by a file or the environment, never in the configuration
  std::function<Status(const std::vector<std::string>&, Settings&)> set;
  std::function<std::string(const Settings&)> show;
};

Error Bad(std::string_view what, const std::string& value) {
  return Error::Invalid("bad-setting", "{}, not `{}`", what, value);
}

Result<std::string> One(const std::vector<std::string>& values) {
  if (values.size() != 1) return Error::Invalid("bad-setting", "takes one value, not a list");
  return values[0];
}

Setting Text(std::string path, std::string Settings::*field, std::string help,
             std::vector<std::string> choices = {}) {
  return {path, help, false,
          [=](const std::vector<std::string>& values, Settings& settings) -> Status {
            MUSTER_TRY(const std::string value, One(values));
            if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end()) {
              return Bad("must be one of " + Join(choices, ", "), value);
            }
            settings.*field = value;
            return Done();
          },
          [=](const Settings& settings) {
            const std::string& value = settings.*field;
            return value.empty() ? "\"\"" : value;
          }};
}

Setting Secret(std::string path, std::string Settings::*field, std::string help) {
  Setting setting = Text(std::move(path), field, std::move(help));
  setting.secret = true;
  return setting;
}

Setting List(std::string path, std::vector<std::string> Settings::*field, std::string help) {
  return {path, help, false,
          [=](const std::vector<std::string>& values, Settings& settings) -> Status {
            settings.*field = values;
            return Done();
          },
          [=](const Settings& settings) {
            std::vector<std::string> quoted;
            for (const std::string& value : settings.*field) quoted.push_back('"' + value + '"');
            return "[" + Join(quoted, ", ") + "]";
          }};
}

Setting Flag(std::string path, bool Settings::*field, std::string help) {
  return {path, help, false,
          [=](const std::vector<std::string>& values, Settings& settings) -> Status {
            MUSTER_TRY(const std::string value, One(values));
            if (value != "true" && value != "false") return Bad("must be true or false", value);
            settings.*field = value == "true";
            return Done();
          },
          [=](const Settings& settings) { return settings.*field ? "true" : "false"; }};
}

Setting Number(std::string path, int64_t Settings::*field, int64_t least, int64_t most, std::string help) {
  return {path, help, false,
          [=](const std::vector<std::string>& values, Settings& settings) -> Status {
            MUSTER_TRY(const std::string value, One(values));
            int64_t number = 0;
            const char* end = value.data() + value.size();
            const auto [stop, error] = std::from_chars(value.data(), end, number);
            if (error != std::errc() || stop != end) return Bad("must be a whole number", value);
            if (number < least || number > most)
              return Bad(fmt::format("must be {} to {}", least, most), value);
            settings.*field = number;
            return Done();
          },
          [=](const Settings& settings) { return std::to_string(settings.*field); }};
}

Setting Size(std::string path, int64_t Settings::*field, int64_t least, int64_t most, std::string help) {
  return {path, help, false,
          [=](const std::vector<std::string>& values, Settings& settings) -> Status {
            MUSTER_TRY(const std::string value, One(values));
            const auto size = ParseSize(value);
            if (!size.ok()) return Bad("must be a size such as 64k, 1m or a number of bytes", value);
            if (*size < least || *size > most)
              return Bad(fmt::format("must be {} to {} bytes", least, most), value);
            settings.*field = *size;
            return Done();
          },
          [=](const Settings& settings) { return std::to_string(settings.*field); }};
}

Setting Time(std::string path, Duration Settings::*field, Duration least, std::string help) {
  return {path, help, false,
          [=](const std::vector<std::string>& values, Settings& settings) -> Status {
            MUSTER_TRY(const std::string value, One(values));
            const auto duration = ParseDuration(value);
            if (!duration.ok()) return Bad("must be a time with its unit, such as 25s or 500ms", value);
            if (*duration < least || *duration > 24h) {
              return Bad("must be " + FormatDuration(least) + " to 24h", value);
            }
            settings.*field = *duration;
            return Done();
          },
          [=](const Settings& settings) { return FormatDuration(settings.*field); }};
}

Setting Auth() {
  return {
      "auth.mode",
      "open: who says who they are is believed; signed: HMAC with an expiry; md5: gru's two salted tokens",
      false,
      [](const std::vector<std::string>& values, Settings& settings) -> Status {
        MUSTER_TRY(const std::string value, One(values));
        if (value == "open")
          settings.auth = AuthMode::kOpen;
        else if (value == "signed")
          settings.auth = AuthMode::kSigned;
        else if (value == "md5")
          settings.auth = AuthMode::kMd5;
        else
          return Bad("must be one of open, signed, md5", value);
        return Done();
      },
      [](const Settings& settings) {
        return settings.auth == AuthMode::kOpen     ? "open"
               : settings.auth == AuthMode::kSigned ? "signed"
                                                    : "md5";
      }};
}

const std::vector<Setting>& AllSettings() {
  using S = Settings;
  static const std::vector<Setting>& all = *new std::vector<Setting>{
      Text("node.name", &S::node_name, "what this node calls itself in logs and state"),
      Number("node.id", &S::node_id, 0, 1023, "tells this node's message ids from those of others"),
      List("listen", &S::listen, "HOST:PORT for clients; several make a list"),
      Number("shards", &S::shards, 0, 64, "loops, each on a thread of its own; 0: one for each core"),
      Text("path", &S::path, "where Socket.IO is served"),
      List("namespaces", &S::namespaces, "those that clients may connect to"),
      List("transports", &S::transports, "polling, websocket, or both"),
      Flag("upgrades", &S::upgrades, "whether clients may go from polling to WebSocket"),
      Flag("allow_eio3", &S::protocol_3, "whether clients of Socket.IO 2 are served"),
      Time("heartbeat.interval", &S::ping_interval, 100ms, "between pings to a client"),
      Time("heartbeat.timeout", &S::ping_timeout, 100ms, "for its answer"),
      Time("upgrade_timeout", &S::upgrade_timeout, 100ms, "for an upgrade that was begun to be completed"),
      Time("connect_timeout", &S::connect_timeout, 100ms, "for a client to join its first namespace"),
      Size("max_payload", &S::payload_max, 1024, 1 << 30, "of one message or request, in bytes"),
      List("cors.origins", &S::origins,
           "pages of these may connect, beside those of the same host; \"*\": of any"),
      Flag("cors.credentials", &S::credentials, "whether cookies may come along; origins must be named then"),
      Text("tls.certificate", &S::tls_certificate,
           "file with the chain in PEM; with tls.key, clients speak TLS"),
      Text("tls.key", &S::tls_key, "file with its key; both are read anew on SIGHUP and when they change"),
      Auth(),
      Flag("auth.required", &S::auth_required,
           "before `auth` a client gets nothing, and none of its other requests is granted"),
      Time("auth.timeout", &S::auth_timeout, 100ms, "for a client to authenticate where it is required"),
      Text("auth.secret_file", &S::auth_secret_file, "file with the secret of signed, or gru's first salt"),
      Text("auth.secret_2_file", &S::auth_secret_2_file, "file with gru's second salt"),
      Secret("auth.secret", &S::auth_secret, "the same by environment"),
      Secret("auth.secret_2", &S::auth_secret_2, "the same by environment"),
      Flag("groups.open", &S::groups_open,
           "whether any user may join, list and write to any group; else its members, who join by token"),
      Flag("rooms", &S::client_rooms, "whether clients may use `join`, `leave` and `emit`"),
      Flag("presence", &S::presence, "tell a group who comes and goes"),
      Flag("recovery.enabled", &S::recovery, "clients whose connection broke get what they missed"),
      Time("recovery.keep", &S::recovery_keep, 1s, "for how long"),
      Size("recovery.bytes", &S::recovery_bytes, 0, int64_t{1} << 36, "kept packets of each shard, at most"),
      Number("limits.connections", &S::connections_max, 0, 100'000'000,
             "of this node; 0: as many as there are files"),
      Number("limits.per_address", &S::per_address_max, 0, 100'000'000,
             "connections from one address; 0: any number"),
      Number("limits.packets_per_second", &S::packets_per_second, 0, 1'000'000,
             "of one client; 0: any number"),
      Number("limits.groups", &S::groups_max, 1, 1'000'000, "groups and rooms of one client"),
      Time("limits.request_timeout", &S::request_timeout, 100ms, "for a request to come whole"),
      Time("limits.idle_timeout", &S::idle_timeout, 100ms, "of a connection between requests"),
      Size("limits.mailbox_bytes", &S::mailbox_bytes, 65536, int64_t{1} << 36,
           "of messages that wait for one shard; beyond it new ones are refused"),
      Size("slow.bytes", &S::slow_bytes, 4096, 1 << 30, "that may wait for one client"),
      Text("slow.policy", &S::slow_policy, "what becomes of a client that is slower", {"drop", "close"}),
      List("admin.listen", &S::admin_listen,
           "HOST:PORT for the push API, metrics, health and state; [] none"),
      Text("admin.token_file", &S::admin_token_file, "file with the token that the push API asks for"),
      Size("admin.answer_bytes", &S::answer_bytes, 0, 1 << 30,
           "of clients' acks that one call of the push API gathers"),
      Secret("admin.token", &S::admin_token, "the same by environment"),
      Time("drain.over", &S::drain_over, 0ms,
           "clients are sent away over so long when the node is told to end"),
      Text("drain.elsewhere", &S::drain_elsewhere, "address that they are told"),
      Text("log.level", &S::log_level, "", {"debug", "info", "warn", "error"}),
      Text("log.format", &S::log_format, "", {"text", "json"}),
      Flag("reference", &S::reference, "behave as the protocols' official suites expect; for testing only"),
  };
  return all;
}

const Setting* FindSetting(std::string_view path) {
  for (const Setting& setting : AllSettings()) {
    if (setting.path == path) return &setting;
  }
  return nullptr;
}

bool IsFolderOfSettings(const std::string& path) {
  for (const Setting& setting : AllSettings()) {
    if (setting.path.rfind(path + ".", 0) == 0) return true;
  }
  return false;
}

struct Reader {
  std::string name;
  Loaded& loaded;

  void Complain(const YAML::Node& node, Error error) const {
    loaded.problems.push_back({fmt::format("{}:{}", name, node.Mark().line + 1), std::move(error)});
  }

  void Apply(const std::string& path, const YAML::Node& node) const {
    const Setting* setting = FindSetting(path);
    if (setting == nullptr) {
      std::vector<std::string> paths;
      for (const Setting& each : AllSettings()) paths.push_back(each.path);
      const auto nearest = Nearest(path, paths);
      Error error = Error::Invalid("unknown-setting", "there is no setting `{}`", path);
      if (nearest) error = std::move(error).Hint("do you mean `{}`?", *nearest);
      Complain(node, std::move(error));
      return;
    }
    if (setting->secret) {
      Complain(node,
               Error::Invalid("bad-setting", "`{}` is a secret: it doesn't belong into this file", path)
                   .Hint("put it into a file that `{}_file` names, or into {}", path, VariableOf(path)));
      return;
    }
    std::vector<std::string> values;
    if (node.IsSequence()) {
      for (const YAML::Node& each : node) {
        if (!each.IsScalar())
          return Complain(each, Error::Invalid("bad-setting", "`{}` takes plain values", path));
        values.push_back(each.Scalar());
      }
    } else if (node.IsScalar()) {
      values.push_back(node.Scalar());
    } else {
      return Complain(node, Error::Invalid("bad-setting", "`{}` takes a value", path));
    }
    const Status status = setting->set(values, loaded.settings);
    if (!status.ok()) {
      Complain(node, Error(ErrorKind::kInvalid, status.error().code(),
                           "`" + path + "` " + status.error().message()));
    }
  }

  void Walk(const std::string& prefix, const YAML::Node& map) const {
    for (const auto& entry : map) {
      const std::string key = entry.first.Scalar();
      if (prefix.empty() && (key == "profiles" || key == "profile")) continue;
      const std::string path = prefix.empty() ? key : prefix + "." + key;
      if (entry.second.IsMap() && FindSetting(path) == nullptr && IsFolderOfSettings(path)) {
        Walk(path, entry.second);
      } else {
        Apply(path, entry.first.IsScalar() && entry.second.IsDefined() ? entry.second : entry.first);
      }
    }
  }
};

bool Consists(std::string_view text, std::string_view of) {
  return !text.empty() && text.find_first_not_of(of) == std::string_view::npos;
}

// Whether a variable is set for a service "muster-push" by Kubernetes, or by Docker for a link of that name:
// SERVICE_HOST, SERVICE_PORT[_NAME], PORT, and PORT_NUMBER_PROTOCOL[_ADDR|_PORT|_PROTO] behind our prefix.
bool IsOfService(std::string_view name, std::string_view value) {
  name.remove_prefix(kVariablePrefix.size());
  if (name == "SERVICE_HOST" || name == "SERVICE_PORT") return true;
  constexpr std::string_view kNamedPort = "SERVICE_PORT_";
  if (name.substr(0, kNamedPort.size()) == kNamedPort) {
    return Consists(name.substr(kNamedPort.size()), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  }
  // Theirs is "tcp://ADDRESS:PORT"; a bare number is from somebody who means `listen`.
  if (name == "PORT") return value.find("://") != std::string_view::npos;
  const std::vector<std::string> parts = Split(name, '_');
  if (parts.size() < 3 || parts.size() > 4 || parts[0] != "PORT" || !Consists(parts[1], "0123456789")) {
    return false;
  }
  if (parts[2] != "TCP" && parts[2] != "UDP" && parts[2] != "SCTP") return false;
  return parts.size() == 3 || parts[3] == "ADDR" || parts[3] == "PORT" || parts[3] == "PROTO";
}

// What begins like ours and isn't is a slip: the setting it was meant for would silently keep its default.
void RefuseUnknownVariables(const Environment& environment, Loaded& loaded) {
  std::vector<std::string> names{kProfileVariable};
  for (const Setting& setting : AllSettings()) names.push_back(VariableOf(setting.path));
  for (const auto& [name, value] : environment) {
    if (name.rfind(kVariablePrefix, 0) != 0) continue;
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    if (IsOfService(name, value)) {
      loaded.left_out.push_back(name);
      continue;
    }
    // By what comes behind the prefix, or short names would be near to all.
    std::vector<std::string> ends;
    for (const std::string& each : names) ends.push_back(each.substr(kVariablePrefix.size()));
    Error error = Error::Invalid("unknown-setting", "there is no setting for this variable");
    if (const auto nearest = Nearest(name.substr(kVariablePrefix.size()), ends)) {
      error = std::move(error).Hint("do you mean `{}{}`?", kVariablePrefix, *nearest);
    }
    loaded.problems.push_back({name, std::move(error)});
  }
}

void ReadEnvironment(const Environment& environment, Loaded& loaded) {
  RefuseUnknownVariables(environment, loaded);
  for (const Setting& setting : AllSettings()) {
    const std::string variable = VariableOf(setting.path);
    const auto found = environment.find(variable);
    if (found == environment.end()) continue;
    std::vector<std::string> values;
    const std::string shown = setting.show(Settings{});
    const bool list = !shown.empty() && shown[0] == '[';
    if (!list) values.push_back(found->second);
    if (list && !found->second.empty()) {
      for (const std::string& value : Split(found->second, ',')) values.emplace_back(Trim(value));
    }
    const Status status = setting.set(values, loaded.settings);
    if (!status.ok()) loaded.problems.push_back({variable, status.error()});
  }
}

void ReadSecret(const std::string& file, const char* path, std::string& secret, Loaded& loaded) {
  if (file.empty()) return;
  auto text = ReadFile(file, 65536);
  if (!text.ok()) {
    loaded.problems.push_back({path, std::move(text).error()});
    return;
  }
  secret = Trim(*text);
  if (secret.empty()) loaded.problems.push_back({path, Error::Invalid("bad-setting", "{} is empty", file)});
}

}  // namespace

std::string VariableOf(std::string_view path) {
  std::string variable(kVariablePrefix);
  for (const char c : path)
    variable += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return variable;
}

Loaded ReadSettings(const std::string& name, const std::string& text, const std::string& profile,
                    const Environment& environment) {
  Loaded loaded;
  std::vector<Problem> others;  // of profiles that aren't selected
  try {
    const YAML::Node root = YAML::Load(text);
    const Reader reader{name, loaded};
    if (root.IsDefined() && !root.IsNull() && !root.IsMap()) {
      reader.Complain(root, Error::Invalid("bad-config", "a map of settings is wanted here"));
    } else if (root.IsMap()) {
      reader.Walk("", root);
      const YAML::Node profiles = root["profiles"];
      const std::string wanted = !profile.empty() ? profile : root["profile"] ? root["profile"].Scalar() : "";
      const bool named = profiles.IsDefined() && !profiles.IsNull();
      if (named && !profiles.IsMap()) {
        reader.Complain(profiles, Error::Invalid("bad-config", "a map of profiles is wanted here"));
      }
      if (named && profiles.IsMap()) {
        for (const auto& each : profiles) {
          const YAML::Node& profile_node = each.second;
          const bool chosen = each.first.Scalar() == wanted;
          if (!profile_node.IsMap()) {
            if (!profile_node.IsNull()) {
              reader.Complain(profile_node, Error::Invalid("bad-config", "a map of settings is wanted here"));
            }
            continue;
          }
          // One that isn't selected is checked over the same, too: else its slips are found on the day it is.
          Loaded other{.settings = loaded.settings, .problems = {}};
          if (!chosen) Reader{name, other}.Walk("", profile_node);
          others.insert(others.end(), other.problems.begin(), other.problems.end());
        }
      }
      if (!wanted.empty()) {
        if (profiles.IsDefined() && profiles.IsMap() && profiles[wanted].IsDefined()) {
          if (profiles[wanted].IsMap()) reader.Walk("", profiles[wanted]);
        } else {
          std::vector<std::string> names;
          if (profiles.IsDefined() && profiles.IsMap()) {
            for (const auto& each : profiles) names.push_back(each.first.Scalar());
          }
          loaded.problems.push_back(
              {name,
               Error::Invalid("bad-profile", "there is no profile `{}`", wanted)
                   .Hint("{}", names.empty() ? "the file has none" : "there are: " + Join(names, ", "))});
        }
      }
    }
  } catch (const YAML::Exception& exception) {
    loaded.problems.push_back({fmt::format("{}:{}", name, exception.mark.line + 1),
                               Error::Invalid("bad-config", "this is no YAML: {}", exception.msg)});
  }
  loaded.problems.insert(loaded.problems.end(), others.begin(), others.end());
  ReadEnvironment(environment, loaded);
  return loaded;
}

void CompleteSettings(Loaded& loaded) {
  Settings& settings = loaded.settings;
  const auto complain = [&](const char* where, const std::string& what) {
    loaded.problems.push_back({where, Error::Invalid("bad-setting", "{}", what)});
  };
  ReadSecret(settings.auth_secret_file, "auth.secret_file", settings.auth_secret, loaded);
  ReadSecret(settings.auth_secret_2_file, "auth.secret_2_file", settings.auth_secret_2, loaded);
  ReadSecret(settings.admin_token_file, "admin.token_file", settings.admin_token, loaded);
  if (settings.path.empty() || settings.path.front() != '/') complain("path", "must begin with /");
  if (!settings.path.empty() && settings.path.back() != '/') settings.path += '/';
  if (settings.listen.empty()) complain("listen", "names no address to listen on");
  for (const auto* list : {&settings.listen, &settings.admin_listen}) {
    for (const std::string& text : *list) {
      if (auto place = ParseHostPort(text); !place.ok()) {
        loaded.problems.push_back(
            {list == &settings.listen ? "listen" : "admin.listen", std::move(place).error()});
      }
    }
  }
  for (const std::string& transport : settings.transports) {
    if (transport != "polling" && transport != "websocket")
      complain("transports", "there is no `" + transport + "`");
  }
  if (settings.transports.empty()) complain("transports", "names none");
  if (settings.namespaces.empty()) complain("namespaces", "names none; the main one is /");
  for (const std::string& name : settings.namespaces) {
    if (name.empty() || name[0] != '/' || name.find(',') != std::string::npos) {
      complain("namespaces", "`" + name + "` must begin with / and hold no comma");
    }
  }
  if (settings.namespaces.size() > 250) complain("namespaces", "names more than 250");
  if (settings.origins.size() > 200) complain("cors.origins", "names more than 200");
  if (settings.credentials &&
      std::find(settings.origins.begin(), settings.origins.end(), "*") != settings.origins.end()) {
    complain("cors.credentials",
             "goes with named origins only, not with *: any page could act for your users");
  }
  if (settings.tls_certificate.empty() != settings.tls_key.empty()) {
    complain("tls", "certificate and key go together");
  }
  if (settings.auth == AuthMode::kSigned && settings.auth_secret.empty()) {
    complain("auth.mode", "signed needs auth.secret_file, or " + VariableOf("auth.secret"));
  }
  if (settings.auth == AuthMode::kMd5 && (settings.auth_secret.empty() || settings.auth_secret_2.empty())) {
    complain("auth.mode", "md5 needs auth.secret_file and auth.secret_2_file");
  }
  if (!settings.groups_open && settings.auth != AuthMode::kSigned) {
    complain("groups.open",
             "false goes with auth.mode: signed only, whose secret groups' tokens are made with");
  }
  if (settings.slow_bytes < settings.payload_max / 16)
    complain("slow.bytes", "is too little for max_payload");
}

Result<HostPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  HostPort place;
  const std::string_view port = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), place.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size() || place.port < 0 ||
      place.port > 65535) {
    return Error::Invalid("bad-address", "`{}` is no HOST:PORT", text);
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  place.host = host.empty() ? "0.0.0.0" : std::string(host);
  return place;
}

std::string DescribeSettings() {
  std::string text, folder;
  for (const Setting& setting : AllSettings()) {
    if (setting.secret || setting.path == "reference") continue;
    std::string key = setting.path;
    std::string indent;
    if (const size_t dot = key.find('.'); dot != std::string::npos) {
      if (folder != key.substr(0, dot)) text += (folder = key.substr(0, dot)) + ":\n";
      key = key.substr(dot + 1);
      indent = "  ";
    } else {
      folder.clear();
    }
    std::string line = fmt::format("{}{}: {}", indent, key, setting.show(Settings{}));
    if (!setting.help.empty()) line = fmt::format("{:<44} # {}", line, setting.help);
    text += line + "\n";
  }
  return text;
}

}  // namespace muster::push
