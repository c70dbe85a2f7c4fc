// What `verify` tries of a real nginx: it passes what is right and fails what isn't.
#include "recipes/nginx/testing_nginx.h"
#include "recipes/nginx/verdicts.h"

namespace muster::nginx {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;
using Names = std::vector<std::string>;

class NginxVerifyTest : public NginxOperatorTest {
 protected:
  void Start() {
    const Status prepared = loop_.RunTask(operator_->Prepare(Context()));
    ASSERT_TRUE(prepared.ok()) << prepared.error().Text();
    StartNginx();
  }

  // The checks that fail, and what they tell, where nginx does as `world` says and the file promises
  // something else.
  Names Failing(const std::string& world, const std::string& promised) {
    Install(world);
    const Status reloaded = loop_.RunTask(operator_->Reload(Context()));
    EXPECT_TRUE(reloaded.ok()) << reloaded.error().Text();
    Promise(promised);
    return Failing();
  }
  Names Failing() {
    Names failing;
    told_.clear();
    for (const Check& check : loop_.RunTask(operator_->Verify(Context(), {}))) {
      const std::string name = check.name.substr(check.name.find(' ') + 1);
      told_ += fmt::format("{} {}: {}\n",
                           check.skipped  ? "skip"
                           : check.passed ? "pass"
                                          : "FAIL",
                           name, Join(check.evidence, " | "));
      if (!check.passed) failing.push_back(name);
    }
    return failing;
  }

  std::string told_;
};

TEST_F(NginxVerifyTest, VerifiesEachRoute) {
  const std::string routes = R"(
      {"path": "/", "to": "app", "body_limit": "8k"},
      {"path": "/api/", "to": "app", "strip": true, "try": "/api/x/y"},
      {"path": "/sticky/", "to": "app", "balance": "ip_hash"},
      {"path": "/one/", "to": "app-2", "strip": "/one"},
      {"path": "/no/", "status": 404}, {"path": "/deny/", "deny": true},
      {"path": "/old", "redirect": {"to": "/new$is_args$args", "status": 301}},
      {"path": "/ui/", "static": {"files": {"index.html": "page"}, "fallback": "index.html"}})";
  Install(Settings(R"("gzip": true, "real_ip": {"from": "127.0.0.0/8"},)", routes));
  const Status prepared = loop_.RunTask(operator_->Prepare(Context()));
  ASSERT_TRUE(prepared.ok()) << prepared.error().Text();
  StartNginx();
  EXPECT_EQ(Fetch("/ui/some/page")->body, "<p>hello</p>\n");
  EXPECT_EQ(Fetch("/")->headers.count("x-muster-upstream"), 0u);
  const std::vector<Check> checks = loop_.RunTask(operator_->Verify(Context(), {}));
  std::string told;
  std::vector<std::string> failed;
  for (const Check& check : checks) {
    told += check.name + "\n";
    if (!check.passed) failed.push_back(check.name + ": " + Join(check.evidence, " | "));
  }
  EXPECT_THAT(failed, IsEmpty());
  for (const char* name :
       {"/ reaches app", "/ spreads 8 requests over 2", "/ refuses a body over 8k", "/api/ arrives as /x/y",
        "/sticky/ sends one client to one", "/sticky/ spreads 16 clients", "/one/ arrives as /",
        "/no/ answers 404", "/deny/ answers 403", "/old redirects to", "/ui/ serves its files",
        "/ is compressed"}) {
    EXPECT_THAT(told, HasSubstr(name));
  }

  // What isn't as it should be is found: here nobody listens where the apps should.
  for (auto& [name, place] : placement_) place.ports["http"].first = FreePort();
  Install(
      Settings("", R"({"path": "/", "to": "app"}, {"path": "/sticky/", "to": "app", "balance": "ip_hash"})"));
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  size_t bad = 0;
  for (const Check& check : loop_.RunTask(operator_->Verify(Context(), {}))) bad += check.passed ? 0 : 1;
  EXPECT_GE(bad, 2u);
}

TEST_F(NginxVerifyTest, TellsWhoIsLetIn) {
  const std::string routes = R"(
      {"path": "/", "to": "app"},
      {"path": "/far/", "to": "app", "allow_from": "203.0.113.0/24"},
      {"path": "/far-files/", "static": {"files": {"index.html": "page"}}, "allow_from": "203.0.113.0/24"},
      {"path": "/near/", "to": "app", "allow_from": ["203.0.113.0/24", "127.0.0.9"]},
      {"path": "/near-files/", "static": {"files": {"index.html": "page"}}, "allow_from": "127.0.0.0/8"})";
  Install(Settings("", routes));
  const Status prepared = loop_.RunTask(operator_->Prepare(Context()));
  ASSERT_TRUE(prepared.ok()) << prepared.error().Text();
  StartNginx();
  const auto verified = [&] {
    std::map<std::string, bool> passed;
    for (const Check& check : loop_.RunTask(operator_->Verify(Context(), {})))
      passed[check.name] = check.passed;
    return passed;
  };
  const std::map<std::string, bool> passed = verified();
  const auto of = [&](const char* route) {
    std::string told;
    for (const auto& [name, good] : passed) {
      if (name.starts_with(std::string("edge-1: ") + route + " "))
        told += (good ? "+" : "-") + name.substr(8) + "\n";
    }
    return told;
  };
  EXPECT_EQ(of("/far/"), "+/far/ refuses this host, as `allow_from` says\n");
  EXPECT_EQ(of("/far-files/"), "+/far-files/ refuses this host, as `allow_from` says\n");
  EXPECT_THAT(of("/near/"), HasSubstr("+/near/ reaches app\n"));
  EXPECT_THAT(of("/near/"), HasSubstr("+/near/ refuses 127.0.0.1, as `allow_from` says\n"));
  EXPECT_THAT(of("/near/"), HasSubstr("+/near/ spreads 8 requests over 2 instances\n"));
  EXPECT_THAT(of("/near-files/"), HasSubstr("+/near-files/ serves its files\n"));

  // A file that nginx may not read is no rule at work.
  ASSERT_EQ(chmod((folder_ + "/" + StaticFolder(0, {.path = "/near-files/"}) + "/index.html").c_str(), 0), 0);
  const std::map<std::string, bool> unread = verified();
  EXPECT_FALSE(unread.at("edge-1: /near-files/ serves its files"));
}

struct Wrong {
  const char* what;
  std::string more, world, promised;  // more: of both
  Names failing;
};

TEST_F(NginxVerifyTest, FailsWhatIsNotAsPromised) {
  Install(Plain());
  Start();
  const Wrong cases[] = {
      {"another instance answers",
       "",
       R"({"path": "/a", "to": "app-2"})",
       R"({"path": "/a", "to": "app-1"})",
       {"/a reaches app-1"}},
      {"a regular expression catches it",
       "",
       R"({"path": "/a/", "to": "app-1"}, {"path": "^/[ab]", "match": "regex", "to": "app-2"})",
       R"({"path": "/a/", "to": "app-1"})",
       {"/a/ reaches app-1"}},
      {"nginx answers in its place",
       "",
       R"({"path": "/a", "status": 404})",
       R"({"path": "/a", "to": "app-1"})",
       {"/a reaches app-1"}},
      {"the instance answers 500",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/answers/500", "to": "app-1"})",
       {"/answers/500 reaches app-1"}},
      {"one gets nothing",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/", "to": "app"})",
       {"/ spreads 16 requests over 2 instances"}},
      {"one gets nothing with least_conn",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/", "to": "app", "balance": "least_conn"})",
       {"/ spreads 32 requests over 2 instances"}},
      {"clients are sent anywhere",
       "",
       R"({"path": "/", "to": "app"})",
       R"({"path": "/", "to": "app", "balance": "ip_hash"})",
       {"/ sends one client to one instance"}},
      {"all clients are sent to one",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/", "to": "app", "balance": "ip_hash"})",
       {"/ spreads 16 clients"}},
      {"all clients that a proxy tells of are sent to one",
       R"("real_ip": {"from": "127.0.0.0/8"},)",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/", "to": "app", "balance": "ip_hash"})",
       {"/ spreads 16 clients"}},
      {"the prefix stays",
       "",
       R"({"path": "/a/", "to": "app-1"})",
       R"({"path": "/a/", "to": "app-1", "strip": true})",
       {"/a/ arrives as /"}},
      {"it redirects elsewhere",
       "",
       R"({"path": "/a", "redirect": "/new"})",
       R"({"path": "/a", "redirect": "/"})",
       {"/a redirects to /"}},
      {"it redirects for a while only",
       "",
       R"({"path": "/a", "redirect": "/new"})",
       R"({"path": "/a", "redirect": {"to": "/new", "status": 301}})",
       {"/a redirects to /new"}},
      {"it doesn't redirect",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/a", "redirect": "/new"})",
       {"/a redirects to /new"}},
      {"it denies nothing",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/a", "deny": true})",
       {"/a answers 403"}},
      {"an instance says what nginx should",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/answers/403", "deny": true})",
       {"/answers/403 answers 403"}},
      {"everybody is let in",
       "",
       R"({"path": "/a", "to": "app-1"})",
       R"({"path": "/a", "to": "app-1", "allow_from": "127.0.0.9"})",
       {"/a refuses 127.0.0.1, as `allow_from` says"}},
      {"a header is missing",
       "",
       R"({"path": "/a", "to": "app-1"})",
       R"({"path": "/a", "to": "app-1", "response_headers": {"X-Frame-Options": "DENY"}})",
       {"/a sends X-Frame-Options"}},
      {"a header says something else",
       "",
       R"({"path": "/a", "to": "app-1", "response_headers": {"X-Frame-Options": "SAMEORIGIN"}})",
       R"({"path": "/a", "to": "app-1", "response_headers": {"X-Frame-Options": "DENY"}})",
       {"/a sends X-Frame-Options"}},
      {"bodies may be larger",
       "",
       R"({"path": "/a", "to": "app-1", "body_limit": "1m"})",
       R"({"path": "/a", "to": "app-1", "body_limit": "8k"})",
       {"/a refuses a body over 8k"}},
      {"nobody takes WebSockets",
       "",
       R"({"path": "/a", "to": "app-1"})",
       R"({"path": "/a", "to": "app-1", "websocket": true})",
       {"/a echoes over WebSocket: text, binary, fragmented"}},
      {"it isn't compressed",
       "",
       R"({"path": "/a", "to": "app-1"})",
       R"({"path": "/a", "to": "app-1", "gzip": {"types": "text/plain"}})",
       {"/a is compressed"}},
      {"an instance answers in place of files",
       "",
       R"({"path": "/", "to": "app-1"})",
       R"({"path": "/s/", "static": {"files": {"a.txt": "page", "b.txt": "script"}}})",
       {"/s/ serves its files", "/s/ serves each of its 2 files"}},
      {"a file is another",
       "",
       R"({"path": "/s/", "static": {"files": {"a.txt": "page", "b.txt": "page"}}})",
       R"({"path": "/s/", "static": {"files": {"a.txt": "page", "b.txt": "script"}}})",
       {"/s/ serves each of its 2 files"}},
      {"a file isn't there",
       "",
       R"({"path": "/s/", "static": {"files": {"a.txt": "page"}}})",
       R"({"path": "/s/", "static": {"files": {"a.txt": "page", "c d.txt": "page"}}})",
       {"/s/ serves each of its 2 files"}},
  };
  for (const Wrong& one : cases) {
    SCOPED_TRACE(one.what);
    EXPECT_THAT(Failing(Settings(one.more, one.world), Settings(one.more, one.promised)),
                UnorderedElementsAreArray(one.failing))
        << told_;
    // The same promise is kept by an nginx that knows of it. The apps here know nothing of WebSockets, and
    // are told by their path what to answer.
    if (one.promised.find("websocket") == std::string::npos &&
        one.promised.find("/answers/500") == std::string::npos) {
      EXPECT_THAT(Failing(Settings(one.more, one.promised), Settings(one.more, one.promised)), IsEmpty())
          << told_;
    }
  }
}

TEST_F(NginxVerifyTest, FailsWhatWasChangedOrIsGone) {
  const std::string settings = Settings("", R"({"path": "/", "to": "app"}, {"path": "/no", "to": "app-1"},
      {"path": "/s/", "static": {"files": {"a.txt": "page", "b.txt": "script", "sub/c d.txt": "page"}}})");
  const std::string files = folder_ + "/" + StaticFolder(0, {.path = "/s/"});
  Install(settings);
  Start();
  EXPECT_THAT(Failing(), IsEmpty()) << told_;
  ASSERT_TRUE(WriteFile(files + "/sub/c d.txt", "mine", {.mode = 0644}).ok());
  EXPECT_THAT(Failing(), ElementsAre("/s/ serves each of its 3 files"));
  EXPECT_THAT(told_, HasSubstr("GET /s/sub/c%20d.txt: its content is not that of the file"));
  ASSERT_TRUE(WriteFile(files + "/a.txt", "mine", {.mode = 0644}).ok());
  EXPECT_THAT(Failing(), ElementsAre("/s/ serves its files", "/s/ serves each of its 3 files"));
  Install(settings);
  EXPECT_THAT(Failing(), IsEmpty()) << told_;

  // A dead member: the other one answers for it, so that no client notices.
  placement_.at("app-1").ports["http"].first = FreePort();
  Install(settings);
  ASSERT_TRUE(loop_.RunTask(operator_->Reload(Context())).ok());
  EXPECT_THAT(Failing(), ElementsAre("/ spreads 16 requests over 2 instances", "/no reaches app-1"));
}

TEST_F(NginxVerifyTest, TellsOfWhatAServiceRefuses) {
  Install(Settings("", R"({"path": "/answers/404", "to": "app-1"})"));
  Start();
  EXPECT_THAT(Failing(), IsEmpty());
  EXPECT_THAT(told_, HasSubstr("pass /answers/404 reaches app-1, which answers 404"));
}

TEST_F(NginxVerifyTest, TellsAMembersOwn502FromNoAnswer) {
  Install(Settings("", R"({"path": "/answers/502", "to": "app"}, {"path": "/answers/503", "to": "app"})"));
  Start();
  EXPECT_THAT(Failing(), ElementsAre("/answers/502 reaches app", "/answers/503 reaches app"));
  EXPECT_THAT(told_, Not(HasSubstr("no member answered")));
}

TEST_F(NginxVerifyTest, SaysOnceThatNobodyIsThere) {
  for (auto& [name, place] : placement_) place.ports["http"].first = FreePort();
  const std::string app = R"({"path": "/", "to": "app"})";
  Install(Settings("", app));
  Start();
  EXPECT_THAT(Failing(), ElementsAre("/ reaches app", "/ spreads 8 requests over 2 instances"));
  EXPECT_THAT(told_, HasSubstr("no member answered: 1"));
  EXPECT_THAT(told_, Not(HasSubstr("): 1")));

  EXPECT_EQ(Order("backends", {{"out", "app-1,app-2"}}), "");
  EXPECT_THAT(Failing(), ElementsAre("/ reaches app"));
  EXPECT_THAT(told_, HasSubstr("all its instances are out"));
  EXPECT_THAT(told_, Not(HasSubstr("spreads")));
}

TEST_F(NginxVerifyTest, AsksByEachPortAndName) {
  const int other = FreePort();
  const auto settings = [&](const std::string& ports, const std::string& names,
                            const std::string& more = "") {
    return R"({"workers": 1, "servers": [{"listen": [)" + ports + R"(], "server_name": [)" + names +
           R"(], "routes": [{"path": "/", "to": "app-1"}, {"path": "/no", "status": 404}]})" + more + "]}";
  };
  const std::string both = fmt::format("{}, {}", port_, other), one = std::to_string(port_);
  const std::string names = R"("a.example", "b_c.example", "*.d.example", "~^e", "_")";
  Install(settings(both, names));
  Start();
  EXPECT_THAT(Failing(), IsEmpty()) << told_;
  EXPECT_THAT(told_,
              HasSubstr(fmt::format("pass a.example:{} answers as a.example:{}: 2 routes", other, port_)));
  EXPECT_THAT(told_, HasSubstr(fmt::format("pass b_c.example:{} answers as a.example:{}", port_, port_)));
  EXPECT_THAT(told_, HasSubstr(fmt::format("pass muster-verify.d.example:{} answers as", port_)));
  EXPECT_THAT(told_, HasSubstr("skip ~^e answers as"));

  EXPECT_THAT(Failing(settings(one, names), settings(both, names)),
              ElementsAre(fmt::format("a.example:{} answers as a.example:{}", other, port_)));
  // Another server has one of the names.
  const std::string second = fmt::format(
      R"(, {{"listen": {}, "server_name": "b_c.example", "routes": [{{"path": "/", "to": "app-2"}}]}})",
      port_);
  EXPECT_THAT(
      Failing(settings(both, R"("a.example", "*.d.example", "~^e", "_")", second), settings(both, names)),
      ElementsAre(fmt::format("b_c.example:{} answers as a.example:{}", port_, port_)));
  EXPECT_THAT(told_, HasSubstr("/ reaches app-1 | GET /: status 200 from"));
  // Where each has a route of the same path, it is said whose is meant.
  Failing(settings(one, R"("a.example")", second), settings(one, R"("a.example")", second));
  EXPECT_THAT(told_, HasSubstr(fmt::format("pass / at a.example:{} reaches app-1", port_)));
  EXPECT_THAT(told_, HasSubstr(fmt::format("pass / at b_c.example:{} reaches app-2", port_)));
  EXPECT_THAT(told_, HasSubstr("pass /no answers 404"));
}

TEST_F(NginxVerifyTest, SaysWhatItCouldNotTry) {
  Install(Settings(R"("gzip": {"types": ["application/javascript"], "min_length": 1000},)",
                   R"({"path": "/", "to": "app-1"}, {"path": "^/x", "match": "regex", "to": "app-1"},
                      {"path": "/s/", "static": {"files": {"a.html": "page", "b.js": "script"}}},
                      {"path": "/t/", "static": {"files": {"a.html": "page"}}})"));
  Start();
  EXPECT_THAT(Failing(), IsEmpty()) << told_;
  EXPECT_THAT(told_, HasSubstr("skip / is compressed: GET /: text/plain isn't among gzip.types\n"));
  EXPECT_THAT(told_,
              HasSubstr("skip ^/x is tried: a regular expression: `try:` gives a path that it catches\n"));
  EXPECT_THAT(told_, HasSubstr("pass /s/ is compressed: GET /s/b.js: 2011 bytes"));
  EXPECT_THAT(told_,
              HasSubstr("skip /t/ is compressed: GET /t/a.html: 13 bytes, fewer than gzip.min_length"));
}

// --- Judging, without any nginx.

TEST(NginxVerdicts, KnowARedirect) {
  EXPECT_TRUE(IsRedirectTo("/", "http://a:8080/"));
  EXPECT_FALSE(IsRedirectTo("/", "http://a:8080/new"));
  EXPECT_FALSE(IsRedirectTo("/", ""));
  EXPECT_TRUE(IsRedirectTo("/new$is_args$args", "https://a/new"));
  EXPECT_TRUE(IsRedirectTo("https://b/x?u=http://c/d", "https://b/x?u=http://c/d"));
  EXPECT_TRUE(IsRedirectTo("/x?u=http://c/d", "/x?u=http://c/d"));
  EXPECT_FALSE(IsRedirectTo("https://b/x", "https://b/xy"));
  EXPECT_TRUE(IsRedirectTo("https://$host$request_uri", "https://a/b"));
  EXPECT_FALSE(IsRedirectTo("https://$host$request_uri", "http://a/b"));
}

TEST(NginxVerdicts, KnowWhoAnswered) {
  const auto with = [](int status, const std::string& upstream) {
    net::Response response;
    response.status = status;
    response.headers["x-muster-upstream"] = upstream;
    return response;
  };
  EXPECT_FALSE(IsNoAnswer(with(502, "10.0.0.1:80;0.004")));
  EXPECT_FALSE(IsNoAnswer(with(504, "10.0.0.1:80, 10.0.0.2:80;-, 0.004")));
  EXPECT_TRUE(IsNoAnswer(with(502, "10.0.0.1:80;-")));
  EXPECT_TRUE(IsNoAnswer(with(504, "10.0.0.2:80, 10.0.0.1:80;0.004, -")));
  EXPECT_TRUE(IsNoAnswer(with(502, "10.0.0.1:80"))) << "of an earlier release";
  EXPECT_FALSE(IsNoAnswer(with(200, "10.0.0.1:80")));
  EXPECT_EQ(UpstreamOf(with(200, "10.0.0.1:80, 10.0.0.2:80;-, 0.004")), "10.0.0.2:80");
  EXPECT_EQ(UpstreamOf(with(200, "10.0.0.1:80")), "10.0.0.1:80");
  EXPECT_EQ(UpstreamOf(with(404, ";")), "");
}

TEST(NginxVerdicts, FindNamesToAskFor) {
  EXPECT_EQ(NameFor("a_b.example"), "a_b.example");
  EXPECT_EQ(NameFor("*.example.org"), "muster-verify.example.org");
  EXPECT_EQ(NameFor(".example.org"), "example.org");
  EXPECT_EQ(NameFor("www.example.*"), "www.example.test");
  for (const char* nobody : {"_", "~^www", "$hostname"}) EXPECT_EQ(NameFor(nobody), "");
}

TEST(NginxVerdicts, JudgeASpreadByItsKind) {
  Upstream upstream{.name = "app", .members = {{"a-1", "h:1"}, {"a-2", "h:2"}, {"a-3", "h:3"}}};
  const auto judge = [&](Spread spread, std::set<std::string> out = {}) {
    return JudgeSpread(upstream, out, spread);
  };
  for (const Balance balance : {Balance::kRoundRobin, Balance::kLeastConn}) {
    upstream.balance = balance;
    EXPECT_EQ(judge({.counts = {{"h:1", 1}, {"h:2", 9}, {"h:3", 2}}}), Verdict::kGood);
    EXPECT_EQ(judge({.counts = {{"h:1", 6}, {"h:2", 6}}}), Verdict::kBad);
    EXPECT_EQ(judge({.counts = {{"h:1", 6}, {"h:2", 6}}}, {"a-3"}), Verdict::kGood);
    EXPECT_EQ(judge({.counts = {{"h:1", 4}, {"h:2", 4}, {"h:3", 3}, {"", 1}}}), Verdict::kBad);
    EXPECT_EQ(judge({.counts = {{"h:1", 4}, {"h:2", 4}, {"h:3", 3}, {"h:9", 1}}}), Verdict::kBad);
    EXPECT_EQ(judge({}), Verdict::kBad);
    // Where all are out, none is marked.
    EXPECT_EQ(judge({.counts = {{"h:1", 1}}}, {"a-1", "a-2", "a-3"}), Verdict::kBad);
  }
  Spread busy{.counts = {{"h:1", 6}, {"h:2", 6}}, .connections = {{"h:1", 2}, {"h:3", 3}}};
  EXPECT_EQ(judge(busy), Verdict::kBusy);
  busy.connections["h:2"] = 3;
  EXPECT_EQ(judge(busy), Verdict::kBad);
  upstream.balance = Balance::kRoundRobin;
  busy.connections.erase("h:2");
  EXPECT_EQ(judge(busy), Verdict::kBad);
}

TEST(NginxVerdicts, AskOnUntilItIsSeenWhoHangs) {
  EXPECT_TRUE(AskOn({{"h:1", 4}}, true));
  EXPECT_FALSE(AskOn({{"h:1", 4}, {"", 1}}, true)) << "nginx has tried them all";
  EXPECT_TRUE(AskOn({{"h:1", 4}, {"", 1}}, false)) << "the others may answer";
  EXPECT_FALSE(AskOn({{"h:1", 4}, {"", 2}}, false)) << "each takes as long";
  EXPECT_EQ(Requests({{"h:1", 4}, {"", 2}}), 6u);
}

TEST(NginxVerdicts, CountConnectionsByTheOtherEnd) {
  const auto counts = CountConnections(
      "  sl  local_address rem_address   st tx_queue rx_queue\n"
      "   0: 0100007F:8AE2 0101A8C0:1F90 01 00000000:00000000\n"
      "   1: 0100007F:8AE4 0101A8C0:1F90 01 00000000:00000000\n"
      "   2: 0100007F:8AE6 0101A8C0:1F90 06 00000000:00000000\n"
      "   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000\nrubbish\n");
  EXPECT_EQ(counts, (std::map<std::string, size_t>{{"192.168.1.1:8080", 2}}));
}

}  // namespace
}  // namespace muster::nginx
