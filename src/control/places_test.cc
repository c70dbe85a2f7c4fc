#include "control/places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/json.h"

namespace muster::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Place At(const std::string& host, int ordinal, Claim claim = Claim::kWanted) {
  return {.service = "cache",
          .host = host,
          .ordinal = ordinal,
          .slot = 0,
          .ports = {{"redis", {.first = 7001}}},
          .claim = claim};
}

Observed Seen(const std::string& host, InstanceState state) {
  Observed seen;
  seen.service = "cache";
  seen.host = host;
  seen.state = state;
  return seen;
}

std::vector<std::string> Show(const Placement& places) {
  std::vector<std::string> texts;
  for (const auto& [name, place] : places) {
    texts.push_back(name + "@" + place.host +
                    (place.claim == Claim::kWanted      ? ""
                     : place.claim == Claim::kFormer    ? " former"
                     : place.claim == Claim::kReturning ? " returning"
                                                        : " reserved"));
  }
  return texts;
}

TEST(Places, WhoIsNotWantedAnyMoreIsRememberedUntilAllThatIsWantedStands) {
  const Placement six{{"cache-1", At("a", 1)},
                      {"cache-2", At("b", 2)},
                      {"cache-3", At("c", 3)},
                      {"cache-4", At("c", 4, Claim::kReserved)}};
  const Placement begun = WithFormer(six, {{"cache-1", At("a", 1)}, {"cache-5", At("a", 5)}}, {});
  EXPECT_THAT(Show(begun), ElementsAre("cache-1@a", "cache-2@b former", "cache-3@c former",
                                       "cache-4@c reserved", "cache-5@a"));
  // Another run instead, which wants two of them back.
  EXPECT_THAT(
      Show(WithFormer(begun, {{"cache-1", At("a", 1)}, {"cache-2", At("b", 2)}}, {})),
      ElementsAre("cache-1@a", "cache-2@b", "cache-3@c former", "cache-4@c reserved", "cache-5@a former"));
}

TEST(Places, WhoIsGoneIsForgottenAndWhoseHostHasNotToldIsNot) {
  const Placement places{{"cache-1", At("a", 1)},
                         {"cache-2", At("b", 2, Claim::kFormer)},
                         {"cache-3", At("c", 3, Claim::kFormer)},
                         {"cache-4", At("b", 4, Claim::kReserved)},
                         {"cache-5", At("b", 5, Claim::kFormer)}};
  const std::map<std::string, Observed> observed{{"cache-2", Seen("b", InstanceState::kAbsent)},
                                                 {"cache-5", Seen("b", InstanceState::kReady)}};
  const Placement good = OnceBroughtUp(places, observed, {"a", "b"});
  EXPECT_THAT(Show(good), ElementsAre("cache-1@a", "cache-3@c reserved", "cache-5@b former"));
  EXPECT_THAT(Show(OnceBroughtUp(good, {}, {"a", "b", "c"})), ElementsAre("cache-1@a"));
}

TEST(Places, WhoStandsAndIsNotRememberedKeepsItsNameFromOthers) {
  const Placement places =
      WithUnknown({{"cache-1", At("a", 1)}}, {{"cache-1", Seen("a", InstanceState::kReady)},
                                              {"cache-7", Seen("b", InstanceState::kStopped)},
                                              {"cache-8", Seen("b", InstanceState::kAbsent)},
                                              {"cache-x1", Seen("b", InstanceState::kReady)},
                                              {"cache-9z", Seen("b", InstanceState::kReady)}});
  EXPECT_THAT(Show(places), ElementsAre("cache-1@a", "cache-7@b reserved"));
  EXPECT_EQ(places.at("cache-7").ordinal, 7);
}

TEST(Places, WhoWentDownBeforeOthersHadWhatItHasComesUpOnceMore) {
  const Placement places{{"cache-1", At("a", 1)},
                         {"cache-2", At("b", 2)},
                         {"cache-3", At("c", 3, Claim::kFormer)},
                         {"cache-4", At("c", 4, Claim::kReserved)}};
  const Placement wanted{{"cache-1", At("a", 1)}};
  EXPECT_THAT(Returning(places, wanted, {"cache"}, false, {}), IsEmpty());
  EXPECT_THAT(Returning(places, wanted, {"web"}, true, {}), IsEmpty());
  const auto returning = Returning(places, wanted, {"cache"}, true, {});
  EXPECT_THAT(returning, ElementsAre("cache-2", "cache-3"));
  const Placement begun = WithFormer(places, wanted, returning);
  EXPECT_THAT(Show(begun),
              ElementsAre("cache-1@a", "cache-2@b returning", "cache-3@c returning", "cache-4@c reserved"));
  // Another run goes on with it, until they are up, also where the first came to its end without one.
  const std::map<std::string, Observed> one_is_up{{"cache-2", Seen("b", InstanceState::kReady)}};
  EXPECT_THAT(Returning(begun, wanted, {"cache"}, false, one_is_up), ElementsAre("cache-3"));
  const Placement good = OnceBroughtUp(begun, one_is_up, {"a", "b", "c"});
  EXPECT_THAT(Show(good), ElementsAre("cache-1@a", "cache-2@b former", "cache-3@c returning"));
}

TEST(Places, AreReadAsTheyAreWritten) {
  const Placement places{{"cache-1", At("a", 1)},
                         {"cache-2", At("b", 2, Claim::kFormer)},
                         {"cache-3", At("c", 3, Claim::kReserved)},
                         {"cache-4", At("c", 4, Claim::kReturning)}};
  EXPECT_EQ(api::PlacementFrom(api::ToJson(places)).value(), places);
}

}  // namespace
}  // namespace muster::control
