// What the machine itself takes for the same load: a server that reads, looks at the first bytes and writes
// what a Socket.IO server would, and does nothing else. It keeps no session, checks nothing, expects every
// frame whole and short, and forgets what a full socket didn't take. No real server can be cheaper by this
// way to the kernel.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int kEventsMost = 1024;

std::vector<int> members;  // of the one room there is
char buffer[1 << 18];
std::string answer, broadcast;

void AppendFrame(std::string& out, std::string_view head, std::string_view rest) {
  out += '\x81';
  out += static_cast<char>(head.size() + rest.size());
  out += head;
  out += rest;
}

void TakeMessage(int fd, std::string_view message) {
  constexpr std::string_view kEcho = "427[\"echo\",", kEmit = "42[\"emit\",\"bench\",";
  if (message.starts_with(kEcho)) {
    AppendFrame(answer, "437[", message.substr(kEcho.size()));
  } else if (message.starts_with(kEmit)) {
    AppendFrame(broadcast, "42[", message.substr(kEmit.size()));
  } else if (message == "40") {
    AppendFrame(answer, "40{}", "");
  } else if (message.starts_with("421[\"join\"")) {
    members.push_back(fd);
    AppendFrame(answer, "431[]", "");
  }
}

void Read(int fd) {
  const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
  if (got <= 0) {
    std::erase(members, fd);
    close(fd);
    return;
  }
  answer.clear();
  broadcast.clear();
  if (buffer[0] == 'G') {
    answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    AppendFrame(answer, "0{\"sid\":\"x\"}", "");
  }
  // The load masks with zeros.
  for (char* at = buffer; buffer[0] != 'G' && at + 6 <= buffer + got;) {
    const auto length = static_cast<size_t>(at[1] & 127);
    TakeMessage(fd, {at + 6, length});
    at += 6 + length;
  }
  if (!answer.empty()) (void)!send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
  if (broadcast.empty()) return;
  for (const int member : members) {
    if (member != fd) (void)!send(member, broadcast.data(), broadcast.size(), MSG_NOSIGNAL);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&place), sizeof place) != 0 || listen(listener, 4096) != 0) {
    std::perror("listen");
    return 1;
  }
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  while (true) {
    epoll_event events[kEventsMost];
    const int count = epoll_wait(epoll, events, kEventsMost, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd != listener) {
        Read(events[i].data.fd);
        continue;
      }
      for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        event = {.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}
