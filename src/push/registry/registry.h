// Who is where: the users and rooms of one loop's sockets. For the loop's thread. Nothing here fails, and
// nothing is sent from here; a node asks each of its loops.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace muster::push {

struct Room;
struct User;

// What can be in rooms and belong to a user derives from this. It must leave before it goes (LeaveAll), and
// must not move.
struct Member {
  Member() = default;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  struct Place {
    Room* room;
    uint32_t index;  // in the room's members
  };
  std::vector<Place> rooms;
  User* user = nullptr;
  Member* next_of_user = nullptr;  // a list, as most users have one
};

struct Room {
  std::string_view key;          // such as "g:42"; the map's own
  std::vector<Member*> members;  // in no order
};

struct User {
  const std::string* id = nullptr;    // the map's own
  std::unique_ptr<std::string> name;  // where one was given
  Member* first = nullptr;            // of those of the user's clients
};

class Registry {
 public:
  // False: it was in already.
  bool Join(Member& member, std::string_view key);
  // False: it was not in. A room that is empty is gone.
  bool Leave(Member& member, std::string_view key);
  bool IsIn(const Member& member, std::string_view key) const;
  // Makes it one of a user's members; the last name counts. It must have none yet.
  User& Bind(Member& member, std::string_view user_id, std::string_view name);
  void LeaveAll(Member& member);  // rooms and user

  Room* FindRoom(std::string_view key);
  User* FindUser(std::string_view id);
  size_t rooms() const { return rooms_.size(); }
  size_t users() const { return users_.size(); }
  template <class Visit>
  void ForEachRoom(const Visit& visit) const {
    for (const auto& [key, room] : rooms_) visit(room);
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  void TakeOut(Room& room, uint32_t index);

  std::unordered_map<std::string, Room, Hash, std::equal_to<>> rooms_;
  std::unordered_map<std::string, User, Hash, std::equal_to<>> users_;
};

}  // namespace muster::push
