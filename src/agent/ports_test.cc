// Real listeners of this process, found by port, address and pid.
#include "agent/ports.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

using ::testing::HasSubstr;

struct Socket {
  Fd fd;
  int port = 0;
};

// A socket bound to a free port of `address`, or to `port`.
Socket Bound(const std::string& address, int type = SOCK_STREAM, int port = 0) {
  Socket made{.fd = Fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0))};
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(port));
  EXPECT_EQ(::inet_pton(AF_INET, address.c_str(), &name.sin_addr), 1);
  EXPECT_EQ(::bind(made.fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  socklen_t size = sizeof name;
  EXPECT_EQ(::getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  made.port = ntohs(name.sin_port);
  return made;
}
Socket Listening(const std::string& address) {
  Socket made = Bound(address);
  EXPECT_EQ(::listen(made.fd.get(), 1), 0);
  return made;
}
// The same on an IPv6 socket, as a JVM opens them; port 0 where this machine has no IPv6.
Socket Listening6(const std::string& address) {
  Socket made{.fd = Fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  const int both = 0;
  ::setsockopt(made.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both);
  EXPECT_EQ(::inet_pton(AF_INET6, address.c_str(), &name.sin6_addr), 1);
  if (::bind(made.fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) return made;
  EXPECT_EQ(::listen(made.fd.get(), 1), 0);
  socklen_t size = sizeof name;
  EXPECT_EQ(::getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  made.port = ntohs(name.sin6_port);
  return made;
}

Instance On(const std::string& address, PortRange range) {
  Instance instance;
  instance.name = "web-1";
  instance.service = "web";
  instance.address = address;
  instance.ports = {{"http", range}};
  return instance;
}
std::string CodeOf(const Status& status) { return status.ok() ? "" : status.error().code(); }

TEST(CheckPortsFree, NamesThePortAndWhoHasIt) {
  const Socket taken = Listening("127.0.0.1");
  const Status status = CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), "port-taken");
  EXPECT_EQ(status.error().kind(), ErrorKind::kConflict);
  EXPECT_THAT(
      status.error().message(),
      HasSubstr(fmt::format("port {} of web-1 on 127.0.0.1 is taken by pid {} (", taken.port, getpid())));
  EXPECT_EQ(status.error().hint(), "stop that process, or give web another port");
}

// Nobody is told to end what muster runs itself.
TEST(CheckPortsFree, NamesTheInstanceWhoseProcessHasIt) {
  const std::string folder = fs::temp_directory_path() / ("muster-ports-" + RandomHex(6));
  const std::string data = folder + "/hosts/shop/h1/instances/cache-2/data";
  fs::create_directories(data);
  const fs::path before = fs::current_path();
  fs::current_path(data);
  const Socket taken = Listening("127.0.0.1");
  const Status status = CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {});
  fs::current_path(before);
  fs::remove_all(folder);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message(), HasSubstr("is taken by cache-2 of the cluster shop, pid"));
  EXPECT_EQ(status.error().hint(),
            "give web another port: muster keeps cache-2 running, muster ps -c shop shows it");
}

TEST(CheckListener, KnowsAStrangerFromItsOwn) {
  const Socket listening = Listening("127.0.0.1");
  const Instance instance = On("127.0.0.1", {});
  EXPECT_EQ(CodeOf(CheckListener(instance, listening.port, {1, getpid()})), "");
  const Status status = CheckListener(instance, listening.port, {1});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), "port-taken");
  EXPECT_THAT(
      status.error().message(),
      HasSubstr(fmt::format("port {} of web-1 on 127.0.0.1 is taken by pid {} (", listening.port, getpid())));
  // On another address, or where nobody listens that can be seen, nothing is known against it.
  EXPECT_EQ(CodeOf(CheckListener(On("127.77.9.9", {}), listening.port, {1})), "");
  const int port = Bound("127.0.0.1").port;
  EXPECT_EQ(CodeOf(CheckListener(instance, port, {1})), "");
}

TEST(CheckListener, LooksAtWhoIsGivenTheConnections) {
  const Socket all = Listening("0.0.0.0");
  EXPECT_EQ(CodeOf(CheckListener(On("127.0.0.1", {}), all.port, {1})), "port-taken");
  EXPECT_EQ(CodeOf(CheckListener(On("127.0.0.1", {}), all.port, {getpid()})), "");
}

TEST(CheckListeners, LooksAtAllPorts) {
  const Socket listening = Listening("127.0.0.1");
  const Instance instance = On("127.0.0.1", {.first = listening.port - 1, .count = 3});
  EXPECT_EQ(CodeOf(CheckListeners(instance, {1})), "port-taken");
  EXPECT_EQ(CodeOf(CheckListeners(instance, {1, getpid()})), "");
  EXPECT_EQ(CodeOf(CheckListeners(On("127.0.0.1", {.first = listening.port, .udp = true}), {1})), "");
}

TEST(CheckUdpOpen, FindsWhoHasThePort) {
  const Socket open = Bound("127.0.0.1", SOCK_DGRAM);
  const Instance instance = On("127.0.0.1", {.first = open.port, .udp = true});
  EXPECT_EQ(CodeOf(CheckUdpOpen(instance, open.port, {1, getpid()})), "");
  EXPECT_EQ(CodeOf(CheckUdpOpen(instance, open.port, {1})), "port-taken");
  EXPECT_EQ(CodeOf(CheckUdpOpen(On("127.77.9.9", {}), open.port, {getpid()})), "port-closed");
  const Socket all = Bound("0.0.0.0", SOCK_DGRAM);
  EXPECT_EQ(CodeOf(CheckUdpOpen(instance, all.port, {getpid()})), "");
}

TEST(CheckUdpOpen, TakesNoTcpListenerForIt) {
  const Socket listening = Listening("127.0.0.1");
  EXPECT_EQ(CodeOf(CheckUdpOpen(On("127.0.0.1", {}), listening.port, {getpid()})), "port-closed");
}

TEST(CheckPortsFree, FindsAListenerInTheMiddleOfARange) {
  const Socket taken = Listening("127.0.0.1");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port - 1, .count = 3}), {})), "port-taken");
}

TEST(CheckPortsFree, FindsAListenerOnAllAddresses) {
  const Socket taken = Listening("0.0.0.0");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {})), "port-taken");
}

TEST(CheckPortsFree, FindsAnIpv6ListenerOnAllAddresses) {
  const Socket taken = Listening6("::");
  if (taken.port == 0) GTEST_SKIP() << "no IPv6 here";
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {})), "port-taken");
}

TEST(CheckPortsFree, FindsAnIpv6SocketOnAnIpv4Address) {
  const Socket taken = Listening6("::ffff:127.0.0.1");
  if (taken.port == 0) GTEST_SKIP() << "no IPv6 here";
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {})), "port-taken");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.2", {.first = taken.port}), {})), "");
}

TEST(CheckPortsFree, LetsAFreePortPass) {
  const Socket bound_only = Bound("127.0.0.1");  // nobody listens there
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = bound_only.port}), {})), "");
}

TEST(CheckPortsFree, LetsAPortPassOnceItsListenerIsGone) {
  Socket taken = Listening("127.0.0.1");
  ASSERT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {})), "port-taken");
  taken.fd.Reset();
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {})), "");
}

TEST(CheckPortsFree, LetsItsOwnListenersPass) {
  const Socket taken = Listening("127.0.0.1");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {getpid()})), "");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {getpid() + 1})), "port-taken");
}

TEST(CheckPortsFree, LetsTheSamePortOfAnotherAddressPass) {
  const Socket taken = Listening("127.0.0.2");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = taken.port}), {})), "");
}

TEST(CheckPortsFree, DoesNotTakeAConnectionForAListener) {
  const Socket listener = Listening("127.0.0.1");
  const Socket client = Bound("127.0.0.3");
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(listener.port));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(client.fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.3", {.first = client.port}), {})), "");
}

TEST(CheckPortsFree, LeavesUdpAlone) {
  const Socket tcp = Listening("127.0.0.1");
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = tcp.port, .udp = true}), {})), "");
  // A number whose TCP side is nobody's: held by a socket that doesn't listen.
  const Socket held = Bound("127.0.0.1");
  const Socket udp = Bound("127.0.0.1", SOCK_DGRAM, held.port);
  EXPECT_EQ(CodeOf(CheckPortsFree(On("127.0.0.1", {.first = udp.port}), {})), "");
}

TEST(CheckPortsFree, AsksNothingWhereThereAreNoPorts) { EXPECT_TRUE(CheckPortsFree(Instance{}, {}).ok()); }

}  // namespace
}  // namespace muster::agent
