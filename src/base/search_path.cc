#include "base/search_path.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

namespace muster {

std::string FindInPath(std::string_view path, std::string_view program) {
  for (const std::string& folder : Split(path, ':')) {
    if (!folder.starts_with('/')) continue;
    const std::string candidate = folder + "/" + std::string(program);
    struct stat file {};
    const bool is_file = stat(candidate.c_str(), &file) == 0 && S_ISREG(file.st_mode);
    if (is_file && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

}  // namespace muster
