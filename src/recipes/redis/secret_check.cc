#include "recipes/redis/secret_check.h"

#include <algorithm>

#include "base/text.h"
#include "model/words.h"

namespace muster::redis {
namespace {

// `requirepass VALUE` or `requirepass "VALUE"`, in which nothing means anything but itself.
bool IsPlain(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return false;
  line.remove_prefix(name.size());
  if (!line.starts_with(' ')) return false;
  line.remove_prefix(1);
  const bool quoted = line.size() >= 2 && line.front() == '"' && line.back() == '"';
  if (quoted) line = line.substr(1, line.size() - 2);
  return std::none_of(line.begin(), line.end(), [quoted](char c) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    return control || c == '"' || c == '\\' || (!quoted && (c == ' ' || c == '\''));
  });
}

bool IsPlain(const std::string& content) {
  std::vector<std::string> lines = Split(content, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines.size() == 2 && IsPlain(lines[0], "requirepass") && IsPlain(lines[1], "masterauth");
}

}  // namespace

Status CheckSecrets(const Instance& instance) {
  const auto as_it_stands = [](std::string_view) { return std::optional<std::string>(); };
  for (const InstanceFile& file : instance.files) {
    if (file.path != "secret.conf" && !file.path.ends_with("/secret.conf")) continue;
    if (IsPlain(FillWords(file.content, as_it_stands))) continue;
    return Error::Invalid(
               "secret-unusable",
               "the password of {} has a double quote, a backslash or the end of a line in it, which "
               "redis.conf would read as something else",
               instance.name)
        .Hint("set another one: muster secret set NAME, then bring it up again");
  }
  return Done();
}

}  // namespace muster::redis
