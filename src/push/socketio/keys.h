// Whom something is for, as a text: the keys of rooms in the registry, and of receivers in what is kept.
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::push::socketio {

std::string GroupKey(std::string_view group);
std::string RoomKey(uint16_t name_space, std::string_view room);
std::string UserKey(std::string_view user);
std::string EverybodyKey(uint16_t name_space);
std::string SocketKey(std::string_view id);
// Several users, whose ids have zero bytes between them, as one receiver; and whether a key is such a one and
// means this user.
void AppendUsersKey(std::string& out, std::string_view users);
bool IsOneOfUsers(std::string_view key, std::string_view user);
// The same at the end of `out`.
void AppendGroupKey(std::string& out, std::string_view group);
void AppendRoomKey(std::string& out, uint16_t name_space, std::string_view room);
void AppendUserKey(std::string& out, std::string_view user);
void AppendEverybodyKey(std::string& out, uint16_t name_space);
void AppendSocketKey(std::string& out, std::string_view id);

}  // namespace muster::push::socketio
