// The load of the push benchmarks: many Socket.IO clients on one epoll loop, over WebSocket or long-polling,
// that cost less than the server they measure. One JSON line tells what came of it.
//
//   bench-push-load --port P --mode idle|echo|fanout|back [--connections N] [--polling] [--users] [--raw]
//     idle    connects all, says so ("ready"), and once they are in their groups ("settled"); holds them and
//             answers pings until its input ends
//     echo    each has --under-way requests with ack on its way
//     fanout  the first emits to a room of all others, --under-way at a time, or --rate a second
//     back    loses the server and comes back, as its input says: see come_back.h
//   --seconds S after --warmup W; --payload BYTES; --raw: plain WebSocket echo, no Socket.IO
//   --users: each says who it is as it connects, and joins a group of a hundred: before it counts as
//   connected, but where idle ones over WebSocket are counted after that, unless --groups-within
// What it takes of a core itself, own_us for each of what it counts, is told for the time that was measured.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "come_back.h"

namespace {

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

int64_t OwnCpuNs() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * 1'000'000'000LL + used.tv_nsec;
}

constexpr int64_t kLongestNs = 300'000'000'000;  // until all are connected

struct Options {
  int port = 0;
  std::string mode = "echo", path = "/socket.io/";
  int connections = 100, under_way = 1, payload = 32, connecting_most = 200;
  double seconds = 8, warmup = 2, rate = 0;
  bool polling = false, raw = false, users = false, groups_within = false;
};

enum class State { kConnecting, kHandshake, kOpen, kReady };

struct Client {
  int fd = -1;
  int number = 0;
  State state = State::kConnecting;
  std::string in, out, sid;
  std::vector<int64_t> sent;  // when each that waits for its ack was sent: a ring
  uint32_t asked = 0, answered = 0;
  int post_fd = -1;      // the second connection of one that polls and has something to say while it does
  bool polling = false;  // a GET waits for its answer
  int posts = 0;         // on the first connection, whose answers come before the GET's
  int stage = 0;         // of what it says before it is ready
};

class Load {
 public:
  explicit Load(Options options) : options_(std::move(options)), epoll_(epoll_create1(0)) {
    clients_.resize(static_cast<size_t>(options_.connections));
    latencies_.reserve(1 << 22);
    for (Client& client : clients_) client.sent.resize(static_cast<size_t>(options_.under_way));
    std::string ask = options_.raw ? "" : "427[\"echo\",\"";
    ask.append(static_cast<size_t>(options_.payload), 'x');
    if (!options_.raw) ask += "\"]";
    AppendFrame(ask_, ask);
    first_request_ = options_.polling
                         ? "GET " + options_.path + "?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n"
                         : "GET " + options_.path +
                               "?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                               "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  }

  int Run() {
    began_ = NowNs();
    while (true) {
      Begin();
      Poll(WaitNs());
      if (ready_ < options_.connections) {
        if (NowNs() - began_ > kLongestNs) return Fail("not all connected");
        continue;
      }
      if (!running_) {
        running_ = true;
        connected_ = NowNs();
        connecting_cpu_ = OwnCpuNs();
        if (options_.mode == "idle") return Hold();
        Start();
      }
      if (options_.mode == "fanout" && options_.rate > 0) Publish();
      const double passed = static_cast<double>(NowNs() - connected_) / 1e9;
      if (!measuring_ && passed >= options_.warmup) {
        measuring_ = true;
        measured_from_ = NowNs();
        measured_cpu_from_ = OwnCpuNs();
        count_ = 0;
        latencies_.clear();
        std::printf("measuring\n");
        std::fflush(stdout);
      }
      if (measuring_ && passed >= options_.warmup + options_.seconds) break;
    }
    return Report();
  }

 private:
  int Fail(const char* why) {
    std::printf("{\"error\":\"%s\",\"ready\":%d,\"lost\":%d}\n", why, ready_, lost_);
    return 1;
  }

  // Until the next is to be published.
  int64_t WaitNs() const {
    if (started_ < options_.connections || ready_ < options_.connections) return 10'000'000;
    if (options_.mode != "fanout" || options_.rate <= 0 || !running_) return 100'000'000;
    return std::clamp<int64_t>(next_tick_ - NowNs(), 0, 100'000'000);
  }

  void Begin() {
    while (started_ < options_.connections && started_ - ready_ < options_.connecting_most) {
      Client& client = clients_[static_cast<size_t>(started_)];
      client.number = started_++;
      client.fd = Dial(client.number);
      client.state = State::kHandshake;
      client.polling = options_.polling;
      Write(client, client.fd, first_request_);
    }
  }

  // From an address of its own for every 5,000: the kernel looks for a free port one by one once half of an
  // address's 28,000 are taken.
  int Dial(int number) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(0x7f000001u + 256u * static_cast<uint32_t>(getpid() % 250) +
                                 static_cast<uint32_t>(number / 5000));
    setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0) perror("bind");
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(options_.port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      std::perror("connect");
      std::exit(1);
    }
    // Told once of what comes in, which is read at once: epoll needn't look again.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.u64 = static_cast<uint64_t>(number);
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    return fd;
  }

  void Write(Client& client, int fd, std::string_view bytes) {
    if (!client.out.empty()) {
      client.out += bytes;
      return;
    }
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    const size_t done = sent > 0 ? static_cast<size_t>(sent) : 0;
    if (done == bytes.size()) return;
    client.out = bytes.substr(done);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLET;
    event.data.u64 = static_cast<uint64_t>(client.number);
    epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
  }

  // A masked text frame; with a mask of zeros, which is one, too.
  static void AppendFrame(std::string& out, std::string_view text) {
    out += '\x81';
    if (text.size() < 126) {
      out += static_cast<char>(0x80 | text.size());
    } else {
      out += static_cast<char>(0x80 | 126);
      out += static_cast<char>(text.size() >> 8);
      out += static_cast<char>(text.size() & 255);
    }
    out.append(4, '\0');
    out += text;
  }

  // What a client says to what it has just read goes out in one write, at the end of it.
  void Say(Client& client, std::string_view packet) {
    if (options_.polling) {
      if (client.polling) return PostBeside(client, packet);
      if (!said_.empty()) said_ += '\x1e';
      said_ += packet;
    } else if (&client == reading_) {
      AppendFrame(said_, packet);
    } else {
      frame_.clear();
      AppendFrame(frame_, packet);
      Write(client, client.fd, frame_);
    }
  }

  void AppendPost(std::string& out, const Client& client, std::string_view body) const {
    out +=
        "POST " + options_.path + "?EIO=4&transport=polling&sid=" + client.sid +
        " HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n";
    out += body;
  }

  // On a second connection, as the first one's GET waits. Its answers are of no interest; but a server may
  // have closed what was idle.
  void PostBeside(Client& client, std::string_view packet) {
    std::string request;
    AppendPost(request, client, packet);
    char ignored[4096];
    ssize_t got = -1;
    while (client.post_fd >= 0 && (got = recv(client.post_fd, ignored, sizeof ignored, MSG_DONTWAIT)) > 0) {
    }
    if (client.post_fd >= 0 && got == 0) {
      close(client.post_fd);
      client.post_fd = -1;
    }
    if (client.post_fd < 0) {
      client.post_fd = Dial(client.number);
      epoll_ctl(epoll_, EPOLL_CTL_DEL, client.post_fd, nullptr);
    }
    (void)!send(client.post_fd, request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // What there is to say, and the next GET behind it.
  void Get(Client& client) {
    frame_.clear();
    if (!said_.empty()) {
      AppendPost(frame_, client, said_);
      said_.clear();
      ++client.posts;
    }
    frame_ += "GET ";
    frame_ += options_.path;
    frame_ += "?EIO=4&transport=polling&sid=";
    frame_ += client.sid;
    frame_ += " HTTP/1.1\r\nHost: x\r\n\r\n";
    client.polling = true;
    Write(client, client.fd, frame_);
  }

  void Poll(int64_t wait_ns) {
    epoll_event events[1024];
    const timespec wait{.tv_sec = 0, .tv_nsec = wait_ns};
    const int count = epoll_pwait2(epoll_, events, 1024, &wait, nullptr);
    for (int i = 0; i < count; ++i) {
      Client& client = clients_[events[i].data.u64];
      if ((events[i].events & EPOLLOUT) != 0 && !client.out.empty()) {
        const std::string rest = std::exchange(client.out, {});
        Write(client, client.fd, rest);
        if (client.out.empty()) {
          epoll_event event{};
          event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
          event.data.u64 = events[i].data.u64;
          epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
        }
      }
      const bool ended = (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
      if (ended || (events[i].events & EPOLLIN) != 0) {
        while (Read(client, ended)) {
        }
      }
    }
  }

  // Whether there may be more; where the peer has `ended`, all of it has to be read to come to its end.
  bool Read(Client& client, bool ended) {
    static char buffer[1 << 18];
    const ssize_t got = recv(client.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got <= 0) {
      if (got < 0 && errno == EAGAIN) return false;
      ++lost_;
      epoll_ctl(epoll_, EPOLL_CTL_DEL, client.fd, nullptr);
      close(client.fd);
      return false;
    }
    now_ = NowNs();
    std::string_view data(buffer, static_cast<size_t>(got));
    if (!client.in.empty()) {
      client.in += data;
      data = client.in;
    }
    reading_ = &client;
    const size_t taken = options_.polling ? TakeResponses(client, data) : TakeFrames(client, data);
    reading_ = nullptr;
    if (!said_.empty()) {
      Write(client, client.fd, said_);
      said_.clear();
    }
    if (client.in.empty()) {
      client.in = data.substr(taken);
    } else {
      client.in.erase(0, taken);
    }
    if (client.in.empty() && client.in.capacity() > 64) std::string().swap(client.in);
    return ended || got == sizeof buffer;
  }

  size_t TakeResponses(Client& client, std::string_view data) {
    size_t taken = 0;
    while (true) {
      const std::string_view rest = data.substr(taken);
      const size_t head = rest.find("\r\n\r\n");
      if (head == std::string_view::npos) return taken;
      size_t length = 0;
      for (const std::string_view name : {"Content-Length: ", "content-length: "}) {
        const size_t at = rest.substr(0, head).find(name);
        if (at != std::string_view::npos) length = std::strtoul(rest.data() + at + name.size(), nullptr, 10);
      }
      if (rest.size() < head + 4 + length) return taken;
      taken += head + 4 + length;
      if (client.posts > 0) {
        --client.posts;
        continue;
      }
      client.polling = false;
      std::string_view body = rest.substr(head + 4, length);
      while (!body.empty()) {
        const size_t end = body.find('\x1e');
        OnPacket(client, body.substr(0, end));
        if (end == std::string_view::npos) break;
        body.remove_prefix(end + 1);
      }
      if (!client.sid.empty()) Get(client);
    }
  }

  size_t TakeFrames(Client& client, std::string_view data) {
    size_t taken = 0;
    if (client.state == State::kHandshake) {
      const size_t end = data.find("\r\n\r\n");
      if (end == std::string_view::npos) return 0;
      taken = end + 4;
      client.state = State::kOpen;
      if (options_.raw) BeReady(client);
    }
    while (data.size() - taken >= 2) {
      const auto* at = reinterpret_cast<const uint8_t*>(data.data()) + taken;
      size_t length = at[1] & 127, head = 2;
      if (length == 126) {
        if (data.size() - taken < 4) break;
        length = static_cast<size_t>(at[2]) << 8 | at[3];
        head = 4;
      }
      if (data.size() - taken < head + length) break;
      OnPacket(client, data.substr(taken + head, length));
      taken += head + length;
    }
    return taken;
  }

  void BeReady(Client& client) {
    client.state = State::kReady;
    ++ready_;
  }

  void OnPacket(Client& client, std::string_view packet) {
    if (options_.raw) return OnRaw(client, packet);
    if (packet == "2") {
      ++pings_;
      return Say(client, "3");
    }
    if (client.state != State::kReady) return OnWordBefore(client, packet);
    if (packet.substr(0, 2) == "43") {
      if (client.answered != client.asked) Answered(client);
      if (packet.substr(0, 3) == "432" && !Refused(packet)) ++grouped_;
      return;
    }
    if (packet.substr(0, 9) == "42[\"tick\"") OnTick(packet);
  }

  // 0{…} → 40 → 40{…} → subscribe → 432[…] → join → 431[…], without what wasn't asked for
  void OnWordBefore(Client& client, std::string_view packet) {
    if (packet.empty()) return;
    if (packet[0] == '0') {
      const size_t at = packet.find("\"sid\":\"");
      client.sid = packet.substr(at + 7, packet.find('"', at + 7) - at - 7);
      if (!options_.users) return Say(client, "40");
      Say(client,
          "40{\"id\":\"user-" + std::to_string(getpid()) + "-" + std::to_string(client.number) + "\"}");
    } else if (packet.substr(0, 2) == "44" || Refused(packet)) {
      std::fprintf(stderr, "refused: %.*s\n", static_cast<int>(packet.size()), packet.data());
      std::exit(Fail("refused"));
    } else if (packet.substr(0, 2) == "40" || packet.substr(0, 2) == "43") {
      Advance(client);
    }
  }

  static bool Refused(std::string_view packet) {
    return packet.find("\"success\":false") != std::string_view::npos;
  }

  void Advance(Client& client) {
    const bool with_group =
        options_.users && (options_.groups_within || options_.polling || options_.mode != "idle");
    if (with_group && client.stage == 0) {
      client.stage = 1;
      Subscribe(client);
    } else if (options_.mode == "fanout" && client.stage < 2) {
      client.stage = 2;
      Say(client, "421[\"join\",\"bench\"]");
    } else {
      if (with_group) ++grouped_;
      BeReady(client);
    }
  }

  void Subscribe(Client& client) {
    Say(client, "422[\"subscribe\",{\"subscribeGroups\":[{\"id\":\"group-" +
                    std::to_string(client.number / 100) + "\"}]}]");
  }

  void Start() {
    now_ = NowNs();
    if (options_.mode == "echo") {
      for (Client& client : clients_) {
        for (int i = 0; i < options_.under_way; ++i) Ask(client);
      }
    } else if (options_.rate <= 0) {
      for (int i = 0; i < options_.under_way; ++i) Tick();
    } else {
      next_tick_ = NowNs();
    }
  }

  void Ask(Client& client) {
    client.sent[client.asked++ % client.sent.size()] = now_;
    if (&client == reading_) {
      said_ += ask_;
    } else {
      Write(client, client.fd, ask_);
    }
  }

  void Answered(Client& client) {
    Note(now_ - client.sent[client.answered++ % client.sent.size()]);
    if (options_.mode == "echo") Ask(client);
  }

  void OnRaw(Client& client, std::string_view) {
    if (client.answered != client.asked) Answered(client);
  }

  void Tick() {
    char stamp[40];
    std::snprintf(stamp, sizeof stamp, "%016llx%08x", static_cast<unsigned long long>(NowNs()),
                  tick_ & 0xffffffffu);
    text_ = options_.raw ? "" : "42[\"emit\",\"bench\",\"tick\",\"";
    text_ += stamp;
    text_.append(static_cast<size_t>(std::max(0, options_.payload - 24)), 'x');
    if (!options_.raw) text_ += "\"]";
    missing_.push_back(options_.connections - 1);
    ++tick_;
    Say(clients_[0], text_);
  }

  void Publish() {
    while (NowNs() >= next_tick_) {
      next_tick_ += static_cast<int64_t>(1e9 / options_.rate);
      Tick();
    }
  }

  void OnTick(std::string_view packet) {
    const size_t at = packet.find(",\"") + 2;
    char number[17] = {};
    std::memcpy(number, packet.data() + at, 16);
    Note(now_ - static_cast<int64_t>(std::strtoull(number, nullptr, 16)));
    char which[9] = {};
    std::memcpy(which, packet.data() + at + 16, 8);
    const auto index = static_cast<uint32_t>(std::strtoul(which, nullptr, 16));
    if (index - first_ >= missing_.size()) return;
    if (--missing_[index - first_] > 0) return;
    while (!missing_.empty() && missing_.front() == 0) {
      missing_.pop_front();
      ++first_;
      if (options_.rate <= 0) Tick();
    }
  }

  void Note(int64_t latency) {
    ++count_;
    if (measuring_ && (count_ & 7) == 0) latencies_.push_back(latency);
  }

  int Hold() {
    std::printf("{\"ready\":%d,\"seconds\":%.3f,\"connects_per_second\":%.0f,\"load_us_cpu\":%.3f}\n", ready_,
                static_cast<double>(connected_ - began_) / 1e9,
                ready_ / (static_cast<double>(connected_ - began_) / 1e9),
                static_cast<double>(connecting_cpu_) / 1e3 / ready_);
    std::fflush(stdout);
    if (options_.users && grouped_ == 0) {
      for (Client& client : clients_) Subscribe(client);
    }
    while (options_.users && grouped_ < options_.connections) {
      if (NowNs() - began_ > kLongestNs) return Fail("not all in their groups");
      Poll(100'000'000);
    }
    std::printf("{\"settled\":%d}\n", ready_);
    std::fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    while (true) {
      Poll(100'000'000);
      char byte;
      const ssize_t got = read(0, &byte, 1);
      if (got == 0 || (got < 0 && errno != EAGAIN)) break;
    }
    std::printf("{\"lost\":%d,\"pings\":%lld,\"own_cpu_seconds\":%.2f}\n", lost_,
                static_cast<long long>(pings_), static_cast<double>(OwnCpuNs()) / 1e9);
    return 0;
  }

  int Report() {
    const double seconds = static_cast<double>(NowNs() - measured_from_) / 1e9;
    const double own_us = static_cast<double>(OwnCpuNs() - measured_cpu_from_) / 1e3;
    std::sort(latencies_.begin(), latencies_.end());
    const auto at = [&](double share) {
      if (latencies_.empty()) return 0.0;
      return static_cast<double>(
                 latencies_[static_cast<size_t>(share * static_cast<double>(latencies_.size() - 1))]) /
             1e6;
    };
    std::printf(
        "{\"per_second\":%.0f,\"count\":%lld,\"seconds\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%."
        "3f,"
        "\"connects_per_second\":%.0f,\"lost\":%d,\"load_us_cpu\":%.3f}\n",
        static_cast<double>(count_) / seconds, static_cast<long long>(count_), seconds, at(0.5), at(0.99),
        at(1.0), ready_ / (static_cast<double>(connected_ - began_) / 1e9), lost_,
        own_us / static_cast<double>(std::max<int64_t>(count_, 1)));
    return 0;
  }

  Options options_;
  int epoll_;
  std::vector<Client> clients_;
  int started_ = 0, ready_ = 0, grouped_ = 0, lost_ = 0;
  bool running_ = false, measuring_ = false;
  int64_t began_ = 0, connected_ = 0, measured_from_ = 0, now_ = 0, next_tick_ = 0;
  int64_t connecting_cpu_ = 0, measured_cpu_from_ = 0;
  int64_t count_ = 0, pings_ = 0;
  uint32_t tick_ = 0, first_ = 0;
  std::deque<int> missing_;  // of each tick that isn't everywhere yet
  std::vector<int64_t> latencies_;
  Client* reading_ = nullptr;
  std::string text_, frame_, said_, ask_, first_request_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&]() -> const char* { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--port")
      options.port = std::atoi(value());
    else if (word == "--mode")
      options.mode = value();
    else if (word == "--path")
      options.path = value();
    else if (word == "--connections")
      options.connections = std::atoi(value());
    else if (word == "--under-way")
      options.under_way = std::atoi(value());
    else if (word == "--payload")
      options.payload = std::atoi(value());
    else if (word == "--seconds")
      options.seconds = std::atof(value());
    else if (word == "--warmup")
      options.warmup = std::atof(value());
    else if (word == "--rate")
      options.rate = std::atof(value());
    else if (word == "--polling")
      options.polling = true;
    else if (word == "--raw")
      options.raw = true;
    else if (word == "--groups-within")
      options.groups_within = true;
    else if (word == "--users")
      options.users = true;
    else {
      std::fprintf(stderr, "what is %s?\n", argv[i]);
      return 2;
    }
  }
  if (options.mode == "echo" && options.polling) {
    std::fprintf(stderr, "no echo over long-polling\n");
    return 2;
  }
  if (options.mode == "back") return ComeBack(options.port, options.connections, options.path).Run();
  return Load(std::move(options)).Run();
}
