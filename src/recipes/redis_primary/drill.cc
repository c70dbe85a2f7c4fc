#include "recipes/redis_primary/drill.h"

#include "recipes/redis/drill_client.h"
#include "recipes/redis_primary/picture.h"

namespace muster::redis_primary {

std::vector<std::string> DrillPrimaries(const std::vector<Instance>& desired,
                                        const std::map<std::string, Observed>& observed) {
  if (desired.empty()) return {};
  const Picture picture = PictureOf(desired.front().service, desired, observed);
  const Member* primary = picture.Primary();
  if (!primary || !primary->ready()) return {};
  return {primary->name};
}

std::shared_ptr<DrillClient> MakeDrillClient(DrillClient::Setup setup) {
  return redis::MakePrimaryDrillClient(redis::DrillSetupOf(std::move(setup)));
}

}  // namespace muster::redis_primary
