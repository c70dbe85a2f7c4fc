#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <vector>

#include "base/digest.h"
#include "base/file_error.h"

namespace muster {
namespace {

constexpr int kRemovalsMost = 20;

Error OsError(const fs::path& path, int error_number) {
  if (error_number == ENOENT || error_number == ENOTDIR) {
    return Error::NotFound("file-missing", "{} does not exist", path.string());
  }
  if (error_number == EACCES || error_number == EPERM) {
    return Error::Denied("file-unreadable", "no permission for {}", path.string());
  }
  return FileError(path.string(), error_number);
}

Status WriteAll(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return OsError(path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return Done();
}

Status Fill(int fd, const fs::path& path, const std::function<Status(int)>& put,
            const WriteOptions& options) {
  MUSTER_DO(put(fd));
  const bool owned = options.owner != static_cast<uid_t>(-1) || options.group != static_cast<gid_t>(-1);
  if (owned && fchown(fd, options.owner, options.group) != 0) return OsError(path, errno);
  if (fchmod(fd, options.mode) != 0) return OsError(path, errno);
  if (options.durable && fsync(fd) != 0) return OsError(path, errno);
  return Done();
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = other.Release();
  }
  return *this;
}

void Fd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Result<std::string> ReadFile(const fs::path& path, size_t max_bytes) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return OsError(path, errno);
  std::string bytes;
  char buffer[65536];
  while (true) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return OsError(path, errno);
    if (got == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
    if (bytes.size() > max_bytes) {
      return Error::Invalid("file-too-large", "{} has more than {} bytes", path.string(), max_bytes);
    }
  }
}

namespace {
// `put` writes the content to the descriptor that it is given.
Status Replace(const fs::path& path, const std::function<Status(int)>& put, const WriteOptions& options) {
  const fs::path temporary = path.string() + "." + RandomHex(4) + ".tmp";
  // 0600 until it is whole: a secret is never readable for others, not for a moment.
  Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return OsError(path, errno);
  Status filled = Fill(fd.get(), path, put, options);
  fd.Reset();
  if (filled.ok() && rename(temporary.c_str(), path.c_str()) != 0) filled = OsError(path, errno);
  if (!filled.ok()) {
    unlink(temporary.c_str());
    return filled;
  }
  if (options.durable) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    const Fd folder_fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder_fd.valid() || fsync(folder_fd.get()) != 0) return OsError(folder, errno);
  }
  return Done();
}
}  // namespace

Status WriteFile(const fs::path& path, std::string_view bytes, const WriteOptions& options) {
  return Replace(
      path, [&](int fd) { return WriteAll(fd, bytes, path); }, options);
}

Status WriteFileFrom(const fs::path& path, const Fd& from, const WriteOptions& options) {
  const auto copy = [&](int fd) -> Status {
    std::vector<char> piece(256u << 10);
    for (off_t at = 0;;) {
      const ssize_t got = pread(from.get(), piece.data(), piece.size(), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return OsError(path, errno);
      if (got == 0) return Done();
      MUSTER_DO(WriteAll(fd, {piece.data(), static_cast<size_t>(got)}, path));
      at += got;
    }
  };
  return Replace(path, copy, options);
}

Status MakeFolder(const fs::path& path, mode_t mode) {
  std::error_code error;
  if (path.has_parent_path() && !fs::exists(path.parent_path(), error)) {
    MUSTER_DO(MakeFolder(path.parent_path(), 0755));
  }
  if (mkdir(path.c_str(), mode) != 0) {
    if (errno != EEXIST) return OsError(path, errno);
    return fs::is_directory(path, error) ? Done() : Status(OsError(path, ENOTDIR));
  }
  if (chmod(path.c_str(), mode) != 0) return OsError(path, errno);  // Whatever the umask says.
  return Done();
}

Status RemoveTree(const fs::path& path) {
  std::error_code error;
  // Somebody may put a file into a folder between its emptying and its removal.
  for (int tries = 0; tries < kRemovalsMost; ++tries) {
    fs::remove_all(path, error);
    if (error.value() != ENOTEMPTY && error.value() != EEXIST) break;
  }
  if (error) return OsError(path, error.value());
  return Done();
}

Result<std::string> FileSha256(const fs::path& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return OsError(path, errno);
  Digest digest;
  char buffer[65536];
  while (true) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return OsError(path, errno);
    if (got == 0) return digest.Hex();
    digest.AddRaw({buffer, static_cast<size_t>(got)});
  }
}

Result<FileLock> FileLock::TryTake(const fs::path& path) {
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return OsError(path, errno);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return Error::Conflict("locked", "{} is held by another process", path.string());
    return OsError(path, errno);
  }
  return FileLock(std::move(fd));
}

}  // namespace muster
