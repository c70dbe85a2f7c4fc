#include "push/spear/publication.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "push/engineio/packet.h"
#include "push/socketio/json.h"
#include "push/socketio/keys.h"

namespace muster::push {
namespace {

// The attachment whose place this object is; nullptr: it is no such place.
const std::string* AttachmentOf(std::string_view object, const std::vector<std::string>& attachments) {
  const auto placeholder = json::Member(object, "_placeholder");
  const auto number = json::Member(object, "num");
  if (!placeholder || !json::IsTrue(*placeholder) || !number) return nullptr;
  const int64_t index = json::ReadInteger(*number).value_or(-1);
  if (index < 0 || static_cast<size_t>(index) >= attachments.size()) return nullptr;
  return &attachments[static_cast<size_t>(index)];
}

// The size and the text of the object that `json` begins with, if it is {"base64":"…"} and nothing else.
std::optional<std::pair<size_t, std::string>> LoneBase64(std::string_view json) {
  constexpr std::string_view kName = "\"base64\"";
  constexpr std::string_view kBlanks = " \t\r\n";
  size_t at = json.find_first_not_of(kBlanks, 1);
  if (at == std::string_view::npos || json.substr(at, kName.size()) != kName) return std::nullopt;
  at = json.find_first_not_of(kBlanks, at + kName.size());
  if (at == std::string_view::npos || json[at] != ':') return std::nullopt;
  at = json.find_first_not_of(kBlanks, at + 1);
  if (at == std::string_view::npos || json[at] != '"') return std::nullopt;
  const size_t size = json::ValueLength(json.substr(at));
  if (size == std::string_view::npos) return std::nullopt;
  auto text = json::ReadString(json.substr(at, size));
  const size_t end = json.find_first_not_of(kBlanks, at + size);
  if (!text || end == std::string_view::npos || json[end] != '}') return std::nullopt;
  return std::pair(end + 1, std::move(*text));
}

}  // namespace

bool KickAway(const Target& target, const std::string& group, socketio::Saved& saved) {
  const auto knows = [&saved](const std::string& key) {
    return std::find(saved.rooms.begin(), saved.rooms.end(), key) != saved.rooms.end();
  };
  bool meant = false;
  switch (target.kind) {
    case Target::Kind::kUser:
      meant = saved.user_id == target.id && (target.device.empty() || saved.device == target.device);
      break;
    case Target::Kind::kUsers:
      break;  // nobody asks for it
    case Target::Kind::kGroup:
      meant = knows(socketio::GroupKey(target.id));
      break;
    case Target::Kind::kRoom:
      meant = knows(socketio::RoomKey(target.name_space, target.id));
      break;
    case Target::Kind::kEverybody:
      meant = saved.name_space == target.name_space;
      break;
    case Target::Kind::kSocket:
      meant = engineio::EncodeUrlSafe(saved.id) == target.id;
      break;
  }
  if (meant && !group.empty()) std::erase(saved.rooms, socketio::GroupKey(group));
  return meant && group.empty();
}

std::string WithAttachments(std::string_view json, const std::vector<std::string>& attachments) {
  if (attachments.empty()) return std::string(json);
  std::string text;
  while (!json.empty()) {
    size_t size = 1;
    if (json[0] == '"') {
      size = json::ValueLength(json);  // whatever stands in a string is no place
      if (size == std::string_view::npos) size = json.size();
    } else if (json[0] == '{') {
      const size_t whole = json::ValueLength(json);
      const std::string* bytes =
          whole == std::string_view::npos ? nullptr : AttachmentOf(json.substr(0, whole), attachments);
      if (bytes != nullptr) {
        text += R"({"base64":")" + EncodeBase64(*bytes) + R"("})";
        json.remove_prefix(whole);
        continue;
      }
    }
    text += json.substr(0, size);
    json.remove_prefix(size);
  }
  return text;
}

std::optional<std::string> TakeAttachments(std::string_view json, std::vector<std::string>& attachments,
                                           size_t most) {
  std::string text;
  while (!json.empty()) {
    size_t size = 1;
    if (json[0] == '"') {
      size = std::min(json::ValueLength(json), json.size());
    } else if (json[0] == '{') {
      if (const auto object = LoneBase64(json)) {
        auto bytes = DecodeBase64(object->second);
        if (!bytes || attachments.size() >= most) return std::nullopt;
        text += R"({"_placeholder":true,"num":)" + std::to_string(attachments.size()) + "}";
        attachments.push_back(std::move(*bytes));
        json.remove_prefix(object->first);
        continue;
      }
    }
    text += json.substr(0, size);
    json.remove_prefix(size);
  }
  return text;
}

size_t BytesOfPublication(const Publication& publication) {
  size_t bytes = sizeof publication + publication.arguments.size() + publication.event.size() +
                 publication.target.id.size();
  for (const std::string& attachment : publication.attachments) bytes += attachment.size();
  return bytes;
}

std::shared_ptr<Parcel> Parcels::Fill(const Publication& publication, size_t readers,
                                      const socketio::Origin& origin) {
  const size_t bytes = publication.arguments.size() + publication.event.size() + publication.target.id.size();
  const bool large = bytes > kBytesMost || !publication.attachments.empty();
  const bool free = !parcels_.empty() && parcels_[next_]->unread.load(std::memory_order_acquire) == 0;
  if (large || (!free && parcels_.size() == kMost)) {
    auto parcel = std::make_shared<Parcel>();
    parcel->publication = publication;
    parcel->origin = origin;
    parcel->unread = readers;
    return parcel;
  }
  if (!free) {
    parcels_.insert(parcels_.begin() + static_cast<std::ptrdiff_t>(next_), std::make_shared<Parcel>());
  }
  const std::shared_ptr<Parcel>& parcel = parcels_[next_];
  next_ = (next_ + 1) % parcels_.size();
  parcel->publication = publication;
  parcel->origin = origin;
  parcel->unread.store(readers, std::memory_order_relaxed);  // the mailbox's lock comes after it
  return parcel;
}

}  // namespace muster::push
