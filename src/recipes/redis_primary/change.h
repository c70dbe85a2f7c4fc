// The order in which a Redis primary and its replicas change, so that no write is lost. Internal to
// recipes/redis_primary. Pure.
//
// The steps of common::MemberChange, one member at a time and the primary last, with those between that the
// mender brings about: step-down before a member that serves is stopped, settle after it is ready again and
// after new ones are, leave before one goes for good.
#pragma once

#include "recipes/common/member_change.h"
#include "recipes/recipe.h"

namespace muster::redis_primary {

class RedisPrimaryChange : public Change {
 public:
  explicit RedisPrimaryChange(const Layout* layout) : equal_(layout, false) {}
  Output StepsFor(const Input& input) const override;

 private:
  common::MemberChange equal_;
};

}  // namespace muster::redis_primary
