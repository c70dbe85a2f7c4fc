// What `muster ps` prints.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/answer.h"
#include "cli/table.h"
#include "cli/views.h"

namespace muster::cli {
namespace {

using Json = nlohmann::json;

Color StateColor(const std::string& state) {
  if (state == "ready") return Color::kGreen;
  if (state == "failed" || state == "unhealthy") return Color::kRed;
  if (state == "stopped" || state == "absent") return Color::kDim;
  return Color::kYellow;
}

// What a narrow terminal goes without, in this order: what says least first. All of it stands in the JSON.
// Names, states, hosts and ports are shown everywhere.
enum class Saving { kOffset, kWords, kIdleRestarts, kPid, kFor, kNotBehind, kMemory, kRestarts };
constexpr std::array kSavings = {Saving::kOffset, Saving::kWords,     Saving::kIdleRestarts,
                                 Saving::kPid,    Saving::kNotBehind, Saving::kFor,
                                 Saving::kMemory, Saving::kRestarts};
using Savings = std::set<Saving>;

constexpr size_t kPortsLeast = 20;  // columns: where there are more ports they go on below

// Not where it follows from another, as Redis has the bus of a cluster: that says nothing new to anybody.
bool IsDerived(const Json& ports, const std::string& name) {
  constexpr int64_t kBusOffset = 10'000;
  return name == "bus" && ports.contains("port") &&
         Number(ports, "bus") == Number(ports, "port") + kBusOffset;
}

// `brief`: of one that is called nothing but "port" its number.
std::string Ports(const Json& instance, bool brief) {
  const Json& ports = Object(instance, "ports");
  std::vector<std::string> texts;
  for (const auto& [name, port] : ports.items()) {
    if (IsDerived(ports, name)) continue;
    const int64_t first = port.is_number() ? port.get<int64_t>() : Number(port, "first");
    const int64_t count = port.is_number() ? Number(Object(instance, "port_counts"), name.c_str(), 1)
                                           : Number(port, "count", 1);
    const std::string numbers =
        count > 1 ? fmt::format("{}-{}", first, first + count - 1) : std::to_string(first);
    texts.push_back(brief && name == "port" ? numbers : name + "=" + numbers);
  }
  return Join(texts, " ");
}

// "killed as hung" of "killed as hung: no answer from redis at …": what stood in the log then.
std::string Short(const std::string& last_exit) { return last_exit.substr(0, last_exit.find(": ")); }

// One that isn't behind is as it should be.
std::string ShortRole(std::string role) {
  constexpr std::string_view kNotBehind = ", 0 B behind";
  if (role.ends_with(kNotBehind)) role.resize(role.size() - kNotBehind.size());
  return role;
}

std::string StateText(const Json& instance, bool brief) {
  const std::string state = Text(instance, "state");
  const std::string last_exit = Text(instance, "last_exit");
  std::string shown = state;
  if (Flag(instance, "held")) shown += " (by hand)";
  if ((state == "backoff" || state == "failed") && !last_exit.empty()) {
    shown += " (" + (brief ? Short(last_exit) : last_exit) + ")";
  }
  return shown;
}

std::string RestartsText(const Json& instance, bool brief) {
  const std::string last_exit = Text(instance, "last_exit");
  const int64_t restarts = Number(instance, "restarts");
  std::string shown = std::to_string(restarts);
  if (Text(instance, "state") == "ready" && restarts != 0 && !last_exit.empty()) {
    shown += " (" + (brief ? Short(last_exit) : last_exit) + ")";
  }
  return shown;
}

std::string Offset(const Json& instance) { return Text(Object(instance, "facts"), "offset"); }

std::string OrDash(std::string text) { return text.empty() ? "-" : text; }

struct Column {
  std::string head;
  std::vector<Cell> cells;
};

std::vector<Column> ColumnsOf(const Json& instances, const View& view, const Savings& savings) {
  const bool brief = savings.contains(Saving::kWords);
  const auto any = [&](const auto& has) { return std::any_of(instances.begin(), instances.end(), has); };
  std::vector<Column> columns;
  const auto add = [&](const char* head, const auto& cell_of) {
    Column column{head, {}};
    for (const Json& instance : instances) column.cells.push_back(cell_of(instance));
    columns.push_back(std::move(column));
  };
  add("NAME", [](const Json& one) { return Cell{Text(one, "name")}; });
  add("STATE", [&](const Json& one) { return Cell{StateText(one, brief), StateColor(Text(one, "state"))}; });
  if (any([](const Json& one) { return !Text(one, "role").empty(); })) {
    const bool short_roles = savings.contains(Saving::kNotBehind);
    add("ROLE", [&](const Json& one) {
      return Cell{OrDash(short_roles ? ShortRole(Text(one, "role")) : Text(one, "role"))};
    });
  }
  add("HOST", [](const Json& one) { return Cell{Text(one, "host")}; });
  if (!savings.contains(Saving::kPid)) {
    add("PID", [](const Json& one) {
      return Cell{Number(one, "pid") > 0 ? std::to_string(Number(one, "pid")) : "-"};
    });
  }
  if (!savings.contains(Saving::kFor)) {
    add("FOR", [&](const Json& one) {
      const WallTime since{Duration(Number(one, "since"))};
      return Cell{since.time_since_epoch().count() > 0 ? ShortDuration(view.now - since) : "-"};
    });
  }
  const bool restarted = any([](const Json& one) { return Number(one, "restarts") != 0; });
  if (!savings.contains(Saving::kRestarts) && (restarted || !savings.contains(Saving::kIdleRestarts))) {
    add("RESTARTS", [&](const Json& one) { return Cell{RestartsText(one, brief)}; });
  }
  if (!savings.contains(Saving::kMemory)) {
    add("MEMORY", [](const Json& one) {
      const int64_t memory = Number(one, "memory_bytes");
      return Cell{memory > 0 ? ShortSize(memory) : "-"};
    });
  }
  if (!savings.contains(Saving::kOffset) && any([](const Json& one) { return !Offset(one).empty(); })) {
    add("OFFSET", [](const Json& one) { return Cell{OrDash(Offset(one))}; });
  }
  add("PORTS", [&](const Json& one) { return Cell{Ports(one, brief)}; });
  return columns;
}

// Columns that the terminal needs, where the last may go on below once it has `last_least` of them.
size_t WidthOf(const std::vector<Column>& columns, size_t last_least) {
  size_t width = 0;
  for (const Column& column : columns) {
    size_t widest = Width(column.head);
    for (const Cell& cell : column.cells) widest = std::max(widest, Width(cell.text));
    const bool last = &column == &columns.back();
    width += last ? std::min(widest, last_least) : widest + 2;
  }
  return width;
}

}  // namespace

std::string InstancesText(const Json& answer, const View& view) {
  const Json& instances = List(answer, "instances");
  if (instances.empty()) return "no instance\n";
  Savings savings;
  std::vector<Column> columns = ColumnsOf(instances, view, savings);
  for (const Saving saving : kSavings) {
    if (view.columns == 0 || WidthOf(columns, kPortsLeast) <= view.columns) break;
    savings.insert(saving);
    columns = ColumnsOf(instances, view, savings);
  }
  std::vector<std::string> heads;
  for (const Column& column : columns) heads.push_back(column.head);
  Table table(std::move(heads));
  for (size_t row = 0; row < instances.size(); ++row) {
    std::vector<Cell> cells;
    for (const Column& column : columns) cells.push_back(column.cells[row]);
    table.Add(std::move(cells));
  }
  return table.WrappedText(view.color, view.columns);
}

}  // namespace muster::cli
