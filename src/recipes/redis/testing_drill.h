// What tests of drill clients share, over a fixture that starts real servers.
#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "recipes/drill.h"
#include "recipes/redis/testing_redis.h"

namespace muster::redis {

// `Base` is RedisTest, or what is made of it.
template <class Base>
class DrillTest : public Base {
 protected:
  void TearDown() override {
    client.reset();
    Base::TearDown();
  }

  const std::vector<DrillRange>& ranges() { return client->ledger().ranges(); }
  bool AllHave(size_t acknowledged) {
    return this->Eventually([&] {
      return std::all_of(ranges().begin(), ranges().end(), [&](const DrillRange& range) {
        return range.plain.acknowledged.size() >= acknowledged;
      });
    });
  }
  bool AllServeAgain() {
    const Time since = Now();
    return this->Eventually([&] { return client->ledger().AllServe(since, Now(), 500ms); });
  }
  void Stop() { EXPECT_TRUE(this->loop_.RunTask(Ending())); }
  void End() {
    client->ledger().Ended(Now());
    Stop();
    const Status read = this->loop_.RunTask(client->ReadBack());
    EXPECT_TRUE(read.ok()) << read.error().Text();
  }
  void CleanUp() {
    const Status removed = this->loop_.RunTask(client->CleanUp());
    EXPECT_TRUE(removed.ok()) << removed.error().Text();
  }

  std::shared_ptr<DrillClient> client;

 private:
  net::Task<bool> Ending() {
    co_await client->End();
    co_return true;
  }
};

}  // namespace muster::redis
