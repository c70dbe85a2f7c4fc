// Sealed secrets and the rotation of their key, cut short at each point.
#include <sys/stat.h>

#include "store/database.h"
#include "store/keys.h"
#include "store/testing_store.h"

namespace muster::store {
namespace {

class Secrets : public StoreFolder {
 protected:
  std::string Path(const std::string& name) const { return (folder / name).string(); }
  std::string Digest(Store& store, const std::string& name) {
    const auto rows = store.Secrets("mall");
    for (const SecretRow& row : *rows) {
      if (row.name == name) return row.digest;
    }
    return "";
  }
  // Runs SQL on the closed store.
  void Change(const std::string& sql) {
    auto database = Database::Open(Path("muster.db"));
    ASSERT_TRUE(database.ok());
    ASSERT_TRUE((*database)->Execute(sql).ok());
  }
  void CopyFolder(const fs::path& to) {
    fs::remove_all(to);
    fs::copy(folder, to, fs::copy_options::recursive);
  }
  bool AnyFileHolds(const std::string& text) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file() && ReadFile(entry.path())->find(text) != std::string::npos) return true;
    }
    return false;
  }
};

TEST_F(Secrets, ComeBackAndAreNowhereInTheOpen) {
  auto store = Open();
  const std::string value("correct horse \0 battery", 23);  // a NUL is a byte like any other
  ASSERT_TRUE(store->PutSecret("mall", "password", value).ok());
  ASSERT_TRUE(store->PutSecret("mall", "empty", "").ok());
  EXPECT_EQ(store->Secret("mall", "password")->value(), value);
  EXPECT_EQ(store->Secret("mall", "empty")->value(), "");
  EXPECT_FALSE(store->Secret("mall", "none")->has_value());
  EXPECT_FALSE(store->Secret("zoo", "password")->has_value());
  EXPECT_FALSE(AnyFileHolds("correct horse"));
  store.reset();
  EXPECT_FALSE(AnyFileHolds("correct horse"));
  EXPECT_EQ(Open()->Secret("mall", "password")->value(), value);
  ASSERT_TRUE(Open()->DeleteSecret("mall", "password").ok());
  EXPECT_FALSE(Open()->Secret("mall", "password")->has_value());
}

TEST_F(Secrets, AreForTheServersUserOnly) {
  mode_t umask_before = umask(0);
  auto store = Open();
  ASSERT_TRUE(store->PutSecret("mall", "password", "hush").ok());
  umask(umask_before);
  const auto mode = [&](const std::string& name) {
    struct stat info {};
    EXPECT_EQ(stat(Path(name).c_str(), &info), 0) << name;
    return info.st_mode & 0777;
  };
  EXPECT_EQ(mode(""), 0700u);
  EXPECT_EQ(mode("blobs"), 0700u);
  for (const char* file : {"key", "muster.db", "muster.db-wal", "lock"}) EXPECT_EQ(mode(file), 0600u) << file;
  store.reset();
  ASSERT_EQ(chmod(Path("key").c_str(), 0644), 0);
  store = Open();
  EXPECT_EQ(mode("key"), 0600u);
}

TEST_F(Secrets, HaveADigestThatTellsChangesAndNothingElse) {
  auto store = Open();
  ASSERT_TRUE(store->PutSecret("mall", "a", "hush").ok());
  ASSERT_TRUE(store->PutSecret("mall", "b", "hush").ok());
  const std::string before = Digest(*store, "a");
  EXPECT_EQ(before.size(), 64u);
  EXPECT_NE(before, Digest(*store, "b"));
  EXPECT_NE(before, Sha256Hex("hush"));
  ASSERT_TRUE(store->PutSecret("mall", "a", "other").ok());
  EXPECT_NE(before, Digest(*store, "a"));
  ASSERT_TRUE(store->PutSecret("mall", "a", "hush").ok());
  EXPECT_EQ(before, Digest(*store, "a"));
}

TEST_F(Secrets, ThatWereTamperedWithAreRefused) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutSecret("mall", "a", "first").ok());
    ASSERT_TRUE(store->PutSecret("mall", "b", "second").ok());
    ASSERT_TRUE(store->PutSecret("mall", "c", "third").ok());
    ASSERT_TRUE(store->PutSecret("mall", "d", "fourth").ok());
  }
  Change("UPDATE secrets SET sealed=(SELECT sealed FROM secrets WHERE name='b') WHERE name='a'");
  Change(
      "UPDATE secrets SET sealed=CAST(substr(sealed,1,14)||x'00'||substr(sealed,16) AS BLOB) WHERE name='c'");
  Change("UPDATE secrets SET sealed=x'00' WHERE name='d'");
  auto store = Open();
  EXPECT_EQ(store->Secret("mall", "a").error().code(), "secret-damaged") << "moved to another name";
  EXPECT_EQ(store->Secret("mall", "b")->value(), "second");
  EXPECT_EQ(store->Secret("mall", "c").error().code(), "secret-damaged");
  EXPECT_EQ(store->Secret("mall", "d").error().code(), "secret-damaged");
  EXPECT_NE(store->Secret("mall", "d").error().hint(), "");
  // A rotation that can't take all of them takes none.
  const std::string key = ReadFile(Path("key")).value();
  EXPECT_EQ(store->RotateKey().error().code(), "secret-damaged");
  EXPECT_EQ(ReadFile(Path("key")).value(), key);
  EXPECT_FALSE(fs::exists(Path("key.new")));
  EXPECT_EQ(store->Secret("mall", "b")->value(), "second");
  ASSERT_TRUE(store->PutSecret("mall", "e", "fifth").ok());
  EXPECT_EQ(store->Secret("mall", "e")->value(), "fifth");
}

TEST_F(Secrets, NeedTheirOwnKey) {
  { ASSERT_TRUE(Open()->PutSecret("mall", "a", "hush").ok()); }
  const std::string key = ReadFile(Path("key")).value();
  fs::remove(Path("key"));
  EXPECT_EQ(CodeOfOpening(), "key-missing");
  ASSERT_TRUE(Keys::Create(Path("key")).ok());
  EXPECT_EQ(CodeOfOpening(), "key-missing") << "another store's";
  ASSERT_TRUE(WriteFile(Path("key"), key.substr(0, 60)).ok());
  EXPECT_EQ(CodeOfOpening(), "key-damaged");
  ASSERT_TRUE(WriteFile(Path("key"), key).ok());
  EXPECT_EQ(Open()->Secret("mall", "a")->value(), "hush");
}

TEST_F(Secrets, AreSealedAnewByARotationAndKeepTheirDigest) {
  auto store = Open();
  ASSERT_TRUE(store->PutSecret("mall", "a", "hush").ok());
  const std::string digest = Digest(*store, "a");
  const std::string key = ReadFile(Path("key")).value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(store->RotateKey().ok());
  EXPECT_NE(ReadFile(Path("key")).value(), key);
  EXPECT_FALSE(fs::exists(Path("key.new")));
  EXPECT_EQ(store->Secret("mall", "a")->value(), "hush");
  EXPECT_EQ(Digest(*store, "a"), digest);
  ASSERT_TRUE(store->PutSecret("mall", "a", "hush").ok());
  EXPECT_EQ(Digest(*store, "a"), digest);
  store.reset();
  // The old key opens nothing any more.
  const std::string newer = ReadFile(Path("key")).value();
  ASSERT_TRUE(WriteFile(Path("key"), key).ok());
  EXPECT_EQ(CodeOfOpening(), "key-missing");
  ASSERT_TRUE(WriteFile(Path("key"), newer).ok());
  EXPECT_EQ(Open()->Secret("mall", "a")->value(), "hush");
}

TEST_F(Secrets, SurviveARotationCutShortAtEachPoint) {
  { ASSERT_TRUE(Open()->PutSecret("mall", "a", "hush").ok()); }
  const std::string old_key = ReadFile(Path("key")).value();
  const fs::path before = folder.string() + "-before";
  CopyFolder(before);
  { ASSERT_TRUE(Open()->RotateKey().ok()); }
  const std::string new_key = ReadFile(Path("key")).value();
  const auto check = [&](const char* point) {
    { EXPECT_EQ(Open()->Secret("mall", "a")->value(), "hush") << point; }
    EXPECT_EQ(ReadFile(Path("key")).value(), new_key) << point;
    EXPECT_FALSE(fs::exists(Path("key.new"))) << point;
  };
  // Killed when all was sealed anew, but the new key wasn't in its place.
  ASSERT_TRUE(WriteFile(Path("key"), old_key).ok() && WriteFile(Path("key.new"), new_key).ok());
  check("after commit");
  // Killed when it was in its place, but still beside it too.
  ASSERT_TRUE(WriteFile(Path("key.new"), new_key).ok());
  check("before unlink");
  // Killed when the new key was written and nothing was sealed with it.
  fs::remove_all(folder);
  fs::rename(before, folder);
  ASSERT_TRUE(WriteFile(Path("key.new"), new_key).ok());
  check("before commit");
}

#ifdef MUSTER_FAULT_POINTS
TEST_F(Secrets, SurviveAServerKilledInARotation) {
  { ASSERT_TRUE(Open()->PutSecret("mall", "a", "hush").ok()); }
  for (const char* point : {"store.before-commit", "store.after-commit"}) {
    const int status = InChild([&] {
      auto store = Store::Open(folder.string());
      setenv("MUSTER_FAULT", point, 1);
      (void)(*store)->RotateKey();
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << point;
    ASSERT_TRUE(fs::exists(Path("key.new"))) << point;
    EXPECT_EQ(Open()->Secret("mall", "a")->value(), "hush") << point;
    EXPECT_FALSE(fs::exists(Path("key.new"))) << point;
  }
}
#endif

}  // namespace
}  // namespace muster::store
