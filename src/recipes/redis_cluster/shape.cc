// The keys of a Redis Cluster.
#include "recipes/common/shapes.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster {

Shape RedisClusterLayout::SettingsShape() const {
  using common::Integer;
  using common::Make;
  using Type = Shape::Type;
  const Shape line = Make(Type::kScalar, "As redis.conf has it");
  Shape program = Make(Type::kText, "redis-server on the hosts: a name in PATH, or an absolute path");
  program.pattern = "[^\\x00-\\x1f\\x7f{}]+";
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
  return common::Object({
      {"masters", Integer(1, 500, "How many masters share the 16384 slots; at least 3"), true},
      {"replicas", Integer(0, 10, "How many replicas each master has; 1 where left out")},
      {"port", Make(Type::kPort,
                    "Its port, 6379 where left out; several members on one host get the following "
                    "ones. The cluster bus is on the port 10000 above")},
      {"members", common::ListOf(listed,
                                 "Where members stand, in the order of their numbers, as `muster adopt` "
                                 "finds them; those that it doesn't name are placed",
                                 false)},
      {"password", common::Templated("What clients and members give: \"{{secret.NAME}}\"")},
      {"settings",
       common::MapOf(common::Either({line, common::ListOf(line, "One line of redis.conf each", false)}),
                     "Settings of redis.conf by name; those that can be are set while it runs",
                     "[a-z][a-z0-9-]{1,60}")},
      {"node_timeout", Make(Type::kDuration,
                            "cluster-node-timeout: how long a member may be silent until "
                            "others doubt it; 5s where left out")},
      {"slots", common::Words({"even", "kept"},
                              "even: spread anew over the masters when their number changes; "
                              "kept: new masters get none by themselves")},
      {"program", program},
      {"artifact",
       Make(Type::kFile, "A redis-server of yours that is put on each host, in place of `program`")},
      {"health", common::Object({{"every", Make(Type::kDuration, "Time between two probes; 1s")},
                                 {"timeout", Make(Type::kDuration, "How long one may take; 1s")},
                                 {"fail_after", Integer(1, 1000,
                                                        "So many failures in a row: it hangs, and is "
                                                        "killed; 3")}},
                                "How each member is asked whether it answers")},
      {"limits", common::LimitsShape()},
      {"stop", common::StopShape()},
      {"restart", common::RestartShape()},
      {"log", common::LogShape()},
  });
}

}  // namespace muster::redis_cluster
