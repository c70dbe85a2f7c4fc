// The 16384 slots that a Redis Cluster spreads its keys over. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace muster::redis {

constexpr int kSlots = 16384;

class SlotSet {
 public:
  SlotSet() = default;
  // Both ends belong to it, as Redis counts. Slots that there aren't are left out.
  static SlotSet Range(int first, int last);
  static SlotSet All() { return Range(0, kSlots - 1); }
  // "0-5460,5462", also with spaces; "" is the empty set. Code "bad-answer".
  static Result<SlotSet> Parse(std::string_view text);

  bool Has(int slot) const {
    return slot >= 0 && slot < kSlots && (words_[static_cast<size_t>(slot) / 64] >> (slot % 64) & 1) != 0;
  }
  void Add(int slot) { AddRange(slot, slot); }
  void AddRange(int first, int last);
  void Remove(int slot);

  int count() const;
  bool empty() const { return Next(0, true) == kSlots; }
  bool all() const { return Next(0, false) == kSlots; }
  // The lowest `number` of them, or all if there are fewer.
  SlotSet First(int number) const;
  // Ascending, both ends included: what ADDSLOTSRANGE and its like want.
  std::vector<std::pair<int, int>> Ranges() const;
  std::vector<int> List() const;
  std::string Text() const;  // "0-5460,5462"; "" for none

  SlotSet operator|(const SlotSet& other) const { return SlotSet(*this) |= other; }
  SlotSet operator&(const SlotSet& other) const;
  SlotSet operator-(const SlotSet& other) const { return SlotSet(*this) -= other; }
  SlotSet& operator|=(const SlotSet& other);
  SlotSet& operator-=(const SlotSet& other);
  bool operator==(const SlotSet&) const = default;

 private:
  // The first slot from `from` on that belongs to it, or that doesn't; kSlots: there is none.
  int Next(int from, bool belongs) const;

  std::array<uint64_t, kSlots / 64> words_{};  // the lowest bit of the first is slot 0
};

// All slots in `shards` runs, none larger than another by more than one, cut where redis-cli cuts them:
// 0-5460, 5461-10922, 10923-16383 for three. `shards` is from 1 to kSlots.
std::vector<SlotSet> EvenSlots(int shards);

// Where a key belongs: the CRC16 (XMODEM) of what stands in its first {braces}, or of all of it.
int KeySlot(std::string_view key);
// For each slot a short word that belongs there, to be put in braces. Made once (some milliseconds), kept.
const std::vector<std::string>& SlotTags();

// "MOVED 12 10.0.0.1:7001" and "ASK 12 …": where Redis says that a slot is.
struct Redirect {
  bool ask = false;  // only for this command, after ASKING
  int slot = 0;
  std::string host;  // "": the one that was asked, on another port
  int port = 0;

  bool operator==(const Redirect&) const = default;
};
// Of the text of an error; nullopt where it is another one.
std::optional<Redirect> ParseRedirect(std::string_view error);

}  // namespace muster::redis
