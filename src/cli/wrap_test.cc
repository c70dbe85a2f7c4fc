#include "cli/wrap.h"

#include <gmock/gmock.h>

#include "cli/console.h"
#include "cli/views.h"

namespace muster::cli {
namespace {

TEST(WrapText, GoesOnBehindALabelAndIndentedBelowAPlaceInAFile) {
  EXPECT_EQ(
      WrapText("shop.yaml:9:15: warning: anybody may read and write it [open]\n  fix: give it a password",
               32),
      "shop.yaml:9:15: warning: anybody\n"
      "    may read and write it [open]\n"
      "  fix: give it a password");
  EXPECT_EQ(WrapText("  fix: give it a password of its own\n", 20),
            "  fix: give it a\n       password of\n       its own\n");
  EXPECT_EQ(WrapText("note: cache: no write is lost by it", 20),
            "note: cache: no\n      write is lost\n      by it");
}

TEST(WrapText, GoesOnInTheLastColumnThatLeavesRoomForIt) {
  EXPECT_EQ(WrapText("pass  cache-1, the primary, takes a write", 24),
            "pass  cache-1, the\n      primary, takes a\n      write");
  EXPECT_EQ(
      WrapText("  ~ cache-1  h1  restart  step-down → stop → install → start → settle  (maxmemory)", 60),
      "  ~ cache-1  h1  restart  step-down → stop → install → start\n"
      "                          → settle  (maxmemory)");
}

TEST(WrapText, BreaksNoWordAndNoQuotation) {
  EXPECT_EQ(WrapText("look at http://127.0.0.1:8080/a/long/way/down at once", 16),
            "look at\n    http://127.0.0.1:8080/a/long/way/down\n    at once");
  EXPECT_EQ(WrapText("  | what it wrote last is longer", 12), "  | what it wrote last is longer");
  EXPECT_EQ(WrapText("as long as it likes", 0), "as long as it likes");
}

TEST(WrapText, CountsColumnsThatAreSeen) {
  EXPECT_EQ(WrapText("\x1b[31moutage: \x1b[0mcache is out", 20), "\x1b[31moutage: \x1b[0mcache is out");
  EXPECT_EQ(WrapText("\x1b[31moutage: \x1b[0mcache is out for long", 20),
            "\x1b[31moutage: \x1b[0mcache is out\n        for long");
  EXPECT_EQ(WrapText("网关 网关 网关", 10), "网关 网关\n    网关");
}

TEST(Console, BreaksLinesAtATerminalOnly) {
  std::string out, err;
  Console console;
  console.out = [&](std::string_view text) { out += text; };
  console.err = [&](std::string_view text) { err += text; };
  console.size = [] { return Size{.columns = 20, .rows = 24}; };
  console.OutLine("error: one two three four");
  EXPECT_EQ(out, "error: one two three four\n");
  out.clear();
  console.out_is_terminal = console.err_is_terminal = true;
  console.OutLine("error: one two three four");
  console.ErrLine("error: one two three four");
  EXPECT_EQ(out, "error: one two three\n       four\n");
  EXPECT_EQ(err, out);
  out.clear();
  console.OutText("{\"error\": \"one two three four\"}");
  EXPECT_EQ(out, "{\"error\": \"one two three four\"}\n");
}

TEST(PlanText, BreaksLinesButNotThoseOfFiles) {
  Plan plan;
  plan.notes = {"cache: no write is lost by it"};
  plan.drift = {
      {"cache-1", {.path = "conf", .what = "changed", .difference = {"+a line of a file of its own"}}}};
  EXPECT_EQ(PlanText(plan, {.columns = 20}),
            "drift: conf of\n       cache-1 was\n       changed by\n       hand\n"
            "    +a line of a file of its own\n"
            "note: cache: no\n      write is lost\n      by it\n"
            "nothing to do\n");
}

}  // namespace
}  // namespace muster::cli
