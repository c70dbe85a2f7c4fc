#include "push/socketio/keys.h"

namespace muster::push::socketio {

void AppendGroupKey(std::string& out, std::string_view group) { (out += "g:") += group; }
void AppendUserKey(std::string& out, std::string_view user) { (out += "u:") += user; }
void AppendSocketKey(std::string& out, std::string_view id) { (out += "s:") += id; }
void AppendEverybodyKey(std::string& out, uint16_t name_space) {
  (out += "*:") += std::to_string(name_space);
}
void AppendRoomKey(std::string& out, uint16_t name_space, std::string_view room) {
  ((out += "r:") += std::to_string(name_space)) += ':';
  out += room;
}

void AppendUsersKey(std::string& out, std::string_view users) {
  out += "m:";
  out += '\0';
  out += users;
  out += '\0';
}

bool IsOneOfUsers(std::string_view key, std::string_view user) {
  if (user.empty() || key.substr(0, 2) != "m:") return false;
  for (size_t at = key.find(user, 3); at != std::string_view::npos; at = key.find(user, at + 1)) {
    if (key[at - 1] == '\0' && key[at + user.size()] == '\0') return true;  // it ends in one
  }
  return false;
}

namespace {
template <class... Parts>
std::string KeyBy(void (*append)(std::string&, Parts...), Parts... parts) {
  std::string key;
  append(key, parts...);
  return key;
}
}  // namespace

std::string GroupKey(std::string_view group) { return KeyBy(AppendGroupKey, group); }
std::string UserKey(std::string_view user) { return KeyBy(AppendUserKey, user); }
std::string SocketKey(std::string_view id) { return KeyBy(AppendSocketKey, id); }
std::string EverybodyKey(uint16_t name_space) { return KeyBy(AppendEverybodyKey, name_space); }
std::string RoomKey(uint16_t name_space, std::string_view room) {
  return KeyBy(AppendRoomKey, name_space, room);
}

}  // namespace muster::push::socketio
