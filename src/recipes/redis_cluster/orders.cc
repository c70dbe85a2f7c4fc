#include "recipes/redis_cluster/orders.h"

#include <algorithm>

namespace muster::redis_cluster::mending {
namespace {

constexpr int kDoublings = 3;
constexpr Duration kForgotten = 60s;  // what was sent so long ago is sent as if it were the first time

}  // namespace

bool Orders::Give(const Member& to, const std::string& verb, std::map<std::string, std::string> args,
                  std::string reason, Sending sending) {
  if (Taken(to)) return false;
  std::string what = verb;
  for (const auto& [name, value] : args) what += " " + name + "=" + value;
  auto& sent = memory_.sent[to.name];
  std::erase_if(sent, [&](const auto& old) { return situation_.now - old.second.at > kForgotten; });
  Memory::Sent& last = sent[what];
  if (last.times > 0) {
    const Duration pause = sending.pause * (1 << std::min(last.times - 1, kDoublings));
    const Duration gone = situation_.now - last.at;
    if (gone < pause) {
      Again(pause - gone);
      return false;
    }
  }
  last.at = situation_.now;
  ++last.times;
  taken_.insert(to.name);
  mending_.orders.push_back({.instance = to.name,
                             .verb = verb,
                             .args = std::move(args),
                             .reason = std::move(reason),
                             .deadline = sending.deadline,
                             .notable = sending.notable});
  memory_.under_way[to.name] = mending_.orders.back();
  return true;
}

void Orders::Trouble(std::string why) {
  if (std::find(troubles_.begin(), troubles_.end(), why) == troubles_.end())
    troubles_.push_back(std::move(why));
}

void Orders::Again(Duration pause) {
  if (mending_.again == 0ms || pause < mending_.again) mending_.again = pause;
}

bool Orders::Imports(const std::string& from, const std::string& to) const {
  return std::any_of(memory_.under_way.begin(), memory_.under_way.end(), [&](const auto& sent) {
    if (sent.second.verb != "import") return false;
    return sent.second.args.at("from") == from || sent.first == to;
  });
}

Duration Orders::Since(const std::string& what) {
  seen_.insert(what);
  return situation_.now - memory_.since.try_emplace(what, situation_.now).first->second;
}

Mending Orders::Take() {
  std::erase_if(memory_.since, [&](const auto& odd) { return !seen_.contains(odd.first); });
  return std::move(mending_);
}

}  // namespace muster::redis_cluster::mending
