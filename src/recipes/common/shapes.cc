#include "recipes/common/shapes.h"

#include <csignal>

#include "base/text.h"

namespace muster::common {

Shape Make(Shape::Type type, std::string help) {
  Shape shape;
  shape.type = type;
  shape.help = std::move(help);
  return shape;
}

Shape SecretFile(std::string help) {
  Shape shape = Make(Shape::Type::kFile, std::move(help));
  shape.secret = true;
  return shape;
}

Shape Templated(std::string help) {
  Shape shape = Make(Shape::Type::kText, std::move(help));
  shape.templated = true;
  return shape;
}

Shape ListOf(Shape element, std::string help, bool or_single) {
  Shape shape = Make(Shape::Type::kList, std::move(help));
  shape.element = std::make_shared<Shape>(std::move(element));
  shape.or_single = or_single;
  return shape;
}

Shape MapOf(Shape element, std::string help, std::string key_pattern) {
  Shape shape = Make(Shape::Type::kMap, std::move(help));
  shape.element = std::make_shared<Shape>(std::move(element));
  shape.key_pattern = std::move(key_pattern);
  return shape;
}

Shape Object(std::vector<Shape::Field> fields, std::string help) {
  Shape shape = Make(Shape::Type::kObject, std::move(help));
  shape.fields = std::move(fields);
  return shape;
}

Shape Words(std::vector<std::string> words, std::string help) {
  Shape shape = Make(Shape::Type::kWord, std::move(help));
  shape.words = std::move(words);
  return shape;
}

Shape Integer(int64_t minimum, int64_t maximum, std::string help) {
  Shape shape = Make(Shape::Type::kInteger, std::move(help));
  shape.minimum = minimum;
  shape.maximum = maximum;
  return shape;
}

Shape Either(std::vector<Shape> choices, std::string help) {
  Shape shape = Make(Shape::Type::kEither, std::move(help));
  shape.choices = std::move(choices);
  return shape;
}

Shape HealthShape() {
  Shape status = Make(Shape::Type::kText, "200, or a range such as 200-399");
  status.pattern = "[1-5][0-9][0-9](-[1-5][0-9][0-9])?";
  return Object(
      {
          {"http", Make(Shape::Type::kText, "A path that answers with a good status once it is ready")},
          {"tcp", Make(Shape::Type::kText, "The name of a port that takes connections once it is ready")},
          {"command", Make(Shape::Type::kText, "A command that exits with 0 once it is ready")},
          {"log", Make(Shape::Type::kText, "A regular expression; a log line matches it once it is ready")},
          {"port",
           Make(Shape::Type::kText, "The name of the port for http; the one called http, else the first")},
          {"every", Make(Shape::Type::kDuration, "Time between two probes")},
          {"timeout", Make(Shape::Type::kDuration, "How long one probe may take")},
          {"fail_after", Integer(1, 1000, "So many failures in a row: not ready any more")},
          {"status", status},
          {"tls", Make(Shape::Type::kBool, "Ask by HTTPS")},
          {"kill", Make(Shape::Type::kBool, "Kill and restart it when it hangs")},
      },
      "How muster knows that an instance is ready");
}

namespace {

Duration ReadDuration(const Value& value, const char* key, Duration fallback) {
  const auto parsed = ParseDuration(value.Text(key));
  return parsed.ok() ? *parsed : fallback;
}

}  // namespace

PortRange ReadPorts(const std::string& text) {
  PortRange range;
  const size_t slash = text.find('/');
  range.udp = slash != std::string::npos && text.substr(slash + 1) == "udp";
  const std::string numbers = text.substr(0, slash);
  const size_t dash = numbers.find('-');
  range.first = std::atoi(numbers.c_str());
  const int last = dash == std::string::npos ? range.first : std::atoi(numbers.c_str() + dash + 1);
  range.count = last - range.first + 1;
  return range;
}

std::string MainPort(const std::map<std::string, PortRange>& ports) {
  if (ports.contains("http")) return "http";
  return ports.empty() ? "" : ports.begin()->first;
}

Probe ReadHealth(const Value* health, const std::map<std::string, PortRange>& ports) {
  Probe probe;
  std::map<std::string, PortRange> tcp_ports = ports;
  std::erase_if(tcp_ports, [](const auto& port) { return port.second.udp; });
  const auto port_named = [&](std::string name) {
    if (name.empty()) name = MainPort(tcp_ports);
    const auto found = ports.find(name);
    return found == ports.end() ? 0 : found->second.first;
  };
  if (!health) {
    // Without a word about health, a program is ready once its port takes connections.
    probe.port = port_named("");
    if (probe.port != 0) probe.kind = Probe::Kind::kTcp;
    return probe;
  }
  if (const Value* http = health->Find("http")) {
    probe.kind = Probe::Kind::kHttp;
    probe.target = http->text;
    probe.port = port_named(health->Text("port"));
  } else if (const Value* tcp = health->Find("tcp")) {
    probe.kind = Probe::Kind::kTcp;
    probe.port = port_named(tcp->text);
  } else if (const Value* command = health->Find("command")) {
    probe.kind = Probe::Kind::kCommand;
    probe.target = command->text;
  } else if (const Value* log = health->Find("log")) {
    probe.kind = Probe::Kind::kLog;
    probe.target = log->text;
  } else {
    probe.port = port_named(health->Text("port"));
    if (probe.port != 0) probe.kind = Probe::Kind::kTcp;
  }
  probe.every = ReadDuration(*health, "every", probe.every);
  probe.timeout = ReadDuration(*health, "timeout", std::min<Duration>(probe.every, 1s));
  probe.fail_after = static_cast<int>(health->Integer("fail_after", probe.fail_after));
  probe.tls = health->Bool("tls", false);
  probe.kill_when_hung = health->Bool("kill", true);
  if (const std::string status = health->Text("status"); !status.empty()) {
    probe.status_min = std::atoi(status.c_str());
    const size_t dash = status.find('-');
    probe.status_max = dash == std::string::npos ? probe.status_min : std::atoi(status.c_str() + dash + 1);
  }
  return probe;
}

Shape LimitsShape() {
  Shape cpus = Make(Shape::Type::kText, "How many processors, such as 0.5");
  return Object({{"memory", Make(Shape::Type::kSize, "More than this and the kernel kills it")},
                 {"cpus", cpus},
                 {"open_files", Integer(16, 1 << 20, "Descriptors it may have open")}},
                "What it may use of its host");
}

Limits ReadLimits(const Value* limits) {
  Limits read;
  if (!limits) return read;
  if (const auto memory = ParseSize(limits->Text("memory")); memory.ok()) read.memory_bytes = *memory;
  read.cpus = std::atof(limits->Text("cpus").c_str());
  read.open_files = limits->Integer("open_files", 0);
  return read;
}

Shape StopShape() {
  return Object(
      {{"signal", Words({"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"}, "What asks it to end")},
       {"timeout", Make(Shape::Type::kDuration, "How long it may take before it is killed")}},
      "How it is stopped");
}

void ReadStop(const Value* stop, Instance& instance) {
  if (!stop) return;
  static const std::map<std::string, int> signals{{"TERM", SIGTERM}, {"INT", SIGINT},   {"QUIT", SIGQUIT},
                                                  {"HUP", SIGHUP},   {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
                                                  {"KILL", SIGKILL}};
  if (const auto found = signals.find(stop->Text("signal")); found != signals.end()) {
    instance.stop_signal = found->second;
  }
  instance.stop_timeout = ReadDuration(*stop, "timeout", instance.stop_timeout);
}

Shape RestartShape() {
  return Object({{"first", Make(Shape::Type::kDuration, "Time before the first restart; doubles with each")},
                 {"most", Make(Shape::Type::kDuration, "The longest time between two restarts")},
                 {"healthy_after", Make(Shape::Type::kDuration, "Up for so long: crashes are counted anew")},
                 {"crashes", Integer(1, 1000, "So many crashes in a row: it is given up")}},
                "When it is started again after a crash");
}

RestartPolicy ReadRestart(const Value* restart) {
  RestartPolicy policy;
  if (!restart) return policy;
  policy.backoff_first = ReadDuration(*restart, "first", policy.backoff_first);
  policy.backoff_most = ReadDuration(*restart, "most", policy.backoff_most);
  policy.healthy_after = ReadDuration(*restart, "healthy_after", policy.healthy_after);
  policy.crashes_most = static_cast<int>(restart->Integer("crashes", policy.crashes_most));
  return policy;
}

Shape LogShape() {
  return Object({{"rotate", Make(Shape::Type::kSize, "The size at which a log is rotated")},
                 {"keep", Integer(0, 1000, "How many rotated logs are kept")}},
                "Its log");
}

LogPolicy ReadLog(const Value* log) {
  LogPolicy policy;
  if (!log) return policy;
  if (const auto rotate = ParseSize(log->Text("rotate")); rotate.ok()) policy.rotate_bytes = *rotate;
  policy.keep = static_cast<int>(log->Integer("keep", policy.keep));
  return policy;
}

}  // namespace muster::common
