// Opening: two servers, older and newer stores, damaged files, a full disk.
#include <sched.h>
#include <sys/mount.h>

#include "store/database.h"
#include "store/schema.h"
#include "store/testing_store.h"

namespace muster::store {
namespace {

using ::testing::HasSubstr;

class Opening : public StoreFolder {
 protected:
  std::string DatabasePath() const { return (folder / "muster.db").string(); }
  void Fill() {
    auto store = Open();
    for (int64_t i = 1; i <= 200; ++i) {
      RevisionRow row = SampleRevision("mall", i);
      row.text.assign(3000, 'x');
      ASSERT_TRUE(store->AddRevision(row).ok());
    }
  }
};

TEST_F(Opening, IsForOneServerAtATime) {
  auto store = Open();
  const auto second = Store::Open(folder.string());
  ASSERT_EQ(second.error().code(), "store-locked");
  EXPECT_EQ(second.error().kind(), ErrorKind::kConflict);
  EXPECT_THAT(second.error().message(), HasSubstr(std::to_string(getpid())));
  store.reset();
  EXPECT_EQ(CodeOfOpening(), "");
}

TEST_F(Opening, OfATruncatedFileSaysSoAndLeavesIt) {
  Fill();
  const auto whole = fs::file_size(DatabasePath());
  const std::string bytes = ReadFile(DatabasePath()).value();
  for (const uintmax_t size : {whole - 4096, whole / 2, uintmax_t{5000}, uintmax_t{100}, uintmax_t{0}}) {
    ASSERT_TRUE(WriteFile(DatabasePath(), bytes.substr(0, size)).ok());
    const auto opened = Store::Open(folder.string());
    ASSERT_FALSE(opened.ok()) << size;
    EXPECT_EQ(opened.error().code(), "store-corrupt") << size << opened.error().Text();
    EXPECT_NE(opened.error().hint(), "") << size;
    EXPECT_EQ(fs::file_size(DatabasePath()), size);
  }
  fs::remove(DatabasePath());
  EXPECT_EQ(CodeOfOpening(), "store-corrupt") << "gone, though the key is there";
  ASSERT_TRUE(WriteFile(DatabasePath(), bytes).ok());
  EXPECT_EQ(Open()->Revisions("mall")->size(), 200u);
}

TEST_F(Opening, OfSomethingElseSaysSo) {
  Fill();
  std::string bytes = ReadFile(DatabasePath()).value();
  ASSERT_TRUE(WriteFile(DatabasePath(), std::string(8192, 'z')).ok());
  EXPECT_EQ(CodeOfOpening(), "store-corrupt");
  bytes.replace(4096, 8192, std::string(8192, '\xff'));
  ASSERT_TRUE(WriteFile(DatabasePath(), bytes).ok());
  EXPECT_EQ(CodeOfOpening(), "store-corrupt") << "pages in the middle";
  fs::remove(DatabasePath());
  {
    auto other = Database::Open(DatabasePath());
    ASSERT_TRUE((*other)->Execute("CREATE TABLE bookmarks(url TEXT); PRAGMA user_version=1").ok());
  }
  EXPECT_EQ(CodeOfOpening(), "store-corrupt") << "a database, but not a store";
}

TEST_F(Opening, OfANewerStoreIsRefusedAndChangesNothing) {
  Fill();
  {
    auto database = Database::Open(DatabasePath());
    ASSERT_TRUE((*database)->Execute("PRAGMA user_version=99").ok());
  }
  const std::string before = FileSha256(DatabasePath()).value();
  const auto opened = Store::Open(folder.string());
  ASSERT_EQ(opened.error().code(), "store-newer");
  EXPECT_EQ(opened.error().kind(), ErrorKind::kRefused);
  EXPECT_THAT(opened.error().message(), HasSubstr("99"));
  EXPECT_EQ(FileSha256(DatabasePath()).value(), before);
}

class Migrating : public Opening {
 protected:
  Migrating() {
    later = Migrations();
    version = later.back().to;
    later.push_back({version + 1, "ALTER TABLE clusters ADD COLUMN color TEXT NOT NULL DEFAULT 'red'"});
  }
  std::string CopyPath() const { return DatabasePath() + ".v" + std::to_string(version); }
  std::vector<Migration> later;
  int64_t version = 0;
};

TEST_F(Migrating, CopiesTheOlderStoreFirst) {
  { ASSERT_TRUE(Open()->PutCluster(SampleCluster()).ok()); }
  {
    auto database = Database::Open(DatabasePath());
    ASSERT_TRUE(Migrate(**database, later).ok());
    EXPECT_EQ(*(*database)->Number("PRAGMA user_version"), version + 1);
    EXPECT_EQ(*(*database)->Number("SELECT count(*) FROM clusters WHERE color='red'"), 1);
  }
  EXPECT_EQ(CodeOfOpening(), "store-newer");
  // The copy is a store of its own, which the older program opens.
  fs::rename(CopyPath(), DatabasePath());
  EXPECT_EQ(Open()->Clusters()->size(), 1u);
}

TEST_F(Migrating, ThatFailsLeavesTheOlderStore) {
  { ASSERT_TRUE(Open()->PutCluster(SampleCluster()).ok()); }
  later.push_back({version + 2, "ALTER TABLE no_such_table ADD COLUMN x TEXT"});
  {
    auto database = Database::Open(DatabasePath());
    EXPECT_FALSE(Migrate(**database, later).ok());
  }
  EXPECT_EQ(Open()->Clusters()->size(), 1u);
}

TEST_F(Migrating, OfANewFolderCopiesNothing) {
  Open().reset();
  EXPECT_FALSE(fs::exists(DatabasePath() + ".v0"));
  EXPECT_FALSE(fs::exists(CopyPath()));
}

TEST_F(Opening, WhileAnotherProgramReadsWorks) {
  auto store = Open();
  auto reader = Database::Open(DatabasePath());
  ASSERT_TRUE((*reader)->Execute("BEGIN; SELECT * FROM clusters").ok());
  EXPECT_TRUE(store->PutCluster(SampleCluster()).ok());
  EXPECT_EQ(store->Clusters()->size(), 1u);
}

// A disk of its own, small enough to be filled. Needs root or user namespaces.
bool MountSmallDisk(const fs::path& folder) {
  const uid_t user = getuid();
  if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=2m,mode=0700") == 0;
}

void FillDiskAndCheck(const std::string& folder) {
  ASSERT_TRUE(WriteFile(folder + "/ballast", std::string(400'000, 'b')).ok());
  auto opened = Store::Open(folder);
  ASSERT_TRUE(opened.ok());
  Store& store = **opened;
  ASSERT_TRUE(store.PutSecret("mall", "a", "hush").ok());
  int64_t written = 0;
  Status status = Done();
  while (status.ok() && written < 1000) {
    status = store.Transaction([&]() -> Status {
      ClusterRow cluster = SampleCluster();
      cluster.revision = written + 1;
      MUSTER_DO(store.PutCluster(cluster));
      RevisionRow row = SampleRevision("mall", written + 1);
      row.text.assign(20'000, 'x');
      return store.AddRevision(row);
    });
    if (status.ok()) ++written;
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), "disk-full") << status.error().Text();
  EXPECT_NE(status.error().hint(), "");
  ASSERT_GT(written, 0);
  // Readable still, and without the half that fitted.
  EXPECT_EQ(store.FindCluster("mall")->value().revision, written);
  EXPECT_EQ(store.Revisions("mall")->size(), static_cast<size_t>(written));
  const std::string bytes(1 << 20, 'b');
  EXPECT_EQ(store.PutBlob(Sha256Hex(bytes), bytes).error().code(), "disk-full");
  EXPECT_FALSE(store.HasBlob(Sha256Hex(bytes)));
  // A rotation fails or works whole.
  (void)store.RotateKey();
  EXPECT_EQ(store.Secret("mall", "a")->value(), "hush");
  const auto left = std::distance(fs::directory_iterator(folder + "/blobs"), fs::directory_iterator());
  EXPECT_EQ(left, 0);
  // Some space again, and it goes on.
  fs::remove(folder + "/ballast");
  const Status kept = store.KeepRevisions("mall", 1);
  ASSERT_TRUE(kept.ok()) << kept.error().Text();
  ASSERT_TRUE(store.AddRevision(SampleRevision("mall", written + 1)).ok());
  opened = Error::Internal("closed", "");
  opened = Store::Open(folder);
  ASSERT_TRUE(opened.ok()) << opened.error().Text();
  EXPECT_EQ((*opened)->Revisions("mall")->size(), 2u);
}

TEST_F(Opening, OnAFullDiskFailsWithoutHalves) {
  fs::create_directories(folder);
  const int status = InChild([&] {
    if (!MountSmallDisk(folder)) _exit(77);
    FillDiskAndCheck(folder.string());
    _exit(HasFailure() ? 1 : 0);
  });
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no namespace to mount a small disk in";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Opening, OfADatabaseWithoutRoomIsUndone) {
  fs::create_directories(folder);
  auto database = Database::Open(DatabasePath());
  ASSERT_TRUE((*database)->Execute("CREATE TABLE t(x TEXT) STRICT; PRAGMA max_page_count=20").ok());
  const std::string big(10'000, 'x');
  Status status = Done();
  int64_t written = 0;
  while (status.ok()) {
    status = (*database)->Transaction([&]() -> Status {
      MUSTER_DO((*database)->Run("INSERT INTO t VALUES('small')"));
      return (*database)->Run("INSERT INTO t VALUES(?)", {std::string_view(big)});
    });
    if (status.ok()) ++written;
  }
  EXPECT_EQ(status.error().code(), "disk-full");
  EXPECT_EQ(*(*database)->Number("SELECT count(*) FROM t"), 2 * written);
}

}  // namespace
}  // namespace muster::store
