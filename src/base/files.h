// Files and folders. Blocking: on a loop's thread only for small files, else on its pool. Any thread; nothing
// is shared but the disk. Sizes are bytes. Where no code is named below, failures are "file-missing",
// "file-unreadable" (no permission), "disk-full" or "os-error".
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster {

namespace fs = std::filesystem;

// Owns a descriptor and closes it. -1 is "none".
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset();

 private:
  int fd_ = -1;
};

// Codes: "file-missing", "file-unreadable", "file-too-large" (over `max_bytes`).
Result<std::string> ReadFile(const fs::path& path, size_t max_bytes = 64u << 20);

struct WriteOptions {
  mode_t mode = 0644;
  uid_t owner = static_cast<uid_t>(-1);  // -1: leave
  gid_t group = static_cast<gid_t>(-1);
  bool durable = false;  // fsync file and folder before returning
};
// Writes a temporary beside `path` and renames it over it: readers see the old or the new file, never half.
// Code "disk-full" for ENOSPC and EDQUOT; nothing is left behind then.
Status WriteFile(const fs::path& path, std::string_view bytes, const WriteOptions& options = {});
// The same with what `from` holds from its beginning on, copied in pieces.
Status WriteFileFrom(const fs::path& path, const Fd& from, const WriteOptions& options = {});

// Makes the folder and its parents; `mode` for the last one only, parents get 0755.
Status MakeFolder(const fs::path& path, mode_t mode = 0755);
Status RemoveTree(const fs::path& path);  // Absent is fine.

// SHA-256 of a file's content in hex, read in pieces.
Result<std::string> FileSha256(const fs::path& path);

// An advisory lock (flock) on a file, held until destroyed. Code "locked" if another process has it.
class FileLock {
 public:
  static Result<FileLock> TryTake(const fs::path& path);
  int fd() const { return fd_.get(); }

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace muster
