#include "spec/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <map>
#include <sstream>
#include <unordered_map>

#include "base/bytes.h"
#include "base/text.h"
#include "spec/scan.h"

namespace muster::spec {
namespace {

constexpr size_t kDepthMost = 64;         // yaml-cpp recurses, in step with its events
constexpr size_t kAliasedMost = 4 << 20;  // bytes, roughly: aliases can make a small file enormous

struct TooMuch {
  Mark mark;
};

Mark MarkOf(const YAML::Mark& mark) { return {.line = mark.line + 1, .column = mark.column + 1}; }

// What a copy of it takes, roughly, and how deep it is.
struct Extent {
  size_t bytes = 0;
  size_t depth = 0;
};

Extent ExtentOf(const Value& value) {
  Extent extent{.bytes = sizeof value + value.text.size()};
  const auto add = [&](const Value& child) {
    const Extent below = ExtentOf(child);
    extent.bytes += below.bytes;
    extent.depth = std::max(extent.depth, below.depth + 1);
  };
  for (const Value& item : value.items) add(item);
  for (const Value::Entry& entry : value.entries) {
    extent.bytes += entry.key.size();
    add(entry.value);
  }
  return extent;
}

// Builds the tree from the parser's events.
class Builder : public YAML::EventHandler {
 public:
  Builder(const Scanned& scanned, std::vector<Finding>& findings) : scanned_(scanned), findings_(findings) {}

  Value root;

  // Where that is in the file, which lacks the quotes that were added.
  Mark InFile(const YAML::Mark& mark) const { return scanned_.InFile(MarkOf(mark)); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Value value;
    value.mark = InFile(mark);
    Add(std::move(value), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    // An alias within what it stands for has no value yet.
    if (found == anchors_.end())
      throw YAML::ParserException(mark, "the alias stands within what it stands for");
    const Extent extent = ExtentOf(found->second);
    aliased_bytes_ += extent.bytes;
    if (aliased_bytes_ > kAliasedMost || levels_.size() + extent.depth > kDepthMost)
      throw TooMuch{InFile(mark)};
    Value value = found->second;
    value.mark = InFile(mark);
    Add(std::move(value), 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    Value value;
    value.mark = InFile(mark);
    value.text = text;
    value.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";  // `!!str 5` is a text as "5" is
    value.type = value.quoted ? Value::Type::kString : PlainType(text);
    if (value.quoted && scanned_.IsQuotedHere(MarkOf(mark)))
      value.quoted = false;  // as it stands in the file
    Add(std::move(value), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(Value::Type::kList, mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(Value::Type::kMap, mark, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Level {
    Value value;
    YAML::anchor_t anchor;
    bool has_key = false;
    bool is_merge = false;
    bool is_double = false;  // the key has been there before: kept out of the tree
    std::string key;
    Mark key_mark;
    std::unordered_map<std::string, int> lines;  // of the keys so far
    std::vector<Value> merged;                   // values of `<<`
  };

  void Open(Value::Type type, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (levels_.size() >= kDepthMost) throw TooMuch{InFile(mark)};
    Level level{.value = {}, .anchor = anchor};
    level.value.type = type;
    level.value.mark = InFile(mark);
    levels_.push_back(std::move(level));
  }

  void Close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    // Read as it was meant, so that nothing is said of keys that seem to be missing.
    for (Value& merged : level.merged) {
      for (Value::Entry& entry : merged.entries) {
        if (level.lines.emplace(entry.key, 0).second) level.value.entries.push_back(std::move(entry));
      }
    }
    Add(std::move(level.value), level.anchor);
  }

  void Add(Value value, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = value;
    if (levels_.empty()) {
      root = std::move(value);
      return;
    }
    Level& level = levels_.back();
    if (level.value.type == Value::Type::kList) {
      level.value.items.push_back(std::move(value));
      return;
    }
    if (!level.has_key) {
      level.has_key = true;
      level.key_mark = value.mark;
      level.key = value.text;
      level.is_merge = value.text == "<<" && !value.quoted;
      if (level.is_merge) {
        findings_.push_back({.severity = Severity::kError,
                             .code = "yaml-merge-key",
                             .mark = value.mark,
                             .message = "merge keys (<<) are no part of YAML 1.2 and aren't supported",
                             .fix = "write the keys out; an alias may stand for a whole value: env: *common",
                             .file = ""});
        return;
      }
      if (!value.is_scalar()) {
        findings_.push_back({.severity = Severity::kError,
                             .code = "bad-key",
                             .mark = value.mark,
                             .message = "a key must be a word, not a list or a map",
                             .fix = "put a key in quotes if it begins with [ or {",
                             .file = ""});
      }
      const auto [first, is_new] = level.lines.emplace(level.key, value.mark.line);
      if (!is_new) {
        findings_.push_back({.severity = Severity::kError,
                             .code = "duplicate-key",
                             .mark = value.mark,
                             .message = fmt::format("the key {} stands here a second time; first in line {}",
                                                    level.key, first->second),
                             .fix = "remove one of the two; the first counts",
                             .file = ""});
      }
      level.is_double = !is_new;
      return;
    }
    level.has_key = false;
    if (level.is_merge) {
      std::vector<Value> lists =
          value.type == Value::Type::kList ? std::move(value.items) : std::vector<Value>();
      if (value.type == Value::Type::kMap) level.merged.push_back(std::move(value));
      for (Value& one : lists) level.merged.push_back(std::move(one));
      return;
    }
    if (level.is_double) return;
    // The parser notices that there is no value where the next thing begins, lines below maybe.
    if (value.type == Value::Type::kNull && value.mark.line > level.key_mark.line)
      value.mark = level.key_mark;
    level.value.entries.push_back(
        {.key = std::move(level.key), .key_mark = level.key_mark, .value = std::move(value)});
  }

  const Scanned& scanned_;
  std::vector<Finding>& findings_;
  std::vector<Level> levels_;
  std::map<YAML::anchor_t, Value> anchors_;
  size_t aliased_bytes_ = 0;
};

// The first byte that is no UTF-8, or npos.
size_t NotUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterLength(text.substr(i));
    if (length == 0 || text[i] == '\0') return i;
    i += length;
  }
  return std::string_view::npos;
}

Mark MarkAt(std::string_view text, size_t offset) {
  Mark mark{.line = 1, .column = 1};
  for (size_t i = 0; i < offset && i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++mark.line;
      mark.column = 1;
    } else {
      ++mark.column;
    }
  }
  return mark;
}

}  // namespace

Value::Type PlainType(std::string_view text) {
  using Type = Value::Type;
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return Type::kNull;
  if (text == "true" || text == "false" || text == "True" || text == "False" || text == "TRUE" ||
      text == "FALSE") {
    return Type::kBool;
  }
  const char first = text.front();
  if (first != '-' && first != '+' && first != '.' && (first < '0' || first > '9')) return Type::kString;
  size_t at = first == '-' || first == '+';
  const auto digits = [&] {
    const size_t from = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at > from;
  };
  const bool whole = digits();
  if (whole && at == text.size()) return Type::kInteger;
  bool fraction = false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = digits();
  }
  if (!whole && !fraction) return Type::kString;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (!digits()) return Type::kString;
  }
  return at == text.size() ? Type::kNumber : Type::kString;
}

Value ReadYaml(std::string_view text, std::vector<Finding>& findings) {
  const auto error = [&](std::string_view code, Mark mark, std::string message, std::string fix) {
    findings.push_back({.severity = Severity::kError,
                        .code = std::string(code),
                        .mark = mark,
                        .message = std::move(message),
                        .fix = std::move(fix),
                        .file = ""});
  };
  if (const size_t bad = NotUtf8(text); bad != std::string_view::npos) {
    error("yaml-syntax", MarkAt(text, bad), "the file is not UTF-8 from here", "save it as UTF-8");
    return {};
  }
  const Scanned scanned = Scan(text, findings);
  std::istringstream stream(scanned.text);
  Builder builder(scanned, findings);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    Value root = std::move(builder.root);
    Builder rest(scanned, findings);
    if (parser.HandleNextDocument(rest)) {
      error("yaml-several-documents", rest.root.mark, "the file has a second YAML document",
            "one cluster a file: remove the line ---");
    }
    return root;
  } catch (const YAML::Exception& failure) {
    const Mark mark = builder.InFile(failure.mark);
    // Tabs that do no harm are left alone: the lines after the first of a text may have them.
    if (!scanned.tabs.empty() && scanned.tabs.front().line <= mark.line) {
      for (const Mark& tab : scanned.tabs) {
        error("tab-indent", tab, "a tab indents this line; YAML counts blanks only", "use spaces");
      }
      return {};
    }
    error("yaml-syntax", mark, failure.msg, "mend the YAML there or in the line above");
  } catch (const TooMuch& much) {
    error("yaml-too-deep", much.mark,
          fmt::format("the file is nested more than {} levels deep, or its aliases make it enormous",
                      kDepthMost),
          "write it out plainly");
  } catch (const std::exception& failure) {
    error("yaml-syntax", {}, failure.what(), "mend the YAML");
  }
  return {};
}

}  // namespace muster::spec
