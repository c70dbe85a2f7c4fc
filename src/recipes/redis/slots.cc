#include "recipes/redis/slots.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "recipes/redis/words.h"

namespace muster::redis {
namespace {

constexpr std::array<uint16_t, 256> Crc16Table() {
  std::array<uint16_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    table[byte] = static_cast<uint16_t>(crc);
  }
  return table;
}

uint16_t Crc16(std::string_view bytes) {
  static constexpr std::array<uint16_t, 256> kTable = Crc16Table();
  uint16_t crc = 0;
  for (const char byte : bytes) {
    crc = static_cast<uint16_t>(crc << 8) ^ kTable[(crc >> 8 ^ static_cast<unsigned char>(byte)) & 0xff];
  }
  return crc;
}

std::optional<int> ParseSlot(std::string_view text) {
  const auto slot = ParseNumber<int>(text);
  if (!slot || *slot < 0 || *slot >= kSlots) return std::nullopt;
  return slot;
}

}  // namespace

SlotSet SlotSet::Range(int first, int last) {
  SlotSet slots;
  slots.AddRange(first, last);
  return slots;
}

Result<SlotSet> SlotSet::Parse(std::string_view text) {
  SlotSet slots;
  for (const std::string_view word : Words(text, ", ")) {
    const size_t dash = word.find('-');
    const auto first = ParseSlot(word.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ParseSlot(word.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return Error::Invalid("bad-answer", "\"{}\" are no slots of redis", word.substr(0, 40));
    }
    slots.AddRange(*first, *last);
  }
  return slots;
}

void SlotSet::AddRange(int first, int last) {
  for (int slot = std::max(first, 0); slot <= std::min(last, kSlots - 1); ++slot) {
    words_[static_cast<size_t>(slot) / 64] |= uint64_t{1} << (slot % 64);
  }
}

void SlotSet::Remove(int slot) {
  if (Has(slot)) words_[static_cast<size_t>(slot) / 64] &= ~(uint64_t{1} << (slot % 64));
}

int SlotSet::count() const {
  int count = 0;
  for (const uint64_t word : words_) count += std::popcount(word);
  return count;
}

// By words of 64: sets are made, compared and read again and again, all 16384 slots of them.
int SlotSet::Next(int from, bool belongs) const {
  for (int slot = from; slot < kSlots; slot = (slot / 64 + 1) * 64) {
    const uint64_t word = words_[static_cast<size_t>(slot) / 64];
    const uint64_t rest = (belongs ? word : ~word) >> (slot % 64);
    if (rest != 0) return slot + std::countr_zero(rest);
  }
  return kSlots;
}

SlotSet SlotSet::First(int number) const {
  SlotSet first;
  for (int slot = Next(0, true); slot < kSlots && number > 0; slot = Next(slot + 1, true), --number) {
    first.Add(slot);
  }
  return first;
}

std::vector<std::pair<int, int>> SlotSet::Ranges() const {
  std::vector<std::pair<int, int>> ranges;
  for (int first = Next(0, true); first < kSlots;) {
    const int end = Next(first, false);
    ranges.emplace_back(first, end - 1);
    first = Next(end, true);
  }
  return ranges;
}

std::vector<int> SlotSet::List() const {
  std::vector<int> list;
  for (const auto& [first, last] : Ranges()) {
    for (int slot = first; slot <= last; ++slot) list.push_back(slot);
  }
  return list;
}

SlotSet SlotSet::operator&(const SlotSet& other) const {
  SlotSet both;
  for (size_t i = 0; i < words_.size(); ++i) both.words_[i] = words_[i] & other.words_[i];
  return both;
}

SlotSet& SlotSet::operator|=(const SlotSet& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

SlotSet& SlotSet::operator-=(const SlotSet& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
  return *this;
}

std::string SlotSet::Text() const {
  std::string text;
  for (const auto& [first, last] : Ranges()) {
    if (!text.empty()) text += ',';
    text += first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
  }
  return text;
}

std::vector<SlotSet> EvenSlots(int shards) {
  std::vector<SlotSet> slots;
  const double each = static_cast<double>(kSlots) / shards;
  int first = 0;
  for (int shard = 0; shard < shards; ++shard) {
    const int last =
        shard == shards - 1 ? kSlots - 1 : static_cast<int>(std::lround(shard * each + each - 1));
    slots.push_back(SlotSet::Range(first, last));
    first = last + 1;
  }
  return slots;
}

int KeySlot(std::string_view key) {
  const size_t open = key.find('{');
  if (open != std::string_view::npos) {
    const size_t close = key.find('}', open + 1);
    // "{}" in front means nothing: the whole key counts.
    if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  return Crc16(key) % kSlots;
}

const std::vector<std::string>& SlotTags() {
  static const std::vector<std::string> kTags = [] {
    std::vector<std::string> tags(kSlots);
    int missing = kSlots;
    for (unsigned number = 0; missing > 0; ++number) {
      std::string tag = fmt::format("{:x}", number);
      std::string& place = tags[static_cast<size_t>(KeySlot(tag))];
      if (!place.empty()) continue;
      place = std::move(tag);
      --missing;
    }
    return tags;
  }();
  return kTags;
}

std::optional<Redirect> ParseRedirect(std::string_view error) {
  const std::vector<std::string_view> words = Words(error);
  if (words.size() != 3 || (words[0] != "MOVED" && words[0] != "ASK")) return std::nullopt;
  const auto slot = ParseSlot(words[1]);
  const size_t colon = words[2].rfind(':');  // an IPv6 address has more of them, and no brackets
  if (!slot || colon == std::string_view::npos) return std::nullopt;
  const auto port = ParseNumber<int>(words[2].substr(colon + 1));
  if (!port || *port < 1 || *port > 65535) return std::nullopt;
  std::string host(words[2].substr(0, colon));
  if (host == "?") host.clear();  // a name that the node should announce and hasn't been given
  return Redirect{.ask = words[0] == "ASK", .slot = *slot, .host = std::move(host), .port = *port};
}

}  // namespace muster::redis
