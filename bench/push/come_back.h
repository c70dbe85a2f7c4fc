// Clients of Socket.IO over WebSocket that lose their server all at once, and come back all at once: what
// bench-push-load does in the mode "back". Each counts the events `tick` with the numbers 1, 2, …, that it
// gets. Lines of its input say what happens; each of these but `drop` and `silent` is answered by one line of
// JSON:
//   drop     all connections are reset, as when a network goes; the clients stay away
//   silent   the same, but the server isn't told: the connections stay open, and nobody is there
//   back K   all come back at once; told when all are there and have tick K, or didn't get it for 5 s
//   auto K   from now on, who loses the server comes back at once, and tries again until it is in; told as
//   `back`
//            when all have lost it and are there again
//   ticks K  told when all have tick K, with how many ticks never came, and how many twice
// Its end ends the program. As a browser does, who comes back says the `pid` and the offset that it was
// given.
#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

class ComeBack {
 public:
  ComeBack(int port, int connections, std::string path)
      : port_(port), path_(std::move(path)), epoll_(epoll_create1(0)), clients_(connections) {}

  int Run() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kInput;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, 0, &event);
    Expect(Waiting::kAll, 0);
    AllDial();
    while (!over_) {
      Poll();
      Tell();
      if (waiting_ != Waiting::kNothing && Now() - asked_ > kLongestNs) {
        std::printf("{\"error\":\"%zu of %zu are there, %zu have tick %u\"}\n", there_, clients_.size(),
                    WithTick(), wanted_tick_);
        return 1;
      }
    }
    return 0;
  }

 private:
  static constexpr uint64_t kInput = ~uint64_t{0};
  static constexpr int64_t kLongestNs = 120'000'000'000;
  static constexpr int64_t kForTickNs = 5'000'000'000;
  enum class State { kAway, kDialing, kHandshake, kOpen, kThere };
  enum class Waiting { kNothing, kAll, kTicks };
  struct Client {
    int fd = -1;
    State state = State::kAway;
    std::string in, sid, pid, offset;
    uint32_t tick = 0;  // the last that it got
    int64_t there_ns = 0;
  };

  static int64_t Clock(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
  }
  static int64_t Now() { return Clock(CLOCK_MONOTONIC); }

  void Expect(Waiting what, uint32_t tick) {
    waiting_ = what;
    wanted_tick_ = tick;
    asked_ = Now();
    all_there_ = 0;
    cpu_ = Clock(CLOCK_PROCESS_CPUTIME_ID);
    recovered_ = made_new_ = dials_ = 0;
  }

  void Do(std::string_view line) {
    const size_t space = line.find(' ');
    const std::string number(space == std::string_view::npos ? "0" : line.substr(space + 1));
    const auto tick = static_cast<uint32_t>(std::strtoul(number.c_str(), nullptr, 10));
    const std::string_view word = line.substr(0, space);
    if (word == "drop" || word == "silent") {
      for (Client& client : clients_) Leave(client, word == "silent");
    } else if (word == "back") {
      Expect(Waiting::kAll, tick);
      AllDial();
    } else if (word == "auto") {
      Expect(Waiting::kAll, tick);
      auto_ = true;
      lost_ = 0;
      std::printf("{\"auto\":%zu}\n", there_);
      std::fflush(stdout);
    } else if (word == "ticks") {
      Expect(Waiting::kTicks, tick);
    }
  }

  size_t WithTick() const {
    return static_cast<size_t>(std::count_if(
        clients_.begin(), clients_.end(), [this](const Client& each) { return each.tick >= wanted_tick_; }));
  }

  void Tell() {
    if (waiting_ == Waiting::kNothing || there_ < clients_.size()) return;
    if (auto_ && waiting_ == Waiting::kAll && lost_ < clients_.size()) return;
    const int64_t done = Now();
    if (all_there_ == 0) all_there_ = done;
    const size_t with_tick = WithTick();
    if (with_tick < clients_.size() && (waiting_ == Waiting::kTicks || done - all_there_ < kForTickNs))
      return;
    const double cpu = static_cast<double>(Clock(CLOCK_PROCESS_CPUTIME_ID) - cpu_) / 1e9;
    if (waiting_ == Waiting::kTicks) {
      std::printf("{\"missing\":%zu,\"twice\":%zu,\"seconds\":%.3f}\n", missing_, twice_,
                  static_cast<double>(done - asked_) / 1e9);
    } else {
      std::vector<int64_t> there;
      for (const Client& client : clients_) there.push_back(client.there_ns);
      std::sort(there.begin(), there.end());
      std::printf(
          "{\"there\":%zu,\"median_there_ns\":%lld,\"last_there_ns\":%lld,\"done_ns\":%lld,\"with_tick\":%zu,"
          "\"recovered\":%zu,"
          "\"made_new\":%zu,\"dials\":%zu,\"load_cpu\":%.3f}\n",
          there_, static_cast<long long>(there[there.size() / 2]), static_cast<long long>(there.back()),
          static_cast<long long>(done), with_tick, recovered_, made_new_, dials_, cpu);
      auto_ = false;
      for (const int fd : silent_) Reset(fd);
      silent_.clear();
    }
    std::fflush(stdout);
    waiting_ = Waiting::kNothing;
  }

  static void Reset(int fd) {
    const linger none{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
  }

  void Leave(Client& client, bool silent) {
    if (client.fd < 0) return;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, client.fd, nullptr);
    if (silent) {
      silent_.push_back(client.fd);
    } else {
      Reset(client.fd);
    }
    if (client.state == State::kThere) {
      --there_;
      ++lost_;
    }
    client.fd = -1;
    client.state = State::kAway;
    client.in.clear();
  }

  void AllDial() {
    for (Client& client : clients_) {
      if (client.state == State::kAway) Dial(client);
    }
  }

  // Every 5,000 from an address of their own, as load.cc does.
  void Dial(Client& client) {
    const auto number = static_cast<uint64_t>(&client - clients_.data());
    ++dials_;
    client.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    client.state = State::kDialing;
    const int on = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client.fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in from{}, to{};
    from.sin_family = to.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(0x7f000001u + 256u * static_cast<uint32_t>(getpid() % 250) +
                                 static_cast<uint32_t>(number / 5000));
    to.sin_port = htons(static_cast<uint16_t>(port_));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)!bind(client.fd, reinterpret_cast<sockaddr*>(&from), sizeof from);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = number;
    if (connect(client.fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
      Lose(client, false);
      return;
    }
    epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event);
  }

  // A client that isn't let in tries again in 50 to 150 ms; one that was there does at once, where it may.
  void Lose(Client& client, bool was_there) {
    Leave(client, false);
    if (was_there && !auto_) return;
    const int64_t wait = was_there ? 0 : 50'000'000 + std::rand() % 100'000'000;
    again_.emplace(Now() + wait, &client - clients_.data());
  }

  void Poll() {
    epoll_event events[1024];
    const int64_t wait =
        again_.empty() ? 100'000'000 : std::clamp<int64_t>(again_.top().first - Now(), 0, 100'000'000);
    const timespec time{.tv_sec = 0, .tv_nsec = wait};
    const int count = epoll_pwait2(epoll_, events, 1024, &time, nullptr);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kInput) {
        ReadInput();
        continue;
      }
      Client& client = clients_[events[i].data.u64];
      if (client.fd < 0) continue;  // left in this turn
      if (client.state == State::kDialing && (events[i].events & EPOLLOUT) != 0) Greet(client);
      if (client.fd >= 0) Read(client);
    }
    while (!again_.empty() && again_.top().first <= Now()) {
      Client& client = clients_[static_cast<size_t>(again_.top().second)];
      again_.pop();
      if (client.state == State::kAway) Dial(client);
    }
  }

  void ReadInput() {
    char bytes[256];
    const ssize_t got = read(0, bytes, sizeof bytes);
    if (got <= 0) over_ = true;
    if (got > 0) input_.append(bytes, static_cast<size_t>(got));
    for (size_t end; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1)) {
      Do(std::string_view(input_).substr(0, end));
    }
  }

  void Greet(Client& client) {
    client.state = State::kHandshake;
    Write(client, "GET " + path_ +
                      "?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  }

  // It is little, so that a socket always takes it whole.
  static void Write(const Client& client, const std::string& bytes) {
    (void)!send(client.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  static void Say(const Client& client, const std::string& text) {  // with a mask of zeros
    std::string frame = "\x81";
    if (text.size() < 126) {
      frame += static_cast<char>(0x80 | text.size());
    } else {
      frame += static_cast<char>(0x80 | 126);
      frame += static_cast<char>(text.size() >> 8);
      frame += static_cast<char>(text.size() & 255);
    }
    Write(client, frame.append(4, '\0') + text);
  }

  void Read(Client& client) {
    char buffer[16384];
    while (client.fd >= 0) {
      const ssize_t got = recv(client.fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
      if (got <= 0) {
        Lose(client, client.state == State::kThere);
        return;
      }
      client.in.append(buffer, static_cast<size_t>(got));
      Take(client);
    }
  }

  void Take(Client& client) {
    if (client.state == State::kHandshake) {
      const size_t end = client.in.find("\r\n\r\n");
      if (end == std::string::npos) return;
      if (client.in.compare(9, 3, "101") != 0) {
        Lose(client, false);
        return;
      }
      client.in.erase(0, end + 4);
      client.state = State::kOpen;
    }
    size_t taken = 0;
    const auto at = [&](size_t index) { return static_cast<size_t>(static_cast<uint8_t>(client.in[index])); };
    while (client.in.size() - taken >= 2) {
      size_t head = 2, length = at(taken + 1) & 127;
      if (length == 126) {
        if (client.in.size() - taken < 4) break;
        head = 4;
        length = at(taken + 2) << 8 | at(taken + 3);
      }
      if (client.in.size() - taken < head + length) break;
      OnPacket(client, std::string_view(client.in).substr(taken + head, length));
      taken += head + length;
    }
    client.in.erase(0, taken);
    if (client.in.empty()) std::string().swap(client.in);
  }

  static std::string Member(std::string_view text, std::string_view name) {
    const size_t at = text.find(name);
    if (at == std::string_view::npos) return {};
    const size_t begin = at + name.size();
    return std::string(text.substr(begin, text.find('"', begin) - begin));
  }

  void OnPacket(Client& client, std::string_view packet) {
    if (packet == "2") {
      Say(client, "3");
    } else if (packet.substr(0, 2) == "0{") {
      std::string auth = "40{\"id\":\"user-" + std::to_string(getpid()) + "-" +
                         std::to_string(&client - clients_.data()) + '"';
      if (!client.offset.empty()) {
        auth += ",\"pid\":\"" + client.pid + "\",\"offset\":\"" + client.offset + '"';
      }
      Say(client, auth + "}");
    } else if (packet.substr(0, 3) == "40{") {
      const std::string sid = Member(packet, "\"sid\":\"");
      ++(sid == client.sid ? recovered_ : made_new_);
      client.sid = sid;
      client.pid = Member(packet, "\"pid\":\"");
      client.state = State::kThere;
      client.there_ns = Now();
      ++there_;
    } else if (packet.substr(0, 10) == "42[\"tick\",") {
      const auto tick = static_cast<uint32_t>(std::strtoul(packet.data() + 10, nullptr, 10));
      if (tick <= client.tick) {
        ++twice_;
      } else {
        missing_ += tick - client.tick - 1;
        client.tick = tick;
      }
      const size_t quote = packet.rfind(",\"");
      if (quote != std::string_view::npos && quote > 9) {
        client.offset = packet.substr(quote + 2, packet.size() - quote - 4);
      }
    }
  }

  int port_;
  std::string path_;
  int epoll_;
  std::vector<Client> clients_;
  using Again = std::pair<int64_t, std::ptrdiff_t>;  // when, and which
  std::priority_queue<Again, std::vector<Again>, std::greater<>> again_;
  std::vector<int> silent_;
  std::string input_;
  Waiting waiting_ = Waiting::kNothing;
  uint32_t wanted_tick_ = 0;
  size_t there_ = 0, lost_ = 0, recovered_ = 0, made_new_ = 0, dials_ = 0, missing_ = 0, twice_ = 0;
  int64_t asked_ = 0, all_there_ = 0, cpu_ = 0;
  bool auto_ = false, over_ = false;
};
