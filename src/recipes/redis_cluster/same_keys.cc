#include "recipes/redis_cluster/same_keys.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace muster::redis_cluster {
namespace {

using net::resp::Command;
using net::resp::Value;

constexpr Duration kOtherWithin = 5s;
constexpr int64_t kOnTheWayMs = 1000;
constexpr size_t kQuestions = 3;  // DUMP, PTTL, TYPE

std::vector<Command> Questions(const std::vector<std::string>& keys) {
  std::vector<Command> commands;
  for (const std::string& key : keys) {
    for (const char* question : {"DUMP", "PTTL", "TYPE"}) commands.push_back({question, key});
  }
  return commands;
}

// What reads all of it, if there is such a command.
std::optional<Command> Reads(std::string_view type, const std::string& key) {
  if (type == "string") return Command{"GET", key};
  if (type == "hash") return Command{"HGETALL", key};
  if (type == "set") return Command{"SMEMBERS", key};
  if (type == "zset") return Command{"ZRANGE", key, "0", "-1", "WITHSCORES"};
  if (type == "list") return Command{"LRANGE", key, "0", "-1"};
  return std::nullopt;
}

// In an order that doesn't depend on who was asked.
std::vector<std::pair<std::string_view, std::string_view>> Contents(std::string_view type,
                                                                    const Value& value) {
  std::vector<std::pair<std::string_view, std::string_view>> contents;
  if (type == "string") contents.emplace_back(value.text, "");
  const bool pairs = type == "hash";
  const size_t step = pairs ? 2 : 1;
  for (size_t i = 0; i + step <= value.items.size(); i += step) {
    contents.emplace_back(value.items[i].text,
                          pairs ? std::string_view(value.items[i + 1].text) : std::string_view());
  }
  if (pairs || type == "set") std::sort(contents.begin(), contents.end());
  return contents;
}

bool LiveAsLong(const Value& one, const Value& other, int64_t most_apart_ms) {
  const int64_t a = one.AsInteger().value_or(-1), b = other.AsInteger().value_or(-1);
  if (a < 0 || b < 0) return a < 0 && b < 0;
  return std::max(a, b) - std::min(a, b) <= most_apart_ms;
}

// Asks `node`, and `other` in ASKING's one command of grace each; the answers beside the commands.
net::Task<Result<std::array<std::vector<Value>, 2>>> AskBoth(Node& node, net::RespClient& other,
                                                             std::vector<Command> commands) {
  std::vector<Command> there;
  for (const Command& command : commands) {
    there.push_back({"ASKING"});
    there.push_back(command);
  }
  std::array<std::vector<Value>, 2> both;
  MUSTER_CO_TRY(both[0], co_await node.AskAll(std::move(commands)));
  MUSTER_CO_TRY(std::vector<Value> answers, co_await other.Pipeline(std::move(there), kOtherWithin));
  for (size_t i = 1; i < answers.size(); i += 2) both[1].push_back(std::move(answers[i]));
  for (const std::vector<Value>& answers_of_one : both) {
    for (const Value& answer : answers_of_one) {
      if (answer.is_error()) co_return node.Refused(answer, "comparing keys");
    }
  }
  co_return both;
}

}  // namespace

net::Task<Result<std::vector<Same>>> CompareKeys(Node& node, net::RespClient& other,
                                                 std::vector<std::string> keys) {
  const Time began = Now();
  std::vector<Command> questions = Questions(keys);
  MUSTER_CO_TRY(const auto both, co_await AskBoth(node, other, std::move(questions)));
  const auto& [here, there] = both;
  const int64_t apart_ms = kOnTheWayMs + (Now() - began).count();
  std::vector<Same> same(keys.size(), Same::kNo);
  std::vector<size_t> open;  // of `keys`: their DUMPs differ, which needn't mean anything
  std::vector<Command> reads;
  for (size_t i = 0; i < keys.size(); ++i) {
    const size_t at = i * kQuestions;
    if (here[at].is_null() || there[at].is_null()) {
      same[i] = Same::kGone;
    } else if (LiveAsLong(here[at + 1], there[at + 1], apart_ms)) {
      if (here[at].text == there[at].text) {
        same[i] = Same::kYes;
      } else if (auto read = Reads(here[at + 2].text, keys[i]);
                 read && here[at + 2].text == there[at + 2].text) {
        open.push_back(i);
        reads.push_back(std::move(*read));
      }
    }
  }
  if (open.empty()) co_return same;
  MUSTER_CO_TRY(const auto contents, co_await AskBoth(node, other, std::move(reads)));
  for (size_t i = 0; i < open.size(); ++i) {
    const std::string& type = here[open[i] * kQuestions + 2].text;
    if (Contents(type, contents[0][i]) == Contents(type, contents[1][i])) same[open[i]] = Same::kYes;
  }
  co_return same;
}

}  // namespace muster::redis_cluster
