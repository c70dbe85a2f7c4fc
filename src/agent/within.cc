#include "agent/within.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"

namespace muster::agent {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Error OpenError(const std::string& path, int error_number) {
  if (error_number == ENOENT) return Error::NotFound("file-missing", "{} does not exist", path);
  if (error_number == ELOOP || error_number == ENOTDIR) {
    return Error::Conflict("not-a-folder", "{} is a link or a file, not a folder", path)
        .Hint("somebody put it there; move it away and run the command again");
  }
  if (error_number == ENOSPC || error_number == EDQUOT) {
    return Error::Unavailable("disk-full", "no space left for {}", path)
        .Hint("free some space and try again");
  }
  return Error::Os("open " + path, error_number);
}

Result<Fd> Walk(const std::string& root, const std::string& folder, const User* make_for) {
  Fd at(::open(root.c_str(), kFolderFlags));
  if (!at.valid()) return OpenError(root, errno);
  if (folder.empty()) return at;
  std::string path = root;
  for (const std::string& part : Split(folder, '/')) {
    path += "/" + part;
    if (make_for && ::mkdirat(at.get(), part.c_str(), 0700) != 0 && errno != EEXIST) {
      return OpenError(path, errno);
    }
    Fd next(::openat(at.get(), part.c_str(), kFolderFlags));
    if (!next.valid()) return OpenError(path, errno);
    if (make_for && make_for->uid != static_cast<uid_t>(-1) &&
        ::fchown(next.get(), make_for->uid, make_for->gid) != 0) {
      return Error::Os("chown " + path, errno);
    }
    at = std::move(next);
  }
  return at;
}

}  // namespace

Result<Fd> OpenFolder(const std::string& root, const std::string& folder) {
  return Walk(root, folder, nullptr);
}

Result<Fd> MakeFolderWithin(const std::string& root, const std::string& folder, const User& user) {
  return Walk(root, folder, &user);
}

std::string PathIn(const Fd& folder, const std::string& name) {
  return fmt::format("/proc/self/fd/{}/{}", folder.get(), name);
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace muster::agent
