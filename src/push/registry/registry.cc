#include "push/registry/registry.h"

#include <algorithm>
#include <utility>

namespace muster::push {
namespace {

template <class Places>
auto FindPlace(Places& rooms, const Room* room) {
  return std::find_if(rooms.begin(), rooms.end(),
                      [&](const Member::Place& place) { return place.room == room; });
}

}  // namespace

bool Registry::Join(Member& member, std::string_view key) {
  auto found = rooms_.find(key);
  if (found == rooms_.end()) {
    found = rooms_.try_emplace(std::string(key)).first;
    found->second.key = found->first;
  }
  Room& room = found->second;
  if (FindPlace(member.rooms, &room) != member.rooms.end()) return false;
  member.rooms.push_back({&room, static_cast<uint32_t>(room.members.size())});
  room.members.push_back(&member);
  return true;
}

void Registry::TakeOut(Room& room, uint32_t index) {
  Member* last = room.members.back();
  room.members[index] = last;
  FindPlace(last->rooms, &room)->index = index;
  room.members.pop_back();
  if (room.members.empty()) {
    rooms_.erase(rooms_.find(room.key));
  } else if (room.members.capacity() > 64 && room.members.size() * 4 < room.members.capacity()) {
    room.members.shrink_to_fit();
  }
}

bool Registry::Leave(Member& member, std::string_view key) {
  const auto found = rooms_.find(key);
  if (found == rooms_.end()) return false;
  const auto place = FindPlace(member.rooms, &found->second);
  if (place == member.rooms.end()) return false;
  TakeOut(found->second, place->index);
  member.rooms.erase(place);
  return true;
}

bool Registry::IsIn(const Member& member, std::string_view key) const {
  const auto found = rooms_.find(key);
  return found != rooms_.end() && FindPlace(member.rooms, &found->second) != member.rooms.end();
}

User& Registry::Bind(Member& member, std::string_view user_id, std::string_view name) {
  auto found = users_.find(user_id);
  if (found == users_.end()) {
    found = users_.try_emplace(std::string(user_id)).first;
    found->second.id = &found->first;
  }
  User& user = found->second;
  if (!name.empty()) user.name = std::make_unique<std::string>(name);
  member.user = &user;
  member.next_of_user = user.first;
  user.first = &member;
  return user;
}

void Registry::LeaveAll(Member& member) {
  for (const Member::Place& place : member.rooms) TakeOut(*place.room, place.index);
  member.rooms.clear();
  if (member.user == nullptr) return;
  User& user = *std::exchange(member.user, nullptr);
  Member** link = &user.first;
  while (*link != &member) link = &(*link)->next_of_user;
  *link = std::exchange(member.next_of_user, nullptr);
  if (user.first == nullptr) users_.erase(users_.find(*user.id));
}

Room* Registry::FindRoom(std::string_view key) {
  const auto found = rooms_.find(key);
  return found == rooms_.end() ? nullptr : &found->second;
}

User* Registry::FindUser(std::string_view id) {
  const auto found = users_.find(id);
  return found == users_.end() ? nullptr : &found->second;
}

}  // namespace muster::push
