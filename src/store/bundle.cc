#include "store/bundle.h"

#include <nlohmann/json.hpp>

#include "base/digest.h"

namespace muster::store {
namespace {

using nlohmann::json;

constexpr const char* kSealed = "sealed";

// Calls `act` for what stands as "text" of each file.
template <class Act>
void EachText(json& bundle, Act act) {
  if (!bundle.is_object()) return;
  const auto files = bundle.find("files");
  if (files == bundle.end() || !files->is_object()) return;
  for (json& file : *files) {
    if (!file.is_object()) continue;
    if (const auto text = file.find("text"); text != file.end()) act(*text);
  }
}

void Collect(const json& node, std::set<std::string>& used) {
  if (node.is_object()) {
    const auto found = node.find("sha256");
    if (found != node.end() && found->is_string()) used.insert(found->get<std::string>());
  }
  if (node.is_structured()) {
    for (const json& inner : node) Collect(inner, used);
  }
}

}  // namespace

std::string TakeOutTexts(const std::string& bundle, std::map<std::string, std::string>& texts) {
  json parsed = json::parse(bundle, nullptr, false);
  bool taken = false;
  EachText(parsed, [&](json& text) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty()) return;
    // Not the file's own "sha256": that is whatever the client said.
    const std::string sha256 = Sha256Hex(text.get_ref<const std::string&>());
    texts[sha256] = text.get<std::string>();
    // No older release takes this for a file without content: it says that it can't read the revision.
    text = json{{kSealed, sha256}};
    taken = true;
  });
  return taken ? parsed.dump() : bundle;
}

Result<std::string> PutInTexts(const std::string& bundle,
                               const std::function<Result<std::string>(const std::string&)>& text_of) {
  if (bundle.find(kSealed) == std::string::npos) return bundle;
  json parsed = json::parse(bundle, nullptr, false);
  std::optional<Error> wrong;
  bool put = false;
  EachText(parsed, [&](json& text) {
    if (wrong || !text.is_object() || !text.contains(kSealed) || !text[kSealed].is_string()) return;
    Result<std::string> content = text_of(text[kSealed].get<std::string>());
    if (!content.ok()) {
      wrong = std::move(content).error();
      return;
    }
    text = std::move(content).value();
    put = true;
  });
  if (wrong) return *wrong;
  return put ? parsed.dump() : bundle;
}

bool CollectBlobs(const std::string& bundle, std::set<std::string>& used) {
  const json parsed = json::parse(bundle, nullptr, false);
  if (!parsed.is_discarded()) Collect(parsed, used);
  return !parsed.is_discarded();
}

}  // namespace muster::store
