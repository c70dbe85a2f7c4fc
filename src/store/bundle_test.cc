// The contents of a revision's files: sealed beside it, and back in their place for whoever reads it.
#include "store/bundle.h"

#include <nlohmann/json.hpp>

#include "store/database.h"
#include "store/testing_store.h"

namespace muster::store {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kKey = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n";

std::string BundleWith(const std::string& text) {
  return json{{"files",
               {{"./edge.key", {{"sha256", Sha256Hex(text)}, {"size", text.size()}, {"text", text}}},
                {"./app.jar", {{"sha256", std::string(64, 'a')}, {"size", 5}}},
                {"./empty", {{"sha256", Sha256Hex("")}, {"size", 0}, {"text", ""}}}}},
              {"overrides", {{"web", {{"instances", "3"}}}}}}
      .dump();
}

class RevisionFiles : public StoreFolder {
 protected:
  std::string Path(const std::string& name) const { return (folder / name).string(); }
  void Change(const std::string& sql) {
    auto database = Database::Open(Path("muster.db"));
    ASSERT_TRUE(database.ok());
    ASSERT_TRUE((*database)->Execute(sql).ok());
  }
  int64_t Count(const std::string& table) {
    return *(*Database::Open(Path("muster.db")))->Number("SELECT count(*) FROM " + table);
  }
  bool AnyFileHolds(const std::string& text) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file() && ReadFile(entry.path())->find(text) != std::string::npos) return true;
    }
    return false;
  }
  std::string BundleOf(Store& store, int64_t number) {
    const auto row = store.FindRevision("mall", number);
    return row.ok() && *row ? (*row)->bundle : row.ok() ? "none" : row.error().code();
  }
};

TEST(Bundle, ComesBackAsItWas) {
  std::map<std::string, std::string> texts;
  const std::string bundle = BundleWith(kKey);
  const std::string without = TakeOutTexts(bundle, texts);
  EXPECT_THAT(without, Not(HasSubstr("PRIVATE")));
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_EQ(texts.at(Sha256Hex(kKey)), kKey);
  const auto back =
      PutInTexts(without, [&](const std::string& sha256) -> Result<std::string> { return texts.at(sha256); });
  EXPECT_EQ(*back, bundle);
}

TEST(Bundle, ThatHasNoFilesStaysAsItIs) {
  std::map<std::string, std::string> texts;
  for (const char* bundle : {"", "{}", "[1]", "{\"files\":", "{ \"files\" : {} }", "{\"files\":{\"a\":7}}"}) {
    EXPECT_EQ(TakeOutTexts(bundle, texts), bundle);
    const auto back =
        PutInTexts(bundle, [](const std::string&) -> Result<std::string> { return std::string("x"); });
    EXPECT_EQ(*back, bundle);
  }
  EXPECT_THAT(texts, IsEmpty());
}

TEST_F(RevisionFiles, AreNowhereInTheOpenAndComeBack) {
  auto store = Open();
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 1, BundleWith(kKey))).ok());
  EXPECT_FALSE(AnyFileHolds("MIGHAgEAMBMG"));
  EXPECT_EQ(BundleOf(*store, 1), BundleWith(kKey));
  EXPECT_EQ(store->Revisions("mall")->front().bundle, BundleWith(kKey));
  EXPECT_THAT(*store->Secrets("mall"), IsEmpty());
  ASSERT_TRUE(store->RotateKey().ok());
  store.reset();
  EXPECT_FALSE(AnyFileHolds("MIGHAgEAMBMG"));
  EXPECT_EQ(BundleOf(*Open(), 1), BundleWith(kKey));
}

TEST_F(RevisionFiles, OfEachRevisionAreItsOwnAndGoWithIt) {
  auto store = Open();
  ASSERT_TRUE(store->PutCluster(SampleCluster("zoo")).ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("zoo", 1, BundleWith("first"))).ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 1, BundleWith("first"))).ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 2, BundleWith("second"))).ok());
  ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 3, BundleWith("second"))).ok());
  EXPECT_EQ(BundleOf(*store, 1), BundleWith("first"));
  EXPECT_EQ(BundleOf(*store, 3), BundleWith("second"));
  ASSERT_TRUE(store->KeepRevisions("mall", 1).ok());
  EXPECT_EQ(BundleOf(*store, 3), BundleWith("second"));
  EXPECT_EQ(store->FindRevision("zoo", 1)->value().bundle, BundleWith("first"));
  EXPECT_EQ(Count("secrets"), 2);
  ASSERT_TRUE(store->DeleteCluster("zoo").ok());
  EXPECT_EQ(Count("secrets"), 1);
}

TEST_F(RevisionFiles, OfAnEarlierReleaseAreSealedWhenTheStoreIsOpened) {
  { ASSERT_TRUE(Open()->AddRevision(SampleRevision("mall", 1)).ok()); }
  // Long enough to need pages of its own.
  const std::string text = kKey + std::string(20'000, 'k');
  Change("UPDATE revisions SET bundle='" + BundleWith(text) + "'");
  ASSERT_TRUE(AnyFileHolds("MIGHAgEAMBMG"));
  EXPECT_EQ(BundleOf(*Open(), 1), BundleWith(text));
  EXPECT_FALSE(AnyFileHolds("MIGHAgEAMBMG"));
}

TEST_F(RevisionFiles, ThatAreDamagedAreToldAndHideNoOtherRevision) {
  {
    auto store = Open();
    ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 1, BundleWith(kKey))).ok());
    ASSERT_TRUE(store->AddRevision(SampleRevision("mall", 2)).ok());
  }
  Change("UPDATE secrets SET sealed=x'00'");
  auto store = Open();
  EXPECT_EQ(BundleOf(*store, 1), "secret-damaged");
  EXPECT_THAT(store->FindRevision("mall", 1).error().hint(), HasSubstr("muster up FILE"));
  EXPECT_EQ(BundleOf(*store, 2), "{}");
  EXPECT_EQ(store->Revisions("mall")->size(), 2u);
}

TEST_F(RevisionFiles, NeedTheirOwnKey) {
  { ASSERT_TRUE(Open()->AddRevision(SampleRevision("mall", 1, BundleWith(kKey))).ok()); }
  fs::remove(Path("key"));
  EXPECT_EQ(CodeOfOpening(), "key-missing");
}

}  // namespace
}  // namespace muster::store
