// What a spear node is told: one file, profiles in it, and the environment over both. Reading is for any
// thread; what decides is pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace muster::push {

enum class AuthMode {
  kOpen,    // whoever says who they are is believed
  kSigned,  // HMAC-SHA-256 with an expiry
  kMd5,     // the two salted tokens of gru
};

struct Settings {
  std::string node_name = "spear";
  int64_t node_id = 0;
  std::vector<std::string> listen = {"0.0.0.0:31001"};
  int64_t shards = 0;  // 0: one for each core
  std::string path = "/socket.io/";
  std::vector<std::string> namespaces = {"/"};
  std::vector<std::string> transports = {"polling", "websocket"};
  bool upgrades = true;
  bool protocol_3 = false;
  Duration ping_interval = 25s, ping_timeout = 20s, upgrade_timeout = 10s, connect_timeout = 45s;
  int64_t payload_max = 1'000'000;
  std::vector<std::string> origins = {"*"};
  bool credentials = false;

  std::string tls_certificate, tls_key;

  AuthMode auth = AuthMode::kOpen;
  bool auth_required = false;
  Duration auth_timeout = 10s;
  std::string auth_secret, auth_secret_2, auth_secret_file, auth_secret_2_file;

  bool groups_open = true;
  bool client_rooms = true;
  bool presence = false;
  bool recovery = false;
  Duration recovery_keep = 120s;
  int64_t recovery_bytes = 64 << 20;

  int64_t connections_max = 0, per_address_max = 0, packets_per_second = 0, groups_max = 1000;
  Duration request_timeout = 20s, idle_timeout = 75s;
  int64_t slow_bytes = 1 << 20, mailbox_bytes = 64 << 20;
  std::string slow_policy = "close";

  std::vector<std::string> admin_listen = {"127.0.0.1:31002"};
  std::string admin_token, admin_token_file;
  int64_t answer_bytes = 16 << 20;
  Duration drain_over = 10s;
  std::string drain_elsewhere;
  std::string log_level = "info", log_format = "text";
  bool reference = false;  // behave as the official suites expect; not for users
};

struct Problem {
  std::string where;  // "spear.yaml:3", "MUSTER_PUSH_LISTEN"
  Error error;
};

struct Loaded {
  Settings settings;
  std::vector<Problem> problems;  // all that is wrong, not only the first
  // Variables that begin like ours and are those that Kubernetes and Docker set for a service "muster-push".
  std::vector<std::string> left_out;
};

using Environment = std::map<std::string, std::string>;

// `text` of a file called `name`; `profile` "" means the file's own default, if it names one. Codes of
// problems: "bad-config", "unknown-setting", "bad-setting", "bad-profile".
Loaded ReadSettings(const std::string& name, const std::string& text, const std::string& profile,
                    const Environment& environment);
// Reads the files that hold secrets, and judges what only the whole tells. Code "bad-setting", and those of
// ReadFile.
void CompleteSettings(Loaded& loaded);

// "HOST:PORT", "[::1]:31001", ":31001". Code "bad-address".
struct HostPort {
  std::string host;
  int port = 0;
};
Result<HostPort> ParseHostPort(std::string_view text);

// All settings with their defaults and what they are for, as lines of YAML with comments.
std::string DescribeSettings();
// The variable that overrides a setting: "heartbeat.interval" → "MUSTER_PUSH_HEARTBEAT_INTERVAL".
std::string VariableOf(std::string_view path);

}  // namespace muster::push
