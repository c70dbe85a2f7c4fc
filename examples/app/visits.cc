#include "visits.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace example {
namespace {

using std::chrono::milliseconds;

constexpr const char* kKey = "visits";
constexpr milliseconds kBound{2000};
constexpr milliseconds kPause{20};
constexpr int kRedirectsMost = 5;

bool TakeWord(std::string_view& text, std::string_view word) {
  if (text.substr(0, word.size()) != word) return false;
  text.remove_prefix(word.size());
  return true;
}

// What another node, or the same one a moment later, may do all the same.
bool Passes(std::string_view error) {
  const std::string_view code = error.substr(0, error.find(' '));
  const std::string_view passing[] = {"-LOST",       "-CLUSTERDOWN", "-TRYAGAIN",
                                      "-MASTERDOWN", "-LOADING",     "-READONLY"};
  return std::find(std::begin(passing), std::end(passing), code) != std::end(passing);
}

}  // namespace

void Visits::Count(std::function<void(const Visit&)> done) {
  auto going = std::make_shared<Going>();
  going->done = std::move(done);
  loop_.After(kBound, [this, going] { Finish(going, {.why = going->why}); });
  if (owner_.empty())
    AskAnother(going);
  else
    Ask(going, owner_, false);
}

void Visits::Ask(const std::shared_ptr<Going>& going, const std::string& node, bool asking) {
  std::unique_ptr<RedisLink>& link = links_[node];
  if (!link) link = std::make_unique<RedisLink>(loop_, node, options_.redis_password);
  if (asking) link->Send({"ASKING"}, [](std::string_view) {});
  link->Send({"INCR", kKey}, [this, going, node, asking](std::string_view line) {
    if (line[0] == ':' && !asking) owner_ = node;
    On(going, node, line);
  });
}

void Visits::On(const std::shared_ptr<Going>& going, const std::string& node, std::string_view line) {
  if (line[0] == ':') {
    Visit visit{.node = node};
    std::from_chars(line.data() + 1, line.data() + line.size(), visit.number);
    return Finish(going, std::move(visit));
  }
  if (!going->done) return;
  if (line.substr(0, 7) == "-MOVED " || line.substr(0, 5) == "-ASK ") return Redirect(going, node, line);
  if (owner_ == node) owner_.clear();
  const bool passes = Passes(line);
  if (!TakeWord(line, "-LOST ")) line.remove_prefix(1);
  going->why = line;
  if (!passes) return Finish(going, {.why = going->why});
  loop_.After(kPause, [this, going] { AskAnother(going); });
}

// "-MOVED 866 10.0.0.1:7001", "-ASK 866 10.0.0.1:7001"; without a host it is the one that was asked.
void Visits::Redirect(const std::shared_ptr<Going>& going, const std::string& from, std::string_view error) {
  const bool moved = TakeWord(error, "-MOVED ");
  std::string node(error.substr(error.rfind(' ') + 1));
  if (node.substr(0, 1) == ":") node = from.substr(0, from.rfind(':')) + node;
  if (std::find(nodes_.begin(), nodes_.end(), node) == nodes_.end()) nodes_.push_back(node);
  if (moved) owner_ = node;
  if (++going->redirects <= kRedirectsMost) return Ask(going, node, !moved);
  // Two that each name the other, or one that names who is gone: in a moment they know better.
  going->redirects = 0;
  going->why = "Redis sends from node to node";
  loop_.After(kPause, [this, going] { AskAnother(going); });
}

void Visits::AskAnother(const std::shared_ptr<Going>& going) {
  if (!going->done) return;
  const std::string node = nodes_[next_++ % nodes_.size()];
  Ask(going, node, false);
}

void Visits::Finish(const std::shared_ptr<Going>& going, Visit visit) {
  if (!going->done) return;
  if (visit.why != last_.why)
    Log(visit.why.empty() ? "visits are counted by " + visit.node : "a visit isn't counted: " + visit.why);
  last_ = std::move(visit);
  const Visit told = last_;
  std::exchange(going->done, nullptr)(told);
}

}  // namespace example
