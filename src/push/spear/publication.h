// Events on their way to whom they are for, on all shards of a node. Nothing here fails.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "push/socketio/recovery.h"

namespace muster::push {

// Whom something is for.
struct Target {
  enum class Kind : uint8_t { kUser, kUsers, kGroup, kRoom, kEverybody, kSocket };
  Kind kind = Kind::kUser;
  std::string id;           // of kUsers all of theirs, with zero bytes between
  std::string device;       // kUser and kUsers only; empty: all of them
  uint16_t name_space = 0;  // kRoom and kEverybody
};

// An event on its way to all shards, each of which encodes it once.
struct Publication {
  Target target;
  std::string event;
  std::string arguments;                 // JSON values with commas between
  std::vector<std::string> attachments;  // binary
  bool droppable = false;
  bool for_strangers = false;  // also for who has still to authenticate, where that is required
};

// A kick of one who is away and meant: whether it can't come back any more. Put out of a group it can,
// without it.
bool KickAway(const Target& target, const std::string& group, socketio::Saved& saved);

// What it holds of memory, about.
size_t BytesOfPublication(const Publication& publication);

// JSON in which each place of an attachment ({"_placeholder":true,"num":N}) is {"base64":"…"} with its bytes.
// A place of one that there is not stays.
std::string WithAttachments(std::string_view json, const std::vector<std::string>& attachments);

// The way back: each {"base64":"…"} becomes the place of an attachment, whose bytes go behind `attachments`.
// nullopt: one of them is no base64, or there are more than `most`.
std::optional<std::string> TakeAttachments(std::string_view json, std::vector<std::string>& attachments,
                                           size_t most);

// A publication in the mailboxes of other shards. Each of them reads it, and then takes one from `unread`.
struct Parcel {
  Publication publication;
  socketio::Origin origin;
  std::atomic<size_t> unread{0};
};

// The parcels of one shard, used again with the memory of their texts once all others have read them. For the
// shard's thread.
class Parcels {
 public:
  static constexpr size_t kMost = 1024;       // kept of them
  static constexpr size_t kBytesMost = 4096;  // of texts in one that is kept

  std::shared_ptr<Parcel> Fill(const Publication& publication, size_t readers,
                               const socketio::Origin& origin = {});
  size_t size() const { return parcels_.size(); }

 private:
  std::vector<std::shared_ptr<Parcel>> parcels_;  // a ring: what was filled longest ago is at `next_`
  size_t next_ = 0;
};

}  // namespace muster::push
