// Secrets in desired state are markers: layouts never see the values. The server replaces markers by values
// in the order to the agent, and by keyed digests where it hashes. Pure: `value` is only called while the
// function runs.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

// "\x01secret:NAME\x02"
std::string SecretMarker(std::string_view name);
std::vector<std::string> SecretNamesIn(std::string_view text);
std::string ReplaceSecrets(std::string_view text,
                           const std::function<std::string(std::string_view name)>& value);
// "{{secret.NAME}}" for people.
std::string MaskMarkers(std::string_view text);

}  // namespace muster
