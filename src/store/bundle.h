// What the store looks at in a revision's bundle. The contents of files are kept apart from it, sealed: in
// their place stands {"sealed": SHA-256 of the content}. Pure. Internal to store.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/result.h"

namespace muster::store {

// The bundle without the contents of its files, which are put into `texts` by their SHA-256. What is no
// bundle stays as it is.
std::string TakeOutTexts(const std::string& bundle, std::map<std::string, std::string>& texts);
// The bundle as it was before. The errors are those of `text_of`, the first one.
Result<std::string> PutInTexts(const std::string& bundle,
                               const std::function<Result<std::string>(const std::string& sha256)>& text_of);

// Adds every "sha256" in a bundle, wherever it stands: what a later version adds is then kept by this one,
// too. False where the bundle can't be read.
bool CollectBlobs(const std::string& bundle, std::set<std::string>& used);

}  // namespace muster::store
