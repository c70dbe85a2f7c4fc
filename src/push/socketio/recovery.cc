#include "push/socketio/recovery.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "push/engineio/packet.h"
#include "push/socketio/keys.h"

namespace muster::push::socketio {
namespace {

void AppendNumber(std::string& out, uint64_t number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

// Reads a number from the front of `text`: digits only, no zero before them.
template <class Number>
bool TakeNumber(std::string_view& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || (text[0] == '0' && end != text.data() + 1)) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool TakeCharacter(std::string_view& text, char wanted) {
  if (text.empty() || text[0] != wanted) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<Offset> ParseOffset(std::string_view text, size_t shards) {
  Offset offset;
  do {
    Place place;
    if (!TakeNumber(text, place.shard) || !TakeCharacter(text, '@') || !TakeNumber(text, place.number) ||
        place.shard >= shards || place.number == 0) {
      return std::nullopt;
    }
    for (const Place& other : offset) {
      if (other.shard == place.shard) return std::nullopt;
    }
    offset.push_back(place);
  } while (TakeCharacter(text, '+'));
  if (!text.empty()) return std::nullopt;
  return offset;
}

void AppendPlace(std::string& out, const Place& place) {
  AppendNumber(out, place.shard);
  out += '@';
  AppendNumber(out, place.number);
}

std::string OffsetText(const Offset& offset) {
  std::string text;
  for (const Place& place : offset) {
    if (!text.empty()) text += '+';
    AppendPlace(text, place);
  }
  return text;
}

Found Together(std::vector<Found> found) {
  Found all;
  for (Found& each : found) {
    if (each.saved) {
      all.saved = std::move(each.saved);
      all.reached = std::move(each.reached);
    }
    all.places += each.places;
    if (all.reading.size() < each.reading.size()) all.reading.resize(each.reading.size());
    for (size_t i = 0; i < each.reading.size(); ++i) {
      all.reading[i] = std::max(all.reading[i], each.reading[i]);
    }
  }
  return all;
}

Recovery::Recovery(const RecoveryOptions& options)
    : options_(options), reached_(options.shards), dropped_(options.shards) {}

void Recovery::Keep(const Origin& origin, uint16_t name_space, std::string_view key, const FrameRef& packet,
                    Time now) {
  kept_bytes_ += packet->size + key.size() + sizeof(Kept);
  Kept& kept = kept_.Add();
  kept.origin = origin;
  kept.time = now;
  kept.name_space = name_space;
  kept.key = key;
  kept.packet = packet;
  ++next_;
  while (kept_bytes_ > options_.bytes) DropOldest();
}

void Recovery::DropOldest() {
  Kept& oldest = kept_.front();
  dropped_[oldest.origin.publisher] = oldest.origin.number;
  kept_bytes_ -= oldest.packet->size + oldest.key.size() + sizeof(Kept);
  oldest.packet = FrameRef();
  kept_.DropFront();
}

void Recovery::Trim(Time now) {
  while (!kept_.empty() && now - kept_.front().time > options_.keep) DropOldest();
  kept_.Shrink();
  std::erase_if(saved_, [&](const auto& entry) { return entry.second.until <= now; });
}

bool Recovery::Save(Saved saved) {
  if (saved_.size() >= options_.sockets) return false;
  std::string id = saved.id;
  saved_.insert_or_assign(std::move(id), std::move(saved));
  return true;
}

void Recovery::Kick(const Origin& kick, Meant meant) {
  Reach(kick);
  for (auto entry = saved_.begin(); entry != saved_.end();) {
    entry = meant(entry->second) ? saved_.erase(entry) : std::next(entry);
  }
  if (options_.shards > 1 && kick.number > 0) {
    kicks_.push_back({.kick = kick, .meant = std::move(meant), .until = {}});
  }
}

void Recovery::KickedByAll(const Origin& kick) {
  for (Remembered& each : kicks_) {
    if (each.kick.publisher == kick.publisher && each.kick.number == kick.number) each.until = last_asking_;
  }
  DropKicks();
}

uint64_t Recovery::BeginAsking() {
  asking_.insert(++last_asking_);
  return last_asking_;
}

void Recovery::EndAsking(uint64_t asking, Found& found) {
  for (const Remembered& each : kicks_) {
    if (!found.saved) break;
    if (found.reached[each.kick.publisher] >= each.kick.number) continue;
    if (each.meant(*found.saved)) found.saved.reset();
  }
  asking_.erase(asking);
  DropKicks();
}

void Recovery::DropKicks() {
  const uint64_t first = asking_.empty() ? last_asking_ + 1 : *asking_.begin();
  std::erase_if(kicks_, [first](const Remembered& each) { return each.until && *each.until < first; });
}

// What came after it is still kept, all of it.
bool Recovery::Knows(const Place& place) const {
  return place.shard == options_.shard && place.number + 1 >= first() && place.number < next_;
}

bool Recovery::KnowsAll(const Wanted& wanted) const {
  return saved_.contains(wanted.id) && std::all_of(wanted.offset.begin(), wanted.offset.end(),
                                                   [this](const Place& place) { return Knows(place); });
}

// A publication for several namespaces is kept once for each, one after the other, with one number: only the
// client's own namespace tells whether it has got it.
Reading Recovery::ReadingAt(uint64_t number, uint16_t name_space) {
  Reading reading = reached_;
  for (size_t i = kept_.size(); i > 0 && first() + i - 1 > number; --i) {
    const Kept& kept = kept_[i - 1];
    if (kept.name_space == name_space) reading[kept.origin.publisher] = kept.origin.number - 1;
  }
  return reading;
}

Found Recovery::Find(const Wanted& wanted, Time now) {
  Found found;
  const auto entry = saved_.find(wanted.id);
  if (entry != saved_.end() && entry->second.name_space == wanted.name_space && entry->second.until > now) {
    found.saved = std::move(entry->second);
    found.reached = reached_;
    saved_.erase(entry);
  }
  for (const Place& place : wanted.offset) {
    if (!Knows(place)) continue;
    ++found.places;
    found.reading = ReadingAt(place.number, wanted.name_space);
  }
  return found;
}

bool Recovery::Covers(const Reading& reading, const Reading& other) {
  return std::equal(reading.begin(), reading.end(), other.begin(), other.end(), std::greater_equal<>());
}

bool Recovery::MayReturn(const Wanted& wanted, const Found& found) const {
  return found.saved && found.places > 0 && found.places == wanted.offset.size() &&
         Covers(found.reading, dropped_);
}

std::vector<std::string> Recovery::Missed(const Wanted& wanted, const Found& found) {
  const Saved& saved = *found.saved;
  const std::string own = SocketKey(engineio::EncodeUrlSafe(saved.id));
  const std::string user = saved.user_id.empty() ? std::string() : UserKey(saved.user_id);
  const auto meant = [&](const Kept& kept) {
    if (std::memcmp(kept.origin.except.data(), saved.id.data(), kept.origin.except.size()) == 0) return false;
    return kept.key == own || (!user.empty() && kept.key == user) || IsOneOfUsers(kept.key, saved.user_id) ||
           std::find(saved.rooms.begin(), saved.rooms.end(), kept.key) != saved.rooms.end();
  };
  Offset elsewhere = wanted.offset;
  std::erase_if(elsewhere, [this](const Place& place) { return place.shard == options_.shard; });
  std::vector<std::string> packets;
  // Of what is on its way here still, none is for this client: it says nothing about the packets.
  Reading read = found.reading;
  for (size_t i = 0; i < read.size(); ++i) read[i] = std::min(read[i], reached_[i]);
  // Backwards, as the way ends where nothing before can be unread. `here` is what the place alone would tell.
  Reading here = reached_;
  for (size_t i = kept_.size(); i > 0 && !Covers(read, here); --i) {
    const Kept& kept = kept_[i - 1];
    if (kept.name_space != wanted.name_space) continue;
    if (kept.origin.number > read[kept.origin.publisher] && meant(kept)) {
      std::string packet(kept.packet->payload());
      if (!Covers(here, read)) {
        std::string more;
        for (const Place& place : elsewhere) AppendPlace(more += '+', place);
        packet.insert(packet.size() - 2, more);  // before the quote and the bracket
      }
      packets.push_back(std::move(packet));
    }
    here[kept.origin.publisher] = kept.origin.number - 1;
  }
  std::reverse(packets.begin(), packets.end());
  return packets;
}

}  // namespace muster::push::socketio
