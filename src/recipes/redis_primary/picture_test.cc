#include "recipes/redis_primary/picture.h"

#include <gmock/gmock.h>

#include "model/listens.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

Observed At(const std::string& listens) {
  Observed observed;
  observed.service = "cache";
  observed.state = InstanceState::kReady;
  if (!listens.empty()) observed.facts[kListensFact] = listens;
  return observed;
}

// While one after another is moved to where the file has it, the others follow the primary where it is.
TEST(RedisPrimaryPicture, HasEachMemberWhereItListensNowAndElseWhereItWill) {
  std::vector<Instance> desired(3);
  for (int i = 0; i < 3; ++i) {
    desired[i].name = "cache-" + std::to_string(i + 1);
    desired[i].address = "10.0.0." + std::to_string(i + 1);
    desired[i].ports[kMainPort] = {.first = 7002};
  }
  const Picture picture =
      PictureOf("cache", desired,
                {{"cache-1", At("10.0.0.1 7001")}, {"cache-2", At("")}, {"cache-9", At("10.0.0.9 7001")}});
  EXPECT_EQ(picture.Find("cache-1")->address, "10.0.0.1:7001");
  EXPECT_EQ(picture.Find("cache-2")->address, "10.0.0.2:7002");
  EXPECT_EQ(picture.Find("cache-3")->address, "10.0.0.3:7002");
  EXPECT_EQ(picture.Find("cache-9")->address, "10.0.0.9:7001");
}

}  // namespace
}  // namespace muster::redis_primary
