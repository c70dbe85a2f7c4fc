// What is kept on one shard of a node for those who lost their connection, and what each has missed when it
// comes back, to whatever shard. Decides only: opens, sends and asks nothing. For the thread of the shard's
// loop, but for offsets, which are pure. Nothing here fails: who can't come back gets a new socket.
//
// Why each message comes exactly once
//
// Every publication is the work of one shard, its publisher, which numbers it and gives it to all shards.
// What one publisher gives arrives in its order; what two give, in any. So each shard keeps all messages, in
// an order of its own, and no single number says what a client has read on any other.
//
// - An offset names the place in the order of the shard that sent the packet: "1@42". The packet is still
//   encoded once for all receivers. Who got it there has got all before it that was meant for it.
// - Who asks turns it into a reading: the last number of each publisher up to that place. Publishers' orders
//   are the same everywhere, so a reading means the same on every shard. Only the shard that the offset names
//   can say it, from what it has kept behind that place: a publisher's next number there, less one, or where
//   nothing follows the last that came.
// - The shard to which the client came sends what it has kept beyond the reading, in its own order, in the
//   same turn in which the socket joins its rooms: nothing comes between what was missed and what is new.
// - The other shard may have been ahead of this one, and what is read but isn't here yet would come again as
//   new. So all shards are asked, not only those that know something. What the client has read was under way
//   before the question, and a publisher answers only when it has given to all what it was giving: once all
//   have answered, this shard has kept all that the client has read.
// - A connection may break again among the packets that were missed. The last of them that came then tells
//   how far the client is here, but not of what it had read elsewhere, where that has a later place here. So
//   such a packet's offset names both places, "1@42+0@7": what is read is what either says. That is needed
//   only as long as what is sent lies here before something that was read. So nearly every offset names one
//   place; none names more than there are shards, and for who comes back to the same shard again and again
//   it is always the one.
// - Who hears nothing comes back with the offset that it had, which still means the same. No shard has to
//   remember for a socket what it had read when it came.
//
// Why who is kicked doesn't come back
//
// A kick is the work of one shard, too, has a number among its publications, and is carried out by all
// shards: on who is there, and on who is kept. Who is just on the way from one shard to another is neither,
// and would get through where the one that kept it was asked before the kick came there, and the one that
// asked has carried it out already.
//
// - So a shard remembers a kick, and holds it against each that it asked for and that was kept where the kick
//   hadn't been carried out yet. The numbers tell, as each answer says how far its shard is with each
//   publisher.
// - It remembers it until all shards have carried it out, which the one whose work it is tells them, and all
//   have answered what it asked before that. Who is asked for later is kept where it has been carried out.
//
// The alternative, one order of all publications of a node, would have each of them take a lock that all
// shards share, and wait on its own shard for those before it: what is paid here by who comes back would be
// paid by every message.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "push/loop/frame.h"
#include "push/socketio/ring.h"

namespace muster::push::socketio {

// A place in the order in which a shard has kept packets, counted from 1.
struct Place {
  uint8_t shard = 0;
  uint64_t number = 0;
  bool operator==(const Place&) const = default;
};
using Offset = std::vector<Place>;  // of different shards

// Nothing for what this node can't have made. The form is no version's and no price's: a client takes the
// last text of any event for an offset.
std::optional<Offset> ParseOffset(std::string_view text, size_t shards);
void AppendPlace(std::string& out, const Place& place);
std::string OffsetText(const Offset& offset);

// By publisher: the number of the last publication that is read.
using Reading = std::vector<uint64_t>;

// Where a publication comes from.
struct Origin {
  uint64_t number = 0;  // of the publisher, from 1; 0: nobody will ask for it again, and it isn't kept
  uint8_t publisher = 0;
  std::array<uint8_t, 15> except{};  // the id of a socket that isn't to get it; zeros: there is none
};

// What is kept of a socket whose connection broke.
struct Saved {
  std::string id;  // the socket's 15 bytes
  std::string user_id, user_name, device;
  std::vector<std::string> rooms;  // keys; also that of everybody
  uint16_t name_space = 0;
  Time until;
};

// What a client comes back with.
struct Wanted {
  std::string id;  // the socket's 15 bytes
  uint16_t name_space = 0;
  Offset offset;
};

// What one shard knows of it, or all together.
struct Found {
  std::optional<Saved> saved;
  Reading reached;  // where it was kept: the last of each publisher that had been dealt with
  Reading reading;
  size_t places = 0;  // of the offset, that are known
};
Found Together(std::vector<Found> found);

struct RecoveryOptions {
  uint8_t shard = 0;
  size_t shards = 1;
  Duration keep = 120s;
  size_t bytes = 64u << 20;  // of packets
  size_t sockets = 100'000;
};

class Recovery {
 public:
  explicit Recovery(const RecoveryOptions& options);

  // The offset of the packet that is kept next.
  void AppendNext(std::string& out) const { AppendPlace(out, {options_.shard, next_}); }
  // A packet of Socket.IO, whose text ends in that offset. The key says whom it is for.
  void Keep(const Origin& origin, uint16_t name_space, std::string_view key, const FrameRef& packet,
            Time now);
  // This publication has been dealt with here, kept or not.
  void Reach(const Origin& origin) {
    if (origin.number > 0) reached_[origin.publisher] = origin.number;
  }
  void Trim(Time now);

  // False: there are as many as may be.
  bool Save(Saved saved);
  size_t saved() const { return saved_.size(); }
  // Those for whom it is true can't come back any more; it may change the others.
  using Meant = std::function<bool(Saved&)>;
  // Holds for who is kept here, and for who is on the way here until all shards have done it.
  void Kick(const Origin& kick, Meant meant);
  void KickedByAll(const Origin& kick);
  // Between these two, other shards are asked for somebody. The second leaves nobody who was kicked.
  uint64_t BeginAsking();
  void EndAsking(uint64_t asking, Found& found);
  size_t kicks() const { return kicks_.size(); }  // that are remembered

  // Whether Find needs no other shard.
  bool KnowsAll(const Wanted& wanted) const;
  // What is known here. A socket that is found is no longer kept here: who asks has it, and saves it again
  // where the client doesn't come back after all.
  Found Find(const Wanted& wanted, Time now);

  // Whether it is known, and all that it missed is still kept. `found` is of all shards.
  bool MayReturn(const Wanted& wanted, const Found& found) const;
  // The packets that it missed, as payloads of Engine.IO in the order in which they go out. It may return.
  std::vector<std::string> Missed(const Wanted& wanted, const Found& found);

 private:
  struct Kept {
    Origin origin;
    Time time;
    uint16_t name_space = 0;
    std::string key;
    FrameRef packet;
  };
  struct Remembered {
    Origin kick;
    Meant meant;
    std::optional<uint64_t> until;  // once all shards have done it: the last asking that began before
  };
  void DropKicks();
  static bool Covers(const Reading& reading, const Reading& other);
  uint64_t first() const { return next_ - kept_.size(); }
  bool Knows(const Place& place) const;
  Reading ReadingAt(uint64_t number, uint16_t name_space);
  void DropOldest();

  RecoveryOptions options_;
  std::unordered_map<std::string, Saved> saved_;  // by id
  Ring<Kept> kept_;
  size_t kept_bytes_ = 0;
  uint64_t next_ = 1;
  std::deque<Remembered> kicks_;
  std::set<uint64_t> asking_;
  uint64_t last_asking_ = 0;
  Reading reached_, dropped_;  // the last of each publisher that came, and that is kept no longer
};

}  // namespace muster::push::socketio
