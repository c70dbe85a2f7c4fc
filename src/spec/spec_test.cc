#include "spec/spec.h"

#include <gtest/gtest.h>

#include <chrono>

namespace muster::spec {
namespace {

Shape Of(Shape::Type type) {
  Shape shape;
  shape.type = type;
  return shape;
}

Shapes TestShapes() {
  Shape box = Of(Shape::Type::kObject);
  Shape text = Of(Shape::Type::kText);
  Shape map = Of(Shape::Type::kMap);
  map.element = std::make_shared<Shape>(Of(Shape::Type::kPorts));
  Shape word = Of(Shape::Type::kWord);
  word.words = {"round_robin", "least_conn"};
  Shape number = Of(Shape::Type::kInteger);
  number.minimum = 1;
  number.maximum = 100;
  box.fields = {{"command", text, true},
                {"every", Of(Shape::Type::kDuration)},
                {"size", Of(Shape::Type::kSize)},
                {"ports", map},
                {"balance", word},
                {"count", number},
                {"artifact", Of(Shape::Type::kFile)},
                {"fast", Of(Shape::Type::kBool)}};
  return {{"box", box}};
}

std::vector<std::string> Findings(std::string_view text) {
  std::vector<std::string> lines;
  for (const Finding& finding : ParseCluster(text, "f.yaml", TestShapes()).findings) {
    lines.push_back(fmt::format("{}:{} {}", finding.mark.line, finding.mark.column, finding.code));
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Spec, ReadsAWholeFile) {
  const auto parsed = ParseCluster(R"(
cluster: mall
hosts:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.2 }
services:
  one:
    kind: box
    command: run {{instance}}
    artifact: ./x.jar
    hosts: [b]
    update: { max_unavailable: 50%, deadline: 5m, on_failure: rollback }
  two: { kind: box, command: x, uses: [one], require: 2 }
)",
                                   "f.yaml", TestShapes());
  EXPECT_TRUE(parsed.findings.empty());
  EXPECT_TRUE(parsed.shape_ok);
  ASSERT_EQ(parsed.cluster.services.size(), 2u);
  const Service& one = parsed.cluster.services[0];
  EXPECT_EQ(one.hosts, Lines{"b"});
  EXPECT_EQ(one.update.max_unavailable.amount, 50);
  EXPECT_EQ(one.update.deadline, 5min);
  EXPECT_TRUE(one.update.rollback_on_failure);
  EXPECT_EQ(parsed.cluster.services[1].require.number, 2);
  const auto files = FilesIn(parsed.cluster, TestShapes());
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].path, "./x.jar");
  EXPECT_EQ(files[0].mark, (Mark{10, 15}));
}

TEST(Spec, KnowsWhichFilesAreSecret) {
  Shape open, secret, settings;
  open.type = secret.type = Shape::Type::kFile;
  secret.secret = true;
  settings.type = Shape::Type::kObject;
  settings.fields = {{"a", open}, {"b", secret}, {"c", open}};
  const Shapes shapes = {{"box", settings}};
  const Parsed parsed = ParseCluster(
      "cluster: mall\nservices:\n  one: { kind: box, a: x, b: y }\n  two: { kind: box, a: y, b: z }\n",
      "f.yaml", shapes);
  std::vector<std::string> told;
  for (const FileReference& file : FilesIn(parsed.cluster, shapes)) {
    told.push_back(file.path + (file.secret ? " secret" : "") + (file.open ? " open" : ""));
  }
  EXPECT_EQ(told, (std::vector<std::string>{"x open", "y secret open", "z secret"}));
}

TEST(Spec, TellsEverythingThatIsWrongAtOnce) {
  EXPECT_EQ(Findings(R"(cluster: Mall
colour: red
hosts:
  a: { address: 10.0.0.1 }
  b: { address: 10.0.0.1 }
  c: { address: localhost }
services:
  one:
    kind: box
    comand: x
    every: 5
    every: 6s
    size: 5 apples
    count: 101
    balance: least_con
    fast: "true"
    uses: [two, nobody]
    hosts: d
  two: { kind: bix }
  three: { kind: box, command: {{artifact}} x, uses: [four] }
  four: { kind: box, command: x, uses: three, ports: [1] }
)"),
            (Lines{"1:10 bad-pattern", "2:1 unknown-key", "5:17 duplicate-address", "6:17 host-localhost",
                   "9:5 missing-key", "10:5 unknown-key", "11:12 bad-unit", "12:5 duplicate-key",
                   "13:11 bad-unit", "14:12 out-of-range", "15:14 bad-word", "16:11 wrong-type",
                   "17:17 unknown-service", "18:12 unknown-host", "19:8 missing-key", "19:16 unknown-kind",
                   "20:32 unquoted-braces", "21:40 uses-cycle", "21:54 wrong-type"}));
}

TEST(Spec, TellsNothingThatOnlyFollowsFromAWrongShape) {
  // What is meant by `adress`, `usess` and `bix` is plain; the rest is checked with it.
  EXPECT_EQ(Findings(R"(cluster: x
hosts:
  a: { adress: localhost }
  b: { address: 10.0.0.2 }
services:
  one: { kind: bix, command: x, usess: [two, on] }
  two: { kind: box, command: x, uses: 5s, hosts: [a, [b]] }
)"),
            (Lines{"3:6 missing-key", "3:8 unknown-key", "3:16 host-localhost", "6:16 unknown-kind",
                   "6:33 unknown-key", "6:46 unknown-service", "7:39 unknown-service", "7:54 wrong-type"}));
  const auto parsed =
      ParseCluster("cluster: x\nservices:\n  a: { kind: box, ports: { http: eighty } }\n", "f", TestShapes());
  EXPECT_FALSE(parsed.shape_ok);
  EXPECT_TRUE(parsed.readable);
  const Value* ports = parsed.cluster.services.at(0).settings.Find("ports");
  ASSERT_TRUE(ports && ports->Find("http"));
  EXPECT_TRUE(ports->Find("http")->stand_in);
  EXPECT_TRUE(FollowsFromShape({.code = "port-twice", .mark = {3, 34}}, parsed));
  EXPECT_FALSE(FollowsFromShape({.code = "port-twice", .mark = {9, 34}}, parsed));
}

TEST(Spec, TellsAMergeKeyAndNothingThatFollowsFromIt) {
  EXPECT_EQ(Findings("cluster: x\nservices:\n  a: &a { kind: box, command: x }\n"
                     "  b:\n    <<: *a\n  c:\n    <<: [*a]\n    command: y\n"),
            (Lines{"5:5 yaml-merge-key", "7:5 yaml-merge-key"}));
}

TEST(Spec, TakesATagForTheTypeItNames) {
  EXPECT_EQ(Findings("cluster: x\nservices:\n  a: { kind: box, command: !!str 5, count: !!str 5 }\n"),
            Lines{"3:44 wrong-type"});
}

TEST(Spec, NamesTheNearestKey) {
  const auto parsed =
      ParseCluster("cluster: x\nservices:\n  a: { kind: box, comand: y }\n", "f", TestShapes());
  bool found = false;
  for (const Finding& finding : parsed.findings) {
    if (finding.code == "unknown-key") found = finding.fix == "did you mean command?";
  }
  EXPECT_TRUE(found);
}

TEST(Spec, NamesTheOnlyKeyThatSharesItsWords) {
  const auto fix = [](const std::string& line) -> std::string {
    const auto parsed = ParseCluster("cluster: x\nservices:\n  a: { kind: box, command: y, " + line + " }\n",
                                     "f", TestShapes());
    for (const Finding& finding : parsed.findings) {
      if (finding.code == "unknown-key") return finding.fix.substr(0, finding.fix.find(':'));
    }
    return "";
  };
  EXPECT_EQ(fix("update: { failure: stop }"), "did you mean on_failure?");
  EXPECT_EQ(fix("size_limit: 5m"), "did you mean size?");
  EXPECT_EQ(fix("update: { max: 1 }"), "known are");  // max_surge or max_unavailable
  EXPECT_EQ(fix("update: { _: 1 }"), "known are");
}

TEST(Spec, PutsBracesThatLackQuotesInQuotesAndGoesOn) {
  EXPECT_EQ(Findings("cluster: x\nservices:\n  a:\n    kind: box\n    command: {{artifact}} --port 1 # why\n "
                     "   cuont: 1\n"),
            (Lines{"5:14 unquoted-braces", "6:5 unknown-key"}));
}

TEST(Spec, SurvivesAnything) {
  EXPECT_EQ(Findings(""), Lines{"1:1 wrong-type"});
  EXPECT_EQ(Findings("[1, 2]"), Lines{"1:1 wrong-type"});
  EXPECT_EQ(Findings("a: b: c"), Lines{"1:5 yaml-syntax"});
  EXPECT_EQ(Findings("cluster: \xff"), Lines{"1:10 yaml-syntax"});
  EXPECT_EQ(Findings("---\ncluster: x\nservices: {a: {kind: box, command: y}}\n---\nb: 1\n"),
            Lines{"5:1 yaml-several-documents"});
  EXPECT_EQ(Findings(std::string(100000, '[')).size(), 1u);
  EXPECT_EQ(Findings(std::string(100000, '{')).size(), 1u);
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 20; ++i) {
    laughs += fmt::format("a{}: &a{} [*a{}, *a{}, *a{}, *a{}, *a{}, *a{}, *a{}]\n", i, i, i - 1, i - 1, i - 1,
                          i - 1, i - 1, i - 1, i - 1);
  }
  EXPECT_EQ(Findings(laughs).size(), 1u);
}

TEST(Spec, TellsDeepFromWide) {
  std::string wide = "cluster: x\nservices: {a: {kind: box, command: '[[', ports: {p0: 1";
  for (int i = 1; i < 100; ++i) wide += fmt::format(", p{}: {}", i, i);
  EXPECT_EQ(Findings(wide + "}}}\n"), Lines{});
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_EQ(Findings(deep), Lines{"65:65 yaml-too-deep"});
  std::string dashes;
  for (int i = 0; i < 100; ++i) dashes += "- ";
  EXPECT_EQ(Findings(dashes), Lines{"1:129 yaml-too-deep"});
}

TEST(Spec, KeepsKeysThatBeginWithAControlCharacter) {
  EXPECT_EQ(
      Findings("cluster: x\nservices: {a: {kind: box, command: y, \"\\x01size\": 1, every: 2s, every: 3}}\n"),
      (Lines{"2:39 unknown-key", "2:65 duplicate-key"}));
}

TEST(Spec, BoundsWhatAliasesAdd) {
  const std::string text = "x: &x " + std::string(1'000'000, 'y') + "\nz: [*x, *x, *x, *x, *x, *x]\n";
  EXPECT_EQ(Findings(text), Lines{"2:21 yaml-too-deep"});
  EXPECT_EQ(Findings("a: &a [*a]\n"), Lines{"1:8 yaml-syntax"});
}

TEST(Spec, LeavesBracesAloneWhereTheyAreText) {
  EXPECT_EQ(Findings(R"(cluster: x
services:
  a:
    kind: box
    command: |
      port: {{ports.http}}
      - {{a}}
    artifact: run
      {{instance}}
    balance: "least_conn
      x: {{a}}"  # x: {{a}}
    fast: yes
)"),
            Lines{"10:14 bad-word"});
}

TEST(Spec, KeepsPlacesBehindBracesThatGotQuotes) {
  EXPECT_EQ(Findings("cluster: x\nservices:\n  a: { kind: box, command: {{a}} it's, size: {{b}}, x: 1 }\n"),
            (Lines{"3:28 unquoted-braces", "3:46 unquoted-braces", "3:46 wrong-type", "3:53 unknown-key"}));
  EXPECT_EQ(Findings("cluster: x\nservices:\n  a:\n    kind: box\n    command:\n      {{a}} b\n    x: 1\n"),
            (Lines{"6:7 unquoted-braces", "7:5 unknown-key"}));
  EXPECT_EQ(Findings("cluster: x\nservices:\n  a: { kind: box, command: run {{a}}, x: 1 }\n"),
            (Lines{"3:32 unquoted-braces", "3:39 unknown-key"}));
}

TEST(Spec, TakesNoUnitsThatNobodyCanRead) {
  const auto with = [](std::string_view line) {
    return Findings(fmt::format("cluster: x\nservices:\n  a: {{ kind: box, command: y, {} }}\n", line));
  };
  for (const char* good :
       {"every: 1h30m", "every: 5ms", "every: 1m5ms", "size: 1g", "size: 512k", "size: 0"}) {
    EXPECT_EQ(with(good), Lines{}) << good;
  }
  for (const char* bad : {"every: 5s5s", "every: 1s1m", "every: 0", "size: 5t", "size: 99999999999g"}) {
    EXPECT_EQ(with(bad).size(), 1u) << bad;
  }
}

TEST(Spec, KnowsAddresses) {
  const auto with = [](std::string_view address) {
    return Findings(
        fmt::format("cluster: x\nhosts: {{ a: {{ address: \"{}\" }}, b: {{ address: h.example }} }}\n"
                    "services: {{ s: {{ kind: box, command: y }} }}\n",
                    address));
  };
  for (const char* good : {"10.0.0.1", "fd00::1", "db-1.example.org", "h", "1and1.com"}) {
    EXPECT_EQ(with(good), Lines{}) << good;
  }
  for (const char* bad :
       {"10.0.0.256", "10.0.0", "10.0.0.1:22", "http://h", "-h", "h..x", "h_x", "", "0.0.0.0", "::"}) {
    EXPECT_EQ(with(bad), Lines{"2:24 bad-address"}) << bad;
  }
  for (const char* own : {"127.0.0.9", "localhost", "LOCALHOST", "::1", "0:0::1"}) {
    EXPECT_EQ(with(own), Lines{"2:24 host-localhost"}) << own;
  }
  EXPECT_EQ(with("H.Example"), Lines{"2:53 duplicate-address"});
}

TEST(Spec, TellsNamesThatMeanSomethingElse) {
  EXPECT_EQ(
      Findings("cluster: x\nservices:\n  web: { kind: box, command: y }\n  web-1: { kind: box, command: y }\n"
               "  peers: { kind: box, command: y }\n  api-1: { kind: box, command: y }\n"),
      (Lines{"4:3 name-clash", "5:3 name-clash"}));
}

TEST(Spec, FollowsChainsOfAnyLength) {
  constexpr int kLength = 30000;
  std::string text = "cluster: x\nservices:\n";
  for (int i = 0; i < kLength; ++i)
    text += fmt::format("  s{}: {{ kind: box, command: y, uses: s{} }}\n", i, i + 1);
  text += fmt::format("  s{}: {{ kind: box, command: y, uses: s0 }}\n", kLength);
  EXPECT_EQ(Findings(text).size(), 1u);
  EXPECT_EQ(Findings("cluster: x\nservices: { a: { kind: box, command: y, uses: a } }\n"),
            Lines{"2:47 uses-cycle"});
}

TEST(Spec, LeavesHostsOutForThisMachine) {
  const auto parsed = ParseCluster("cluster: x\nservices: {a: {kind: box, command: y}}\n", "f", TestShapes());
  EXPECT_TRUE(parsed.findings.empty());
  EXPECT_TRUE(parsed.cluster.hosts_left_out);
  EXPECT_EQ(parsed.cluster.hosts[0].address, "127.0.0.1");
}

TEST(Spec, RehearsesInABlockOfItsOwn) {
  auto cluster =
      ParseCluster(
          "cluster: x\nhosts: {a: {address: h1}, b: {address: h2}}\nservices: {s: {kind: box, command: y}}\n",
          "f", TestShapes())
          .cluster;
  Rehearse(cluster, 7);
  EXPECT_EQ(cluster.key(), "x@rehearsal");
  EXPECT_EQ(cluster.hosts[1].address, "127.77.7.2");
}

TEST(Spec, ARehearsedHostKeepsItsNumberWhereverItStands) {
  Cluster cluster;
  for (const char* name : {"new", "a", "b", "newer"}) cluster.hosts.push_back({.name = name});
  Rehearse(cluster, 7, {{"a", 1}, {"b", 2}, {"gone", 3}});
  std::vector<std::string> addresses;
  for (const Host& host : cluster.hosts) addresses.push_back(host.address);
  EXPECT_EQ(addresses, (std::vector<std::string>{"127.77.7.4", "127.77.7.1", "127.77.7.2", "127.77.7.5"}));
}

TEST(Spec, ABlockThatIsFullTakesTheNumbersOfHostsThatAreGoneAndThenSharesThem) {
  Cluster cluster;
  std::map<std::string, int> numbers;
  for (int i = 1; i <= 250; ++i) numbers[fmt::format("h{}", i)] = i;
  for (int i = 2; i <= 252; ++i) cluster.hosts.push_back({.name = fmt::format("h{}", i)});
  Rehearse(cluster, 7, numbers);
  EXPECT_EQ(cluster.hosts[0].address, "127.77.7.2");
  EXPECT_EQ(cluster.hosts[249].address, "127.77.7.1");
  EXPECT_EQ(cluster.hosts[250].address, "127.77.7.1");
}

TEST(Spec, TellsOfATabThatIndentsAndOfNoOther) {
  const auto wrong =
      ParseCluster("cluster: x\nservices:\n  s:\n\t  kind: box\n    command: y\n", "f", TestShapes());
  ASSERT_EQ(wrong.findings.size(), 1u);
  EXPECT_EQ(wrong.findings[0].code, "tab-indent");
  EXPECT_EQ(wrong.findings[0].mark, (Mark{.line = 4, .column = 1}));
  for (const char* text : {"cluster: x\nservices: {s: {kind: box,\n\tcommand: y}}\n",
                           "cluster: x\nservices:\n  s:\n    kind: box\n    command: |\n      a\n      \tb\n",
                           "cluster:\tx\nservices: {s: {kind: box, command: y}}\n\t# a note\n"}) {
    EXPECT_TRUE(ParseCluster(text, "f", TestShapes()).findings.empty()) << text;
  }
  // What is wrong before the tab is told as what it is.
  const auto before = ParseCluster("cluster: [x\nservices: }\n\ts: 1\n", "f", TestShapes());
  ASSERT_FALSE(before.findings.empty());
  EXPECT_EQ(before.findings[0].code, "yaml-syntax");
}

TEST(Spec, PutsWhatHasNoValueWhereItsKeyStandsAndShowsTheMapThatIsMissing) {
  const auto parsed = ParseCluster(
      "cluster: x\nhosts:\n  a: 10.0.0.1\n  b:\nservices: {s: {kind: box, command: y}}\n", "f", TestShapes());
  ASSERT_EQ(parsed.findings.size(), 2u);
  EXPECT_EQ(parsed.findings[0].fix, "write { address: 10.0.0.1 }");
  EXPECT_EQ(parsed.findings[1].mark, (Mark{.line = 4, .column = 3}));
}

TEST(Spec, ReadsTenThousandLinesQuickly) {
  std::string text = "cluster: big\nhosts:\n";
  for (int i = 0; i < 10000; ++i)
    text += fmt::format("  h{}: {{ address: 10.{}.{}.{} }}\n", i, i / 65536, i / 256 % 256, i % 256);
  text += "services: {s: {kind: box, command: y}}\n";
  const auto parsed = ParseCluster(text, "f", TestShapes());
  EXPECT_EQ(parsed.cluster.hosts.size(), 10000u);
  EXPECT_TRUE(parsed.findings.empty());
}

}  // namespace
}  // namespace muster::spec
