// Rows, transactions and blobs: what is written is there, whole or not at all, after whatever happens.
#include <signal.h>

#include "store/testing_store.h"

namespace muster::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Rows = StoreFolder;
using Transactions = StoreFolder;
using BlobFolder = StoreFolder;

std::string BundleOf(const std::string& sha256) {
  return R"({"files":{"./app":{"sha256":")" + sha256 + R"(","size":3,"executable":true}},"overrides":{}})";
}

TEST_F(Rows, OfAClusterComeBackAsTheyWerePut) {
  auto store = Open();
  ClusterRow row = SampleCluster("mall@rehearsal");
  row.rehearsal = true;
  row.block = 7;
  ASSERT_TRUE(store->PutCluster(SampleCluster("zoo")).ok());
  ASSERT_TRUE(store->PutCluster(row).ok());
  row.revision = 2;
  ASSERT_TRUE(store->PutCluster(row).ok());
  store.reset();

  store = Open();
  const auto clusters = store->Clusters();
  ASSERT_EQ(clusters->size(), 2u);
  const ClusterRow& found = (*clusters)[0];
  EXPECT_EQ(found.key, "mall@rehearsal");
  EXPECT_TRUE(found.rehearsal);
  EXPECT_EQ(found.block, 7);
  EXPECT_EQ(found.epoch, 3);
  EXPECT_EQ(found.revision, 2);
  EXPECT_EQ(found.placement, row.placement);
  EXPECT_EQ(store->FindCluster("zoo")->value().name, "zoo");
  EXPECT_FALSE(store->FindCluster("none")->has_value());
}

TEST_F(Rows, OfARevisionStandOnce) {
  auto store = Open();
  const RevisionRow row = SampleRevision("mall", 1, BundleOf(std::string(64, 'a')));
  ASSERT_TRUE(store->AddRevision(row).ok());
  EXPECT_EQ(store->AddRevision(row).error().code(), "revision-exists");
  const auto found = store->FindRevision("mall", 1);
  EXPECT_EQ((*found)->created, row.created);
  EXPECT_EQ((*found)->text, row.text);
  EXPECT_EQ((*found)->bundle, row.bundle);
  EXPECT_EQ((*found)->note, "revision 1");
  EXPECT_FALSE(store->FindRevision("mall", 2)->has_value());
}

TEST_F(Rows, OfRunsComeNewestFirstAndAreOverwrittenInPlace) {
  auto store = Open();
  ASSERT_TRUE(store->PutRun(SampleRun("b", "mall", 1)).ok());
  ASSERT_TRUE(store->PutRun(SampleRun("a", "mall", 2)).ok());
  RunRow ended = SampleRun("b", "mall", 1, "failed");
  ended.error = R"({"code":"x"})";
  ended.ended = WallTime(Duration(9));
  ASSERT_TRUE(store->PutRun(ended).ok());
  const auto runs = store->Runs("mall", 10);
  ASSERT_EQ(runs->size(), 2u);
  EXPECT_EQ((*runs)[0].id, "a");
  EXPECT_EQ((*runs)[1].state, "failed");
  EXPECT_EQ((*runs)[1].ended, ended.ended);
  EXPECT_EQ(store->Runs("mall", 1)->size(), 1u);
  EXPECT_EQ(store->FindRun("b")->value().error, ended.error);
}

TEST_F(Rows, OfTheJournalKeepOrderAndFirstIntent) {
  auto store = Open();
  const WallTime at5{Duration(5)}, at7{Duration(7)};
  ASSERT_TRUE(store->PutStep({.run = "r", .step = "web-2.stop", .intent = at5}).ok());
  ASSERT_TRUE(store->PutStep({.run = "r", .step = "web-1.stop", .intent = at5}).ok());
  ASSERT_TRUE(
      store->PutStep({.run = "r", .step = "web-2.stop", .intent = at7, .settled = at7, .error = "{}"}).ok());
  const auto steps = store->Steps("r");
  ASSERT_EQ(steps->size(), 2u);
  EXPECT_EQ((*steps)[0].step, "web-2.stop");
  EXPECT_EQ((*steps)[0].intent, at5);
  EXPECT_EQ((*steps)[0].settled, at7);
  EXPECT_EQ((*steps)[0].error, "{}");
  EXPECT_EQ((*steps)[1].settled, WallTime{});

  const int64_t first = *store->AddPutBack({.run = "r", .step = "1"});
  const int64_t second = *store->AddPutBack({.run = "r", .step = "2"});
  ASSERT_TRUE(store->RemovePutBack(second).ok());
  EXPECT_GT(*store->AddPutBack({.run = "r", .step = "3"}), second) << "an id is never used again";
  ASSERT_TRUE(store->RemovePutBack(first).ok());
  ASSERT_EQ(store->PutBacks("r")->size(), 1u);
  EXPECT_EQ(store->PutBacks("r")->at(0).step, "3");
}

TEST_F(Rows, OfADeletedClusterAreGoneExceptAudit) {
  auto store = Open();
  const std::string blob = Sha256Hex("abc");
  ASSERT_TRUE(store->PutBlob(blob, "abc").ok());
  for (const std::string key : {"mall", "zoo"}) {
    ASSERT_TRUE(store->PutCluster(SampleCluster(key)).ok());
    ASSERT_TRUE(store->AddRevision(SampleRevision(key, 1, key == "mall" ? BundleOf(blob) : "{}")).ok());
    ASSERT_TRUE(store->PutRun(SampleRun(key + "-run", key, 1)).ok());
    ASSERT_TRUE(store->PutStep({.run = key + "-run", .step = "s"}).ok());
    ASSERT_TRUE(store->AddPutBack({.run = key + "-run", .step = "{}"}).ok());
    ASSERT_TRUE(store->PutSecret(key, "password", "hush").ok());
    ASSERT_TRUE(store->AddAudit({.at = {}, .who = "ann", .cluster = key, .action = "up"}).ok());
  }
  ASSERT_TRUE(store->DeleteCluster("mall").ok());
  EXPECT_FALSE(store->FindCluster("mall")->has_value());
  EXPECT_THAT(*store->Revisions("mall"), IsEmpty());
  EXPECT_THAT(*store->Runs("mall", 9), IsEmpty());
  EXPECT_THAT(*store->Steps("mall-run"), IsEmpty());
  EXPECT_THAT(*store->PutBacks("mall-run"), IsEmpty());
  EXPECT_THAT(*store->Secrets("mall"), IsEmpty());
  EXPECT_FALSE(store->HasBlob(blob));
  EXPECT_EQ(store->Audit("mall", 9)->size(), 1u);
  EXPECT_EQ(store->Audit("", 9)->size(), 2u);
  EXPECT_EQ(store->Audit("", 9)->at(0).cluster, "zoo") << "newest first";
  EXPECT_EQ(store->Steps("zoo-run")->size(), 1u);
  EXPECT_EQ(store->PutBacks("zoo-run")->size(), 1u);
  EXPECT_EQ(store->Secrets("zoo")->size(), 1u);
}

// A cluster may live for years.
TEST_F(Rows, OfOldRunsAndAuditGoButNotWhatBecameOfAKeptRevision) {
  auto store = Open();
  ASSERT_TRUE(store->PutCluster(SampleCluster("mall")).ok());
  for (int64_t revision = 1; revision <= 4; ++revision) {
    ASSERT_TRUE(store->AddRevision(SampleRevision("mall", revision)).ok());
  }
  const auto restart = [](const std::string& id, const std::string& cluster) {
    RunRow row = SampleRun(id, cluster, 4, "done");
    row.action = "restart";
    return row;
  };
  const Status filled = store->Transaction([&]() -> Status {
    MUSTER_DO(store->PutRun(SampleRun("dropped-with-its-revision", "mall", 2, "done")));
    MUSTER_DO(store->PutStep({.run = "dropped-with-its-revision", .step = "s"}));
    MUSTER_DO(store->AddPutBack({.run = "dropped-with-its-revision", .step = "s"}));
    MUSTER_DO(store->PutRun(SampleRun("brought-3", "mall", 3, "done")));
    MUSTER_DO(store->PutStep({.run = "brought-3", .step = "s"}));
    MUSTER_DO(store->PutRun(SampleRun("failed-once", "mall", 4, "failed")));
    MUSTER_DO(store->PutRun(SampleRun("failed-again", "mall", 4, "failed")));
    MUSTER_DO(store->PutRun(SampleRun("waits", "mall", 4, "paused")));
    for (int i = 0; i < 1100; ++i) MUSTER_DO(store->PutRun(restart("r" + std::to_string(i), "mall")));
    for (int i = 0; i < 1100; ++i) MUSTER_DO(store->PutRun(restart("z" + std::to_string(i), "zoo")));
    for (int i = 0; i < 10'100; ++i) {
      MUSTER_DO(store->AddAudit(
          {.at = {}, .who = "ann", .cluster = "mall", .action = "exec", .detail = std::to_string(i)}));
    }
    return store->AddAudit({.at = {}, .who = "ann", .cluster = "zoo", .action = "up"});
  });
  ASSERT_TRUE(filled.ok()) << filled.error().Text();

  ASSERT_TRUE(store->KeepRevisions("mall", 2).ok());

  EXPECT_EQ(store->Runs("mall", 9999)->size(), 1003u);
  for (const char* id : {"brought-3", "failed-again", "waits", "r100", "r1099"}) {
    EXPECT_TRUE(store->FindRun(id)->has_value()) << id;
  }
  for (const char* id : {"dropped-with-its-revision", "failed-once", "r0", "r99"}) {
    EXPECT_FALSE(store->FindRun(id)->has_value()) << id;
  }
  EXPECT_EQ(store->Steps("brought-3")->size(), 1u);
  EXPECT_THAT(*store->Steps("dropped-with-its-revision"), IsEmpty());
  EXPECT_THAT(*store->PutBacks("dropped-with-its-revision"), IsEmpty());
  EXPECT_EQ(store->Runs("zoo", 9999)->size(), 1100u) << "another cluster's";
  const auto audit = store->Audit("mall", 99'999);
  ASSERT_EQ(audit->size(), 10'000u);
  EXPECT_EQ(audit->front().detail, "10099");
  EXPECT_EQ(audit->back().detail, "100");
  EXPECT_EQ(store->Audit("zoo", 9)->size(), 1u);
}

TEST_F(Rows, OfAuditAreBoundedWithoutAnyRun) {
  auto store = Open();
  const Status filled = store->Transaction([&]() -> Status {
    for (int i = 0; i < 10'350; ++i) {
      MUSTER_DO(store->AddAudit({.at = {}, .who = "agent of a", .cluster = "mall", .action = "died"}));
    }
    return Done();
  });
  ASSERT_TRUE(filled.ok()) << filled.error().Text();
  EXPECT_EQ(store->Audit("mall", 99'999)->size(), 10'050u);
}

TEST_F(Transactions, LeaveNothingWhereOneWriteFails) {
  auto store = Open();
  const Status status = store->Transaction([&]() -> Status {
    MUSTER_DO(store->PutCluster(SampleCluster()));
    MUSTER_DO(store->AddRevision(SampleRevision("mall", 1)));
    return store->AddRevision(SampleRevision("mall", 1));
  });
  EXPECT_EQ(status.error().code(), "revision-exists");
  EXPECT_THAT(*store->Clusters(), IsEmpty());
  EXPECT_THAT(*store->Revisions("mall"), IsEmpty());
}

TEST_F(Transactions, InnerOnesFailByThemselves) {
  auto store = Open();
  const Status status = store->Transaction([&]() -> Status {
    MUSTER_DO(store->PutCluster(SampleCluster()));
    const Status inner = store->Transaction([&]() -> Status {
      MUSTER_DO(store->PutCluster(SampleCluster("zoo")));
      return Error::Conflict("no", "no");
    });
    EXPECT_EQ(inner.error().code(), "no");
    return Done();
  });
  ASSERT_TRUE(status.ok());
  ASSERT_EQ(store->Clusters()->size(), 1u);
  EXPECT_EQ(store->Clusters()->at(0).key, "mall");
}

TEST_F(Transactions, ThrownThroughAreRolledBackAndTheNextOneWorks) {
  auto store = Open();
  EXPECT_THROW((void)store->Transaction([&]() -> Status {
    EXPECT_TRUE(store->PutCluster(SampleCluster()).ok());
    throw std::runtime_error("bug");
  }),
               std::runtime_error);
  EXPECT_THAT(*store->Clusters(), IsEmpty());
  EXPECT_TRUE(store->PutCluster(SampleCluster()).ok());
}

TEST_F(Transactions, OfAKilledServerAreWholeOrNotThere) {
  // Enough rows that SQLite spills pages into the log before the commit.
  const auto write = [](Store& store, const std::string& key, bool die) {
    return store.Transaction([&]() -> Status {
      for (int64_t i = 1; i <= 2000; ++i) {
        RevisionRow row = SampleRevision(key, i);
        row.text.assign(4000, 'x');
        MUSTER_DO(store.AddRevision(row));
      }
      if (die) kill(getpid(), SIGKILL);
      return store.PutCluster(SampleCluster(key));
    });
  };
  const int status = InChild([&] {
    auto store = Store::Open(folder.string());
    if (!store.ok() || !write(**store, "whole", false).ok()) _exit(1);
    (void)write(**store, "half", true);
  });
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;

  auto store = Open();
  ASSERT_EQ(store->Clusters()->size(), 1u);
  EXPECT_EQ(store->Clusters()->at(0).key, "whole");
  EXPECT_EQ(store->Revisions("whole")->size(), 2000u);
  EXPECT_THAT(*store->Revisions("half"), IsEmpty());
}

#ifdef MUSTER_FAULT_POINTS
TEST_F(Transactions, AreDecidedAtTheCommit) {
  for (const auto& [point, there] : {std::pair("store.before-commit", 0u), {"store.after-commit", 1u}}) {
    Open().reset();
    const int status = InChild([&, point = point] {
      auto store = Store::Open(folder.string());
      setenv("MUSTER_FAULT", point, 1);
      (void)(*store)->PutCluster(SampleCluster());
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << point;
    EXPECT_EQ(Open()->Clusters()->size(), there) << point;
  }
}
#endif

TEST_F(BlobFolder, TakesOnlyWhatItIsCalled) {
  auto store = Open();
  const std::string name = Sha256Hex("abc");
  EXPECT_EQ(store->PutBlob(name, "abd").error().code(), "digest-differs");
  EXPECT_EQ(store->PutBlob("../../x", "abd").error().code(), "digest-differs");
  EXPECT_FALSE(store->HasBlob(name));
  ASSERT_TRUE(store->PutBlob(name, "abc").ok());
  EXPECT_TRUE(store->HasBlob(name));
  EXPECT_EQ(ReadFile(store->BlobPath(name)).value(), "abc");
  EXPECT_FALSE(store->HasBlob("../muster.db"));
  EXPECT_EQ(store->BlobPath("../muster.db"), "");
}

TEST_F(BlobFolder, ReplacesADamagedOneAndForgetsHalfWrittenOnes) {
  auto store = Open();
  const std::string name = Sha256Hex("abc");
  ASSERT_TRUE(store->PutBlob(name, "abc").ok());
  ASSERT_TRUE(WriteFile(store->BlobPath(name), "ab").ok());
  ASSERT_TRUE(store->PutBlob(name, "abc").ok());
  EXPECT_EQ(FileSha256(store->BlobPath(name)).value(), name);
  ASSERT_TRUE(WriteFile(folder / "blobs" / (name + ".1234.tmp"), "a").ok());
  store.reset();
  store = Open();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "blobs"), fs::directory_iterator()), 1);
}

TEST_F(BlobFolder, LosesWhatNoKeptRevisionNames) {
  auto store = Open();
  std::vector<std::string> blobs;
  for (int64_t i = 1; i <= 4; ++i) {
    const std::string bytes = "artifact " + std::to_string(i);
    blobs.push_back(Sha256Hex(bytes));
    ASSERT_TRUE(store->PutBlob(blobs.back(), bytes).ok());
    ASSERT_TRUE(store->AddRevision(SampleRevision("mall", i, BundleOf(blobs.back()))).ok());
  }
  // Another cluster uses the first one too; the second is the one that a paused run was leading to.
  ASSERT_TRUE(store->AddRevision(SampleRevision("zoo", 1, BundleOf(blobs[0]))).ok());
  ASSERT_TRUE(store->PutRun(SampleRun("r", "mall", 2, "paused")).ok());
  ClusterRow cluster = SampleCluster();
  cluster.revision = 4;
  ASSERT_TRUE(store->PutCluster(cluster).ok());

  ASSERT_TRUE(store->KeepRevisions("mall", 1).ok());
  std::vector<int64_t> kept;
  const auto rows = store->Revisions("mall");
  for (const RevisionRow& row : *rows) kept.push_back(row.number);
  EXPECT_THAT(kept, ElementsAre(2, 4));
  EXPECT_TRUE(store->HasBlob(blobs[0]));
  EXPECT_TRUE(store->HasBlob(blobs[1]));
  EXPECT_FALSE(store->HasBlob(blobs[2]));
  EXPECT_TRUE(store->HasBlob(blobs[3]));
}

TEST_F(BlobFolder, KeepsWhatWasUploadedForARevisionToCome) {
  auto store = Open();
  const std::string blob = Sha256Hex("new artifact");
  ASSERT_TRUE(store->PutBlob(blob, "new artifact").ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 1)).ok());
  ASSERT_TRUE(store->KeepRevisions("mall", 1).ok());
  EXPECT_TRUE(store->HasBlob(blob));
  store.reset();  // The promise ends with the server: whoever uploaded begins again.
  store = Open();
  ASSERT_TRUE(store->KeepRevisions("mall", 1).ok());
  EXPECT_FALSE(store->HasBlob(blob));
}

TEST_F(BlobFolder, LosesNothingInATransactionThatFails) {
  auto store = Open();
  const std::string blob = Sha256Hex("abc");
  ASSERT_TRUE(store->PutBlob(blob, "abc").ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 1, BundleOf(blob))).ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 2)).ok());
  const Status status = store->Transaction([&]() -> Status {
    MUSTER_DO(store->KeepRevisions("mall", 1));
    return Error::Conflict("no", "no");
  });
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(store->Revisions("mall")->size(), 2u);
  EXPECT_TRUE(store->HasBlob(blob));
}

TEST_F(BlobFolder, IsLeftAloneWhereARevisionCannotBeRead) {
  auto store = Open();
  const std::string blob = Sha256Hex("abc");
  ASSERT_TRUE(store->PutBlob(blob, "abc").ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 1, "{\"files\":")).ok());
  EXPECT_EQ(store->KeepRevisions("mall", 1).error().code(), "store-corrupt");
  EXPECT_TRUE(store->HasBlob(blob));
}

}  // namespace
}  // namespace muster::store
