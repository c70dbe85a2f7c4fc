// How many clients each user has in each group of a node, so that others are told of the first and of the
// last only. Any thread; nothing here fails.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace muster::push {

class PresenceTable {
 public:
  // True: it is the first.
  bool Enter(std::string_view group, std::string_view user) {
    const std::lock_guard lock(mutex_);
    return ++counts_[Key(group, user)] == 1;
  }
  // True: it was the last.
  bool Leave(std::string_view group, std::string_view user) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(Key(group, user));
    if (found == counts_.end() || --found->second > 0) return false;
    counts_.erase(found);
    return true;
  }

 private:
  static std::string Key(std::string_view group, std::string_view user) {
    std::string key(group);
    key += '\0';
    key += user;
    return key;
  }
  std::mutex mutex_;
  std::unordered_map<std::string, int> counts_;
};

}  // namespace muster::push
