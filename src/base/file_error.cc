#include "base/file_error.h"

#include <cerrno>

namespace muster {

Error FileError(std::string_view path, int error_number, std::string_view what_was_done) {
  if (error_number != ENOSPC && error_number != EDQUOT) {
    return Error::Os(what_was_done.empty() ? std::string(path) : fmt::format("{} {}", what_was_done, path),
                     error_number);
  }
  return Error::Unavailable("disk-full", "no space left for {}", path).Hint("free some space and try again");
}

}  // namespace muster
