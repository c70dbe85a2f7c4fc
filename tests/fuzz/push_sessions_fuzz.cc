// Several clients of one loop at once that say and break off what they like, in any order, while the server
// sends, kicks and closes, and time passes: what Engine and Hub make of it. A byte is a step, and what it
// needs comes behind it. In the end nothing may be left, and no client may have read anything that is no
// HTTP, no WebSocket, or behind a close frame.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <set>

#include "push/socketio/hub.h"
#include "push/socketio/json.h"

using namespace muster;
using namespace muster::push;
using socketio::Socket;

namespace {

constexpr size_t kClients = 8;
constexpr std::string_view kPackets[] = {"2probe",
                                         "5",
                                         "3",
                                         "2",
                                         "1",
                                         "6",
                                         "0",
                                         "",
                                         "40",
                                         "41",
                                         "40/a,",
                                         "41/a,",
                                         "40/none,",
                                         "42[\"echo\",1]",
                                         "421[\"echo\"]",
                                         "42/a,7[\"echo\",[]]",
                                         "42[\"leave\"]",
                                         "42[\"end\"]",
                                         "42[\"all\"]",
                                         "42[\"big\"]",
                                         "431[1]",
                                         "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]",
                                         "452-3[\"echo\",{\"_placeholder\":true,\"num\":1}]",
                                         "451-[\"all\",{\"_placeholder\":true,\"num\":1}]",
                                         "4x",
                                         "bAQID",
                                         "44{}",
                                         "0{}",
                                         "2\x1e"
                                         "3",
                                         "40{}\x1e"
                                         "42[\"echo\"]\x1e"
                                         "1",
                                         "42[\"end\"]\x1e"
                                         "42[\"echo\"]",
                                         "12:42[\"echo\",1]1:3"};

Time time_now;
Time Clock() { return time_now; }

void Want(bool right) {
  if (!right) std::abort();
}

struct Steps {
  std::string_view bytes;
  bool over() const { return bytes.empty(); }
  uint8_t Next() {
    if (bytes.empty()) return 0;
    const auto byte = static_cast<uint8_t>(bytes[0]);
    bytes.remove_prefix(1);
    return byte;
  }
  std::string_view Text(size_t size) {
    const std::string_view text = bytes.substr(0, size);
    bytes.remove_prefix(text.size());
    return text;
  }
};

// What a client reads, as far as it is whole.
class Reading {
 public:
  void Take(std::string_view more) {
    bytes_ += more;
    Want(!closed_ || bytes_.empty());
    while (websocket_ ? TakeFrame() : TakeResponse()) {
    }
  }
  std::string pid, offset;  // the last that it was told

 private:
  bool TakeResponse() {
    const size_t head = bytes_.find("\r\n\r\n");
    Want(std::string_view("HTTP/1.1 ").substr(0, bytes_.size()) == std::string_view(bytes_).substr(0, 9));
    if (head == std::string::npos) return false;
    size_t size = head + 4;
    const size_t length = bytes_.find("Content-Length: ");
    websocket_ = bytes_.compare(9, 3, "101") == 0;
    if (!websocket_ && length < head) size += static_cast<size_t>(std::atoi(bytes_.c_str() + length + 16));
    if (bytes_.size() < size) {
      Want(!websocket_);
      return false;
    }
    Look(std::string_view(bytes_).substr(0, size));
    bytes_.erase(0, size);
    return true;
  }
  bool TakeFrame() {
    if (bytes_.size() < 2) return false;
    const auto at = [this](size_t index) { return static_cast<uint8_t>(bytes_[index]); };
    const int opcode = at(0) & 15;
    Want((at(0) & 0xf0) == 0x80 && (opcode == 1 || opcode == 2 || (opcode >= 8 && opcode <= 10)) &&
         at(1) < 127);
    size_t head = 2, length = at(1);
    if (length == 126) {
      if (bytes_.size() < 4) return false;
      head = 4;
      length = size_t{at(2)} << 8 | at(3);
    }
    if (bytes_.size() < head + length) return false;
    Look(std::string_view(bytes_).substr(head, length));
    bytes_.erase(0, head + length);
    closed_ = opcode == 8;
    Want(!closed_ || bytes_.empty());
    return !closed_;
  }
  void Look(std::string_view text) {
    const size_t named = text.find("\"pid\":\"");
    if (named != std::string_view::npos) pid = text.substr(named + 7, 20);
    const size_t place = text.rfind(",\"0@");
    const size_t end = place == std::string_view::npos ? place : text.find('"', place + 2);
    if (end != std::string_view::npos) offset = text.substr(place + 2, end - place - 2);
  }

  std::string bytes_;
  bool websocket_ = false, closed_ = false;
};

struct Peer {
  int fd = -1;
  Reading reading;
};

class World : public socketio::Application {
 public:
  World(Steps steps, uint8_t how)
      : steps_(steps),
        shards_((how & 2) != 0 ? 2 : 1),
        small_((how & 4) != 0),
        loop_({.payload_max = 4096,
               .out_max = 8192,
               .slow = (how & 1) != 0 ? SlowPolicy::kDrop : SlowPolicy::kClose,
               .request_timeout = 2s,
               .idle_timeout = 3s},
              &addresses_, nullptr, Clock),
        hub_(loop_,
             {.ping_interval = 2s,
              .ping_timeout = 1s,
              .upgrade_timeout = 1s,
              .protocol_3 = true,
              .shards = static_cast<uint8_t>(shards_)},
             {.namespaces = {"/", "/a"},
              .connect_timeout = 3s,
              .recovery = true,
              .recovery_keep = 5s,
              .recovery_sockets = 4,
              .packets_per_second = (how & 8) != 0 ? 20u : 0u,
              .secret = "secret"},
             *this),
        other_({.shard = 1, .shards = 2}) {
    loop_.SetHandler(0, &hub_.engine());
    loop_.SetTimer([this](TimerNode& node) { hub_.OnTimer(node); });
    loop_.SetTurn([this] { Turn(); });
    loop_.Wake();
    loop_.Run();
    Want(hub_.engine().size() == 0 && sockets_.empty() && hub_.counters().sockets.get() == 0);
    Want(hub_.registry().users() == 0 && hub_.registry().rooms() == 0);
    Want(hub_.engine().counters().polling.get() == 0 && hub_.engine().counters().websocket.get() == 0);
    Want(loop_.counters().connections.get() == 0);
    for (const auto kind : {AddressTable::kConnections, AddressTable::kSessions})
      Want(addresses_.Reserve(kind, 1));
  }

  void OnConnect(Socket& socket, std::string_view, bool recovered) override {
    Want(sockets_.insert(&socket).second);
    if (recovered) return;
    hub_.registry().Bind(socket, "user", "name");
    hub_.registry().Join(socket, "g:1");
  }
  void OnEvent(Socket& socket, const socketio::Event& event) override {
    Want(sockets_.count(&socket) == 1 && socket.client->session->open());
    if (event.name == "echo") hub_.Acknowledge(socket, event.id, event.Arguments(), *event.attachments);
    if (event.name == "leave") hub_.Disconnect(socket, false);
    if (event.name == "end") hub_.Disconnect(socket, true);
    if (event.name == "all") Publish(&socket, "1", false);
    if (event.name == "big") Publish(nullptr, '"' + std::string(2000, 'x') + '"', false);
  }
  void OnAck(Socket& socket, int64_t, std::string_view, const std::vector<std::string>&) override {
    Want(sockets_.count(&socket) == 1 && socket.client->session->open());
  }
  void OnDisconnect(Socket& socket, engineio::CloseReason) override {
    Want(sockets_.erase(&socket) == 1);
    Publish(&socket, "\"leaves\"", true);
  }
  void HandOver(uint8_t shard, MovedConnection moved) override {
    Want(shard == 1 && shards_ == 2);
    addresses_.Leave(AddressTable::kConnections, moved.address);
    ::close(moved.fd);
  }
  void AskForSaved(socketio::Returning returning) override { asked_.push_back(std::move(returning)); }

 private:
  // To all; what isn't droppable is kept for those who are away.
  void Publish(const Socket* except, const std::string& arguments, bool droppable) {
    const socketio::Origin origin = droppable ? socketio::Origin{} : hub_.NextOrigin(except);
    std::array<FrameRef, 2> packets;
    for (uint16_t i = 0; i < packets.size(); ++i) {
      packets[i] = hub_.MakeEvent(i, "all", arguments, -1, droppable, socketio::EverybodyKey(i), 0, origin);
    }
    hub_.recovery().Reach(origin);
    hub_.ForEach([&](Socket& socket) {
      if (&socket != except) hub_.Send(socket, packets[socket.name_space]);
    });
  }

  void Kick(size_t one) {  // all, or one; as Shard::Kick
    std::vector<Socket*> meant;
    size_t number = 0;
    hub_.ForEach([&](Socket& socket) {
      if (one == 0 || ++number == one) meant.push_back(&socket);
    });
    std::vector<engineio::Session*> ending;
    for (Socket* socket : meant) {
      ending.push_back(socket->client->session);
      hub_.Emit(*socket, "kicked", "{}");
      hub_.Disconnect(*socket, false);
    }
    for (engineio::Session* session : ending) hub_.engine().Close(*session);
  }

  engineio::Session* AnySession(uint8_t which) {
    std::vector<engineio::Session*> all;
    hub_.engine().ForEach([&](engineio::Session& session) { all.push_back(&session); });
    return all.empty() ? nullptr : all[which % all.size()];
  }
  // One that is there or was; "" for none.
  std::string AnyId(uint8_t which) { return ids_.empty() ? std::string() : ids_[which % ids_.size()]; }
  void LearnIds() {
    hub_.engine().ForEach([this](engineio::Session& session) {
      std::string id = hub_.engine().IdOf(session);
      for (const std::string& known : ids_) {
        if (known == id) return;
      }
      if (ids_.size() == 8) ids_.erase(ids_.begin());
      ids_.push_back(std::move(id));
    });
  }

  std::string Packet(const Peer& peer) {
    const uint8_t which = steps_.Next();
    if (which < std::size(kPackets)) return std::string(kPackets[which]);
    if (which < 64)
      return "40{\"pid\":\"" + peer.reading.pid + "\",\"offset\":\"" + peer.reading.offset + "\"}";
    if (which < 72) return "40{\"pid\":\"" + pid_ + "\",\"offset\":\"" + offset_ + "\"}";
    return std::string(steps_.Text(which & 31));
  }
  static std::string Frame(int first, std::string_view payload) {
    std::string frame(1, static_cast<char>(first));
    if (payload.size() < 126) {
      frame += static_cast<char>(0x80 | payload.size());
    } else {
      frame += static_cast<char>(0xfe);
      frame += static_cast<char>(payload.size() >> 8);
      frame += static_cast<char>(payload.size());
    }
    return frame.append(4, '\0').append(payload);
  }
  static std::string Upgrade(const std::string& query) {
    return "GET /socket.io/?transport=websocket&" + query +
           " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
           "13\r\n"
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
  }
  static std::string Get(const std::string& query) {
    return "GET /socket.io/?transport=polling&" + query + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }

  // On a connection of its own where the peer has none.
  void Say(Peer& peer, const std::string& text) {
    if (peer.fd >= 0) {
      (void)!send(peer.fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    int ends[2];
    Want(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    const int bytes = 4608;
    if (small_) setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    peer.fd = ends[0];
    Want(addresses_.Reserve(AddressTable::kConnections, 0));
    MovedConnection moved;
    moved.fd = ends[1];
    moved.bytes = text;
    moved.address = addresses_.Enter(AddressTable::kConnections, Address{1}, 0);
    loop_.Adopt(std::move(moved));
  }
  void Read(Peer& peer) {
    char bytes[65536];
    while (peer.fd >= 0) {
      const ssize_t got = recv(peer.fd, bytes, sizeof bytes, 0);
      if (got <= 0) break;
      peer.reading.Take({bytes, static_cast<size_t>(got)});
      if (!peer.reading.pid.empty()) pid_ = peer.reading.pid;
      if (!peer.reading.offset.empty()) offset_ = peer.reading.offset;
    }
  }
  static void Leave(Peer& peer) {
    if (peer.fd >= 0) ::close(peer.fd);
    peer = Peer();
  }

  // False: the turn is over.
  bool Step() {
    const uint8_t what = steps_.Next();
    Peer& peer = peers_[what % kClients];
    switch (what / kClients) {
      case 0:
        Say(peer, Get("EIO=4"));
        return true;
      case 1:
        Say(peer, Upgrade("EIO=4"));
        return true;
      case 2:
        Say(peer, Get("EIO=4&sid=" + AnyId(steps_.Next())));
        return true;
      case 3:
      case 4: {
        const std::string id = AnyId(steps_.Next());
        const std::string body = Packet(peer);
        const size_t more = what / kClients == 4 ? 3 : 0;  // is still to come
        Say(peer, "POST /socket.io/?transport=polling&EIO=4&sid=" + id +
                      " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size() + more) +
                      "\r\n\r\n" + body);
        return true;
      }
      case 5:
        Say(peer, Upgrade("EIO=4&sid=" + AnyId(steps_.Next())));
        return true;
      case 6:
      case 7:
      case 8:
        Say(peer, Frame(0x81, Packet(peer)));
        return true;
      case 9:
        Say(peer, Frame(0x82,
                        "\x04"
                        "bytes"));
        return true;
      case 10:
        Say(peer, Frame(steps_.Next() | 0x80, steps_.Text(2)));
        return true;
      case 11:
        Say(peer, std::string(steps_.Text(steps_.Next() & 15)));
        return true;
      case 12:
        Leave(peer);
        return true;
      case 13:
        if (peer.fd >= 0) shutdown(peer.fd, SHUT_WR);
        return true;
      case 14:
      case 15:
        Read(peer);
        return true;
      case 16:
        if (engineio::Session* session = AnySession(what)) hub_.engine().Close(*session);
        return true;
      case 17:
        Kick(what % kClients);
        return true;
      case 18:
        Publish(nullptr, what % 2 == 0 ? "1" : '"' + std::string(1500, 'x') + '"', what % 4 > 1);
        return true;
      case 19:
        if (!asked_.empty()) Answer(what % asked_.size());
        return true;
      case 20:
        time_now += Duration(1 << (what % kClients + 5));  // to 4 s
        return false;
      case 21:
        Say(peer, what % 2 == 0 ? Get("EIO=3") : Upgrade("EIO=3"));
        return true;
      case 22:
        Say(peer, what % 2 == 0 ? Get("EIO=3&sid=" + AnyId(steps_.Next()))
                                : Upgrade("EIO=3&sid=" + AnyId(steps_.Next())));
        return true;
      case 23:  // a packet with the bytes that belong to it
        Say(peer, Frame(0x81, Packet(peer)) + Frame(0x82, "a") + Frame(0x82, "b"));
        return true;
      default:
        return false;
    }
  }
  void Answer(size_t which) {
    socketio::Returning returning = std::move(asked_[which]);
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(which));
    returning.found = socketio::Together(
        {hub_.recovery().Find(returning.wanted, time_now), other_.Find(returning.wanted, time_now)});
    hub_.OnFound(std::move(returning));
  }

  void Turn() {
    LearnIds();
    if (!steps_.over()) {
      while (!steps_.over() && Step()) {
      }
    } else {
      End();
    }
    hub_.Turn();
    loop_.Wake();
  }
  // Everybody reads what there is and goes; then all that waits for something has waited long enough.
  void End() {
    if (ending_ < 2) {
      for (Peer& peer : peers_) Read(peer);
    } else if (ending_ == 2) {
      while (!asked_.empty()) Answer(0);
      for (Peer& peer : peers_) Leave(peer);
    } else {
      time_now += 35s;
    }
    if (++ending_ == 8) loop_.Stop();
  }

  Steps steps_;
  size_t shards_;
  bool small_;
  AddressTable addresses_;
  Loop loop_;
  socketio::Hub hub_;
  socketio::Recovery other_;
  std::array<Peer, kClients> peers_;
  std::vector<std::string> ids_;
  std::vector<socketio::Returning> asked_;
  std::set<Socket*> sockets_;
  std::string pid_, offset_;
  int ending_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  time_now = Time(1h);
  Steps steps{{reinterpret_cast<const char*>(data), size}};
  const uint8_t how = steps.Next();
  const World world(steps, how);
  return 0;
}
