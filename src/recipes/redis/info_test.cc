#include "recipes/redis/info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::redis {
namespace {

using ::testing::ElementsAre;

ServerInfo Read(std::string_view text) {
  const auto info = ParseInfo(text);
  EXPECT_TRUE(info.ok()) << info.error().Text();
  return info.ok() ? *info : ServerInfo{};
}

TEST(Info, TellsAMasterItsReplicasAndItsOffset) {
  const ServerInfo info = Read(
      "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nprocess_id:8915\r\n"
      "run_id:6d4b725db4be204926fcf54091985cce60f210b0\r\ntcp_port:17104\r\nuptime_in_seconds:2\r\nconfig_"
      "file:\r\n"
      "\r\n# Clients\r\nconnected_clients:3\r\nmaxclients:10000\r\n"
      "\r\n# Memory\r\nused_memory:1821384\r\nused_memory_human:1.74M\r\nmaxmemory:104857600\r\n"
      "maxmemory_policy:noeviction\r\n"
      "\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n"
      "slave0:ip=127.0.0.1,port=17103,state=online,offset=50,lag=0\r\n"
      "slave1:ip=::1,port=17105,state=wait_bgsave,offset=0,lag=3\r\n"
      "master_failover_state:no-failover\r\nmaster_replid:4673927f431df9505ade11810b93d4ac831d796f\r\n"
      "master_repl_offset:57\r\nsecond_repl_offset:-1\r\n"
      "\r\n# Keyspace\r\ndb0:keys=10,expires=2,avg_ttl=0\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n");
  EXPECT_EQ(info.version, "7.0.15");
  EXPECT_EQ(info.mode, "standalone");
  EXPECT_EQ(info.pid, 8915);
  EXPECT_EQ(info.run_id, "6d4b725db4be204926fcf54091985cce60f210b0");
  EXPECT_EQ(info.port, 17104);
  EXPECT_EQ(info.clients, 3);
  EXPECT_EQ(info.used_memory, 1821384);
  EXPECT_EQ(info.max_memory, 104857600);
  EXPECT_TRUE(info.master);
  EXPECT_FALSE(info.replica);
  EXPECT_EQ(info.offset, 57);
  EXPECT_EQ(info.replication_id, "4673927f431df9505ade11810b93d4ac831d796f");
  EXPECT_THAT(
      info.replicas,
      ElementsAre(
          ReplicaLink{.address = "127.0.0.1", .port = 17103, .state = "online", .offset = 50, .lag_s = 0},
          ReplicaLink{.address = "::1", .port = 17105, .state = "wait_bgsave", .lag_s = 3}));
  EXPECT_EQ(info.keys, 11);
}

TEST(Info, TellsAReplicaItsLinkAndWhatItHasTakenOver) {
  const ServerInfo info = Read(
      "# "
      "Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:17104\r\nmaster_link_status:down\r\n"
      "master_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:1\r\nslave_read_repl_offset:60\r\n"
      "slave_repl_offset:50\r\nmaster_link_down_since_seconds:7\r\nslave_priority:100\r\nslave_read_only:"
      "1\r\n"
      "connected_slaves:0\r\nmaster_repl_offset:49\r\n");
  EXPECT_TRUE(info.replica);
  EXPECT_FALSE(info.master);
  EXPECT_EQ(info.master_host, "127.0.0.1");
  EXPECT_EQ(info.master_port, 17104);
  EXPECT_FALSE(info.link_up);
  EXPECT_EQ(info.link_down_s, 7);
  EXPECT_EQ(info.last_io_s, -1);
  EXPECT_TRUE(info.syncing);
  EXPECT_TRUE(info.read_only);
  EXPECT_EQ(info.offset, 50);
  EXPECT_TRUE(info.replicas.empty());
}

TEST(Info, TellsWhatIsWrongWithTheDisk) {
  const ServerInfo info = Read(
      "# Persistence\r\nloading:1\r\nloading_eta_seconds:4\r\nrdb_changes_since_last_save:9\r\n"
      "rdb_bgsave_in_progress:1\r\nrdb_last_bgsave_status:err\r\naof_enabled:1\r\naof_rewrite_in_progress:"
      "1\r\n"
      "aof_last_bgrewrite_status:err\r\naof_last_write_status:err\r\n");
  EXPECT_TRUE(info.loading);
  EXPECT_EQ(info.loading_eta_s, 4);
  EXPECT_TRUE(info.saving);
  EXPECT_FALSE(info.last_save_ok);
  EXPECT_TRUE(info.aof);
  EXPECT_TRUE(info.rewriting);
  EXPECT_FALSE(info.last_rewrite_ok);
  EXPECT_FALSE(info.last_write_ok);
  EXPECT_EQ(info.changes_unsaved, 9);
  // What wasn't asked for isn't wrong.
  const ServerInfo nothing = Read("# Keyspace\r\n");
  EXPECT_TRUE(nothing.last_write_ok);
  EXPECT_FALSE(nothing.master);
  EXPECT_EQ(nothing.keys, 0);
}

TEST(Info, RefusesWhatIsNoSuchAnswer) {
  for (const char* text : {"", "hello", "master_repl_offset:many\r\n", "slave0:ip=a,port=x\r\n",
                           "db0:keys=-1\r\n", "db0:keys=9223372036854775807\r\ndb1:keys=1\r\n"}) {
    const auto info = ParseInfo(text);
    ASSERT_FALSE(info.ok()) << text;
    EXPECT_EQ(info.error().code(), "bad-answer");
  }
}

}  // namespace
}  // namespace muster::redis
