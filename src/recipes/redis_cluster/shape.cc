// The keys of a Redis Cluster.
#include "recipes/common/shapes.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster {

Shape RedisClusterLayout::SettingsShape() const {
  using common::Integer;
  using common::Make;
  using Type = Shape::Type;
  Shape data = Make(Type::kText,
                    "The folder that its data is in, where that was there before muster; never deleted, and "
                    "who works there is taken over as it runs");
  data.pattern = "/[^\\x00-\\x1f\\x7f\"\\\\{}]*";
  Shape file = Make(Type::kText, "What it is called in `data`");
  file.pattern = "[^\\x00-\\x1f\\x7f{}]+";
  const Shape listed = common::Object(
      {{"host", Make(Type::kText, "Where it stands; may be left out where there is one host")},
       {"port", Make(Type::kPort, "Its port"), true},
       {"data", data},
       {"files", common::Object({{"cluster-config-file", file},
                                 {"dbfilename", file},
                                 {"appendfilename", file},
                                 {"appenddirname", file}},
                                "What its files in `data` are called, where not as Redis has it")}},
      "A member that stands where it does");
  std::vector<Shape::Field> keys = {
      {"masters", Integer(1, 500, "How many masters share the 16384 slots; at least 3"), true},
      {"replicas", Integer(0, 10, "How many replicas each master has; 1 where left out")},
      {"port", Make(Type::kPort,
                    "Its port, 6379 where left out; several members on one host get the following "
                    "ones. The cluster bus is on the port 10000 above")},
      {"members", common::ListOf(listed,
                                 "Where members stand, in the order of their numbers, as `muster adopt` "
                                 "finds them; those that it doesn't name are placed",
                                 false)},
      {"node_timeout", Make(Type::kDuration,
                            "cluster-node-timeout: how long a member may be silent until "
                            "others doubt it; 5s where left out")},
      {"slots", common::Words({"even", "kept"},
                              "even: spread alike over all masters, whenever they aren't; "
                              "kept: they stay where they are, and new masters get none by themselves")},
  };
  for (Shape::Field& key : redis::MemberKeys()) keys.push_back(std::move(key));
  return common::Object(std::move(keys));
}

}  // namespace muster::redis_cluster
