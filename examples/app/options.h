// What the example program is told on its command line and in its environment.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace example {

using Milliseconds = std::chrono::milliseconds;

struct Options {
  std::string id = "app";
  std::string version = "1";
  std::string address = "127.0.0.1";
  int port = 0;  // 0: any free one, which the log tells
  std::vector<std::string> peers;
  int cluster_port = 0;  // 0: none
  std::vector<std::string> seeds;
  std::vector<std::string> redis;  // HOST:PORT; none: no visits are counted
  std::string redis_password;      // "": none
  std::string config;              // "": none
  std::string health_path = "/health";
  std::vector<std::string> show_env;
  Milliseconds start_delay{0};
  Milliseconds stop_delay{0};
  Milliseconds stop_bound{5000};
  bool never_ready = false;
  bool fail_start = false;
  bool access_log = false;
};

// `error` is set where nothing is returned; "" after --help.
std::optional<Options> ReadOptions(int argc, char** argv, std::string& error);

// "500ms", "2s", "1m"; nothing where it is none of these.
std::optional<Milliseconds> ReadDuration(std::string_view text);

std::vector<std::string> SplitList(std::string_view text);  // at commas and blanks

}  // namespace example
