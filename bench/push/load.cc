// The load of the push benchmarks: many Socket.IO clients on one epoll loop, over WebSocket or long-polling,
// that cost less than the server they measure. One JSON line tells what came of it.
//
//   bench-push-load --port P --mode idle|echo|fanout [--connections N] [--polling] [--raw]
//     idle    connects all, says so ("ready"), holds them until its input ends
//     echo    each has --under-way requests with ack on its way
//     fanout  the first emits to a room of all others, --under-way at a time, or --rate a second
//   --seconds S after --warmup W; --payload BYTES; --raw: plain WebSocket echo, no Socket.IO
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

namespace {

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Options {
  int port = 0;
  std::string mode = "echo", path = "/socket.io/";
  int connections = 100, under_way = 1, payload = 32, connecting_most = 200;
  double seconds = 8, warmup = 2, rate = 0;
  bool polling = false, raw = false, users = false;
};

enum class State { kConnecting, kHandshake, kOpen, kJoin, kReady };

struct Client {
  int fd = -1;
  int number = 0;
  State state = State::kConnecting;
  std::string in, out, sid;
  std::deque<int64_t> sent;  // when each that waits for its ack was sent
  int post_fd = -1;          // the second connection of one that polls
  int stage = 0;             // of what it says before it is ready
};

class Load {
 public:
  explicit Load(Options options) : options_(std::move(options)), epoll_(epoll_create1(0)) {
    clients_.resize(static_cast<size_t>(options_.connections));
    latencies_.reserve(1 << 22);
  }

  int Run() {
    began_ = NowNs();
    while (true) {
      Begin();
      Poll(started_ < options_.connections || ready_ < options_.connections ? 10 : WaitMs());
      if (ready_ < options_.connections) {
        if (NowNs() - began_ > 120'000'000'000LL) return Fail("not all connected");
        continue;
      }
      if (!running_) {
        running_ = true;
        connected_ = NowNs();
        if (options_.mode == "idle") return Hold();
        Start();
      }
      if (options_.mode == "fanout" && options_.rate > 0) Publish();
      const double passed = static_cast<double>(NowNs() - connected_) / 1e9;
      if (!measuring_ && passed >= options_.warmup) {
        measuring_ = true;
        measured_from_ = NowNs();
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

  int WaitMs() const { return options_.mode == "fanout" && options_.rate > 0 ? 0 : 100; }

  void Begin() {
    while (started_ < options_.connections && started_ - ready_ < options_.connecting_most) {
      Client& client = clients_[static_cast<size_t>(started_)];
      client.number = started_++;
      client.fd = Dial(client.number);
      client.state = State::kHandshake;
      if (options_.polling) {
        Write(client, client.fd,
              "GET " + options_.path + "?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n");
      } else {
        Write(client, client.fd,
              "GET " + options_.path +
                  "?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
                  "websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
      }
    }
  }

  // From an address of its own for every 20,000, as one has no more ports.
  int Dial(int number) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(0x7f000001u + 256u * static_cast<uint32_t>(getpid() % 250) +
                                 static_cast<uint32_t>(number / 20000));
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
    fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<uint64_t>(number);
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    return fd;
  }

  void Write(Client& client, int fd, std::string_view bytes) {
    if (!client.out.empty()) {
      client.out += bytes;
      return;
    }
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    const size_t done = sent > 0 ? static_cast<size_t>(sent) : 0;
    if (done == bytes.size()) return;
    client.out = bytes.substr(done);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT;
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

  void Say(Client& client, std::string_view packet) {
    if (options_.polling) {
      std::string request = "POST " + options_.path + "?EIO=4&transport=polling&sid=" + client.sid +
                            " HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: " +
                            std::to_string(packet.size()) + "\r\n\r\n";
      request += packet;
      // Its answers are of no interest; but a server may have closed what was idle.
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
      (void)!send(client.post_fd, request.data(), request.size(), MSG_NOSIGNAL);
      return;
    }
    frame_.clear();
    AppendFrame(frame_, packet);
    Write(client, client.fd, frame_);
  }

  void Get(Client& client) {
    Write(client, client.fd,
          "GET " + options_.path + "?EIO=4&transport=polling&sid=" + client.sid +
              " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  void Poll(int wait_ms) {
    epoll_event events[1024];
    const int count = epoll_wait(epoll_, events, 1024, wait_ms);
    for (int i = 0; i < count; ++i) {
      Client& client = clients_[events[i].data.u64];
      if ((events[i].events & EPOLLOUT) != 0 && !client.out.empty()) {
        const std::string rest = std::exchange(client.out, {});
        Write(client, client.fd, rest);
        if (client.out.empty()) {
          epoll_event event{};
          event.events = EPOLLIN;
          event.data.u64 = events[i].data.u64;
          epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
        }
      }
      if ((events[i].events & ~EPOLLOUT) != 0) Read(client);
    }
  }

  void Read(Client& client) {
    static char buffer[1 << 18];
    const ssize_t got = recv(client.fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
      if (got < 0 && errno == EAGAIN) return;
      ++lost_;
      epoll_ctl(epoll_, EPOLL_CTL_DEL, client.fd, nullptr);
      close(client.fd);
      return;
    }
    now_ = NowNs();
    std::string_view data(buffer, static_cast<size_t>(got));
    if (!client.in.empty()) {
      client.in += data;
      data = client.in;
    }
    const size_t taken = options_.polling ? TakeResponses(client, data) : TakeFrames(client, data);
    if (client.in.empty()) {
      client.in = data.substr(taken);
    } else {
      client.in.erase(0, taken);
    }
    if (client.in.empty() && client.in.capacity() > 64) std::string().swap(client.in);
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
    if (packet == "2") return Say(client, "3");
    if (client.state != State::kReady) return OnWordBefore(client, packet);
    if (packet.substr(0, 2) == "43") {
      if (client.sent.empty()) return;
      Note(now_ - client.sent.front());
      client.sent.pop_front();
      if (options_.mode == "echo") Ask(client);
      return;
    }
    if (packet.substr(0, 9) == "42[\"tick\"") OnTick(packet);
  }

  // 0{…} → 40 → 40{…} → join → 431[…]
  void OnWordBefore(Client& client, std::string_view packet) {
    if (packet.empty()) return;
    if (packet[0] == '0') {
      const size_t at = packet.find("\"sid\":\"");
      client.sid = packet.substr(at + 7, packet.find('"', at + 7) - at - 7);
      Say(client, "40");
    } else if (packet.substr(0, 2) == "40") {
      if (options_.users) {
        Say(client, "421[\"auth\",{\"id\":\"user-" + std::to_string(getpid()) + "-" +
                        std::to_string(client.number) + "\"}]");
      } else if (options_.mode == "fanout") {
        Say(client, "421[\"join\",\"bench\"]");
      } else {
        BeReady(client);
      }
    } else if (packet.substr(0, 2) == "43" && options_.users && client.stage++ == 0) {
      Say(client, "422[\"subscribe\",{\"subscribeGroups\":[{\"id\":\"group-" +
                      std::to_string(client.number / 100) + "\"}]}]");
    } else if (packet.substr(0, 2) == "43") {
      BeReady(client);
    }
  }

  void Start() {
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
    client.sent.push_back(NowNs());
    text_ = options_.raw ? "" : "427[\"echo\",\"";
    text_.append(static_cast<size_t>(options_.payload), 'x');
    if (!options_.raw) text_ += "\"]";
    Say(client, text_);
  }

  void OnRaw(Client& client, std::string_view) {
    if (client.sent.empty()) return;
    Note(now_ - client.sent.front());
    client.sent.pop_front();
    Ask(client);
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
    std::printf("{\"ready\":%d,\"connect_seconds\":%.3f,\"connects_per_second\":%.0f}\n", ready_,
                static_cast<double>(connected_ - began_) / 1e9,
                ready_ / (static_cast<double>(connected_ - began_) / 1e9));
    std::fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    while (true) {
      Poll(100);
      char byte;
      const ssize_t got = read(0, &byte, 1);
      if (got == 0 || (got < 0 && errno != EAGAIN)) break;
    }
    std::printf("{\"lost\":%d}\n", lost_);
    return 0;
  }

  int Report() {
    const double seconds = static_cast<double>(NowNs() - measured_from_) / 1e9;
    std::sort(latencies_.begin(), latencies_.end());
    const auto at = [&](double share) {
      if (latencies_.empty()) return 0.0;
      return static_cast<double>(
                 latencies_[static_cast<size_t>(share * static_cast<double>(latencies_.size() - 1))]) /
             1e6;
    };
    timespec cpu{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    std::printf(
        "{\"per_second\":%.0f,\"count\":%lld,\"seconds\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%."
        "3f,"
        "\"connects_per_second\":%.0f,\"lost\":%d,\"own_cpu_seconds\":%.2f}\n",
        static_cast<double>(count_) / seconds, static_cast<long long>(count_), seconds, at(0.5), at(0.99),
        at(1.0), ready_ / (static_cast<double>(connected_ - began_) / 1e9), lost_,
        static_cast<double>(cpu.tv_sec) + static_cast<double>(cpu.tv_nsec) / 1e9);
    return 0;
  }

  Options options_;
  int epoll_;
  std::vector<Client> clients_;
  int started_ = 0, ready_ = 0, lost_ = 0;
  bool running_ = false, measuring_ = false;
  int64_t began_ = 0, connected_ = 0, measured_from_ = 0, now_ = 0, next_tick_ = 0;
  int64_t count_ = 0;
  uint32_t tick_ = 0, first_ = 0;
  std::deque<int> missing_;  // of each tick that isn't everywhere yet
  std::vector<int64_t> latencies_;
  std::string text_, frame_;
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
    else if (word == "--users")
      options.users = true;
    else {
      std::fprintf(stderr, "what is %s?\n", argv[i]);
      return 2;
    }
  }
  return Load(std::move(options)).Run();
}
