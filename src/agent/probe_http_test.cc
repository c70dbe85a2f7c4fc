// What a probe over HTTP takes of an answer: its status. What one by a command says of its failure.
#include <gtest/gtest.h>

#include "agent/probe.h"
#include "net/http.h"

namespace muster::agent {
namespace {

class ProbeHttp : public ::testing::Test {
 protected:
  static net::Task<void> Stream(ProbeHttp* self, net::Exchange& exchange) {
    const Status begun = co_await exchange.Start(self->head);
    if (!begun.ok()) co_return;
    while (self->written < self->most) {
      std::string chunk(64u << 10, 'x');
      self->written += chunk.size();
      const Status written = co_await exchange.Write(std::move(chunk));
      if (!written.ok()) co_return;  // the client has left
    }
    if (!self->ends) co_await self->loop.Sleep(60s);
    const Status finished = co_await exchange.Finish();
    (void)finished;
  }
  Status Ask() {
    auto listening = net::HttpServer::Listen(
        loop, {.host = "127.0.0.1"}, [this](net::Exchange& exchange) { return Stream(this, exchange); });
    EXPECT_TRUE(listening.ok());
    Prober::Target target;
    target.probe.kind = Probe::Kind::kHttp;
    target.probe.port = (*listening)->port();
    target.probe.timeout = 10s;
    target.address = "127.0.0.1";
    target.folder = "/tmp";
    Status seen = Error::Internal("never", "it never came to an end");
    const auto prober = Prober::Start(loop, std::move(target), true, [&](Status status) {
      seen = std::move(status);
      loop.Stop();
    });
    const auto late = loop.After(20s, [this] { loop.Stop(); });
    loop.Run();
    loop.Cancel(late);
    prober->Stop();
    loop.EndTasks();
    return seen;
  }

  net::Loop loop;
  net::Response head;
  size_t written = 0, most = 0;
  bool ends = true;
};

TEST_F(ProbeHttp, LeavesAnAnswerWithoutEndAfterItsFirstBytes) {
  most = SIZE_MAX;
  const Status seen = Ask();
  EXPECT_TRUE(seen.ok()) << seen.error().Text();
  EXPECT_LT(written, 32u << 20) << "what the sockets hold, and no more";
}

TEST_F(ProbeHttp, DoesNotWaitForABodyThatNeverComes) {
  ends = false;
  const Time begun = Now();
  const Status seen = Ask();
  EXPECT_TRUE(seen.ok()) << seen.error().Text();
  EXPECT_LT(Now() - begun, 5s);
}

TEST_F(ProbeHttp, TellsTheStatusOfAFailureWithoutItsBody) {
  most = SIZE_MAX;
  head.status = 503;
  const Status seen = Ask();
  ASSERT_FALSE(seen.ok());
  EXPECT_EQ(seen.error().code(), "probe-failed");
  EXPECT_LT(written, 32u << 20);
}

TEST(ProbeCommand, TellsTheCommandAsItWasRun) {
  net::Loop loop;
  Prober::Target target;
  target.probe = {.kind = Probe::Kind::kCommand, .target = "test -e {folder}/it's", .timeout = 10s};
  target.command = {"sh", "-c", "echo \"$0\" >&2; exit 3", "/srv/it's", ""};
  target.folder = "/tmp";
  const Status seen = loop.RunTask(Prober::Ask(loop, target));
  ASSERT_FALSE(seen.ok());
  EXPECT_EQ(seen.error().message(),
            "sh -c 'echo \"$0\" >&2; exit 3' '/srv/it'\\''s' '' ended with 3: /srv/it's");
}

}  // namespace
}  // namespace muster::agent
