// Shapes that many recipes have in their settings, and readers of the values. The shape has been checked
// before a reader is called; a reader of an absent value (nullptr) gives its default. Pure.
#pragma once

#include <map>
#include <string>

#include "model/instance.h"
#include "model/shape.h"
#include "model/value.h"

namespace muster::common {

Shape Make(Shape::Type type, std::string help = "");
Shape SecretFile(std::string help = "");  // kFile whose content is never shown
Shape Templated(std::string help);        // kText in which {{variables}} may stand
Shape ListOf(Shape element, std::string help = "", bool or_single = true);
Shape MapOf(Shape element, std::string help = "", std::string key_pattern = "");
Shape Object(std::vector<Shape::Field> fields, std::string help = "");
Shape Words(std::vector<std::string> words, std::string help = "");
Shape Integer(int64_t minimum, int64_t maximum, std::string help = "");
Shape Either(std::vector<Shape> choices, std::string help = "");

// `health: { http: /path | tcp: PORT | command: … | log: REGEX, port, every, timeout, fail_after, status,
// kill }`.
Shape HealthShape();
// `ports` names what `http:`/`port:` may refer to; without a name the port called http, else the first.
Probe ReadHealth(const Value* health, const std::map<std::string, PortRange>& ports);

Shape LimitsShape();  // { memory: 64m, cpus: 0.5, open_files: 1000 }
Limits ReadLimits(const Value* limits);

Shape StopShape();  // { signal: TERM, timeout: 10s }
void ReadStop(const Value* stop, Instance& instance);

Shape RestartShape();  // { first: 200ms, most: 30s, healthy_after: 10s, crashes: 5 }
RestartPolicy ReadRestart(const Value* restart);

Shape LogShape();  // { rotate: 16m, keep: 5 }
LogPolicy ReadLog(const Value* log);

// "8101", "8100-8110", "8200-8210/udp".
PortRange ReadPorts(const std::string& text);

// The port that is meant where none is named: "http", else the first by name; "" where there is none.
std::string MainPort(const std::map<std::string, PortRange>& ports);

}  // namespace muster::common
