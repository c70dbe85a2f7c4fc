#include "base/within.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "base/file_error.h"
#include "base/text.h"

namespace muster {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Error OpenError(const std::string& path, int error_number) {
  if (error_number == ENOENT) return Error::NotFound("file-missing", "{} does not exist", path);
  if (error_number == ELOOP || error_number == ENOTDIR) {
    return Error::Conflict("not-a-folder", "{} is a link or a file, not a folder", path)
        .Hint("somebody put it there; move it away and run the command again");
  }
  return FileError(path, error_number, "open");
}

Result<Fd> Walk(const std::string& root, const std::string& folder, const Owner* make_for) {
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

Result<Fd> OpenRegular(const Fd& folder, const std::string& name) {
  // O_NONBLOCK: a fifo that somebody put in its place must not hold the reader.
  Fd file(::openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid() && errno == ENOENT) return Error::NotFound("file-missing", "{} does not exist", name);
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return Error::Os("open " + name, errno);
  if (!S_ISREG(status.st_mode)) return Error::Conflict("not-a-file", "{} is not a file", name);
  return file;
}

}  // namespace

Result<Fd> OpenFolder(const std::string& root, const std::string& folder) {
  return Walk(root, folder, nullptr);
}

Result<Fd> MakeFolderWithin(const std::string& root, const std::string& folder, const Owner& owner) {
  return Walk(root, folder, &owner);
}

Result<Fd> OpenWithin(const std::string& root, const std::string& file) {
  MUSTER_TRY(const Fd folder, OpenFolder(root, FolderOf(file)));
  return OpenRegular(folder, NameOf(file));
}

Result<Fd> OpenWithin(const Fd& folder, const std::string& name) { return OpenRegular(folder, name); }

Result<std::string> ReadWithin(const Fd& folder, const std::string& name, size_t max_bytes) {
  MUSTER_TRY(const Fd file, OpenRegular(folder, name));
  return ReadFile(fmt::format("/proc/self/fd/{}", file.get()), max_bytes);
}

Result<std::string> ReadWithin(const std::string& root, const std::string& file, size_t max_bytes) {
  MUSTER_TRY(const Fd folder, OpenFolder(root, FolderOf(file)));
  return ReadWithin(folder, NameOf(file), max_bytes);
}

namespace {
// `write` writes to the path that it is given.
Status WriteThere(const std::string& root, const std::string& file, const Owner& owner,
                  const std::function<Status(const std::string&)>& write) {
  MUSTER_TRY(const Fd folder, MakeFolderWithin(root, FolderOf(file), owner));
  const std::string by_descriptor = fmt::format("/proc/self/fd/{}/", folder.get());
  const Status written = write(by_descriptor + NameOf(file));
  if (written.ok()) return written;
  // The path by descriptor says nothing to people.
  const Error& error = written.error();
  std::string message = error.message();
  if (const size_t at = message.find(by_descriptor); at != std::string::npos) {
    const std::string of_folder = FolderOf(file).empty() ? root : root + "/" + FolderOf(file);
    message.replace(at, by_descriptor.size(), of_folder + "/");
  }
  return Error(error.kind(), error.code(), message).Hint("{}", error.hint());
}
}  // namespace

Status WriteWithin(const std::string& root, const std::string& file, std::string_view bytes, mode_t mode,
                   const Owner& owner) {
  const WriteOptions options{.mode = mode, .owner = owner.uid, .group = owner.gid};
  return WriteThere(root, file, owner,
                    [&](const std::string& path) { return WriteFile(path, bytes, options); });
}

Status WriteWithin(const std::string& root, const std::string& file, const Fd& from, mode_t mode,
                   const Owner& owner) {
  const WriteOptions options{.mode = mode, .owner = owner.uid, .group = owner.gid};
  return WriteThere(root, file, owner,
                    [&](const std::string& path) { return WriteFileFrom(path, from, options); });
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace muster
