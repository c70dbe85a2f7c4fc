// What plans and errors say beside steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/secret.h"
#include "plan/explain.h"
#include "plan/secrets.h"

namespace muster::plan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Cluster With(const std::string& name, const std::string& kind) {
  Cluster cluster;
  Service service;
  service.name = name;
  service.kind = kind;
  cluster.services = {service};
  return cluster;
}

std::vector<std::string> NotesOf(const Cluster& before, const Cluster& after, bool steps = true) {
  const std::vector<Instance> none;
  Plan plan;
  if (steps) plan.steps.push_back({.id = "cache-1.stop"});
  ExplainChanges({.cluster = &before, .instances = &none}, {.cluster = &after, .instances = &none}, {}, plan);
  return plan.notes;
}

TEST(Notes, WhoRenamesAServiceWithDataIsToldThatTheDataStaysBehind) {
  const Cluster cache = With("cache", "redis-cluster"), store = With("store", "redis-cluster");
  EXPECT_THAT(NotesOf(cache, store), ElementsAre(HasSubstr("cache has no place in the file any more")));
  EXPECT_THAT(NotesOf(cache, store, false), IsEmpty());
  EXPECT_THAT(NotesOf(cache, cache), IsEmpty());
  EXPECT_THAT(NotesOf(With("web", "app"), store), IsEmpty());
}

TEST(Notes, AHintThatIsToSetASecretNamesIt) {
  const Error error =
      Error::Invalid("secret-unusable", "no").Hint("set another: muster secret set NAME, and go on");
  Instance instance;
  EXPECT_EQ(WithSecretNamed(error, instance, "shop").hint(), error.hint());
  InstanceFile file;
  file.content = "requirepass " + SecretMarker("cache_password");
  instance.files = {file, file};
  EXPECT_EQ(WithSecretNamed(error, instance, "shop").hint(),
            "set another: muster secret set cache_password -c shop, and go on");
  file.content = SecretMarker("other");
  instance.files.push_back(file);
  EXPECT_EQ(WithSecretNamed(error, instance, "shop").hint(), error.hint());
}

}  // namespace
}  // namespace muster::plan
