#include "agent/install.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "agent/artifacts.h"
#include "base/file_error.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/within.h"

namespace muster::agent {
namespace {

constexpr size_t kDifferenceLinesMost = 40;
constexpr size_t kLinesCompared = 2000;
constexpr size_t kComparedMost = 8u << 20;  // bytes

Status Own(const std::string& path, const User& user) {
  if (user.uid == static_cast<uid_t>(-1)) return Done();
  if (::lchown(path.c_str(), user.uid, user.gid) != 0) return Error::Os("chown " + path, errno);
  return Done();
}

// The instance's folder itself. Its parent is the agent's, so nobody else can put a link there.
Status OwnFolder(const Paths& paths, const User& user) {
  MUSTER_DO(MakeFolder(paths.folder, 0700));
  struct stat status {};
  if (user.uid == static_cast<uid_t>(-1) || ::lstat(paths.folder.c_str(), &status) != 0) return Done();
  if (status.st_uid == user.uid) return Done();
  std::error_code error;
  if (!fs::is_empty(paths.folder, error)) {
    // Another user takes over all there is, data included. chown walks by descriptors and follows no link.
    const std::string owner = fmt::format("{}:{}", user.uid, user.gid);
    Exec exec{.argv = {"chown", "-hR", "--", owner, paths.folder}};
    MUSTER_TRY(const Output output, RunCommand(exec, 60s));
    if (output.status != 0) return Error::Internal("os-error", "chown {}: {}", paths.folder, output.err);
  }
  return Own(paths.folder, user);
}

bool Inside(const std::string& path) {
  if (path.empty() || path[0] == '/') return false;
  for (const std::string& part : Split(path, '/')) {
    if (part == ".." || part.empty() || part == ".") return false;
  }
  return true;
}

// A file that came as a blob may have hundreds of megabytes: it is copied in pieces, and none is held.
Result<Fd> OpenBlob(const Paths& paths, const InstanceFile& file) {
  const std::string path = ArtifactPath(paths, file.blob, "blob");
  Fd blob(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (blob.valid()) return blob;
  if (errno == ENOENT) return Error::NotFound("file-missing", "{} does not exist", path);
  return FileError(path, errno, "open");
}

Status WriteContent(const Paths& paths, const Instance& instance, const InstanceFile& file,
                    const Owner& owner) {
  const auto mode = static_cast<mode_t>(file.mode);
  if (file.blob.empty()) {
    return WriteWithin(paths.folder, file.path, FillIn(file.content, paths, instance), mode, owner);
  }
  MUSTER_TRY(const Fd blob, OpenBlob(paths, file));
  return WriteWithin(paths.folder, file.path, blob, mode, owner);
}

bool SameBytes(const Fd& one, const Fd& other) {
  constexpr size_t kPiece = 128u << 10;
  std::vector<char> mine(kPiece), theirs(kPiece);
  const auto fill = [](const Fd& fd, std::vector<char>& piece, off_t at) {
    size_t have = 0;
    while (have < piece.size()) {
      const ssize_t got =
          ::pread(fd.get(), piece.data() + have, piece.size() - have, at + static_cast<off_t>(have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return static_cast<ssize_t>(-1);
      if (got == 0) break;
      have += static_cast<size_t>(got);
    }
    return static_cast<ssize_t>(have);
  };
  for (off_t at = 0;;) {
    const ssize_t here = fill(one, mine, at), there = fill(other, theirs, at);
    if (here < 0 || here != there) return false;
    if (!std::equal(mine.begin(), mine.begin() + here, theirs.begin())) return false;
    if (static_cast<size_t>(here) < kPiece) return true;
    at += here;
  }
}

// Whether the file `name` has the content of the agent's own file `before`.
bool Same(const Fd& folder, const std::string& name, const std::string& before) {
  const Fd pristine(::open(before.c_str(), O_RDONLY | O_CLOEXEC));
  const auto now = OpenWithin(folder, name);
  return pristine.valid() && now.ok() && SameBytes(*now, pristine);
}

}  // namespace

std::vector<std::string> MissingBlobs(const Paths& paths, const Instance& instance) {
  std::vector<std::string> missing;
  for (const std::string& sha256 : BlobsOf(instance)) {
    const Bytes seen = LookAtBlob(paths, sha256);
    if (seen == Bytes::kMissing || seen == Bytes::kWrong) missing.push_back(sha256);
  }
  return missing;
}

Status TakeBlob(const Paths& paths, const std::string& sha256, const std::string& from) {
  MUSTER_TRY(const std::string digest, FileSha256(from));
  if (digest != sha256) {
    return Error::Internal("digest-differs", "what arrived has the digest {} in place of {}", digest, sha256);
  }
  MUSTER_DO(MakeFolder(paths.artifacts, 0711));
  MUSTER_DO(MakeFolder(paths.artifacts + "/" + sha256, 0755));
  if (::chmod(from.c_str(), 0755) != 0) return Error::Os("chmod " + from, errno);
  const std::string path = ArtifactPath(paths, sha256, "blob");
  if (::rename(from.c_str(), path.c_str()) != 0) return Error::Os("rename to " + path, errno);
  NoteBlob(paths, sha256);
  return Done();
}

Status WriteInstance(const Paths& paths, const Instance& instance, const Instance* before, const User& user) {
  for (const InstanceFile& file : instance.files) {
    if (!Inside(file.path)) {
      return Error::Invalid("bad-path", "{} is not a path inside of an instance's folder", file.path)
          .Hint("write it relative and without ..");
    }
  }
  MUSTER_DO(MakeFolder(paths.host + "/instances", 0711));
  MUSTER_DO(MakeFolder(paths.host + "/records", 0700));
  MUSTER_DO(MakeFolder(paths.records, 0700));
  MUSTER_DO(OwnFolder(paths, user));
  const Owner owner{.uid = user.uid, .gid = user.gid};
  for (const char* folder : {"logs", "data"}) MUSTER_DO(MakeFolderWithin(paths.folder, folder, owner));
  for (const std::string& folder : instance.data_folders) {
    if (!Inside(folder)) return Error::Invalid("bad-path", "{} is not a path inside of {{data}}", folder);
    MUSTER_DO(MakeFolderWithin(paths.folder, "data/" + folder, owner));
  }
  MUSTER_DO(LinkArtifact(paths, instance));
  // All blobs are there first: one that is missing must not leave half of the files new.
  for (const InstanceFile& file : instance.files) {
    if (!file.blob.empty()) MUSTER_DO(OpenBlob(paths, file));
  }
  std::set<std::string> kept;
  for (const InstanceFile& file : instance.files) {
    kept.insert(file.path);
    MUSTER_DO(WriteContent(paths, instance, file, owner).While("writing {}", file.path));
  }
  if (!before) return Done();
  for (const InstanceFile& file : before->files) {
    if (kept.contains(file.path) || !Inside(file.path)) continue;
    const auto folder = OpenFolder(paths.folder, FolderOf(file.path));
    if (folder.ok()) ::unlinkat(folder->get(), NameOf(file.path).c_str(), 0);
  }
  return Done();
}

Status RememberFiles(const Paths& paths, const Instance& instance) {
  MUSTER_DO(RemoveTree(paths.pristine));
  MUSTER_DO(MakeFolder(paths.pristine, 0700));
  for (const InstanceFile& file : instance.files) {
    if (!file.blob.empty()) continue;  // its blob is what was written
    const fs::path path = paths.pristine + "/" + file.path;
    MUSTER_DO(MakeFolder(path.parent_path(), 0700));
    MUSTER_DO(WriteFile(path, FillIn(file.content, paths, instance), {.mode = 0600}));
  }
  return Done();
}

Status RemoveInstance(const Paths& paths, bool delete_data) {
  std::error_code error;
  const bool has_data = fs::exists(paths.data, error) && !fs::is_empty(paths.data, error);
  if (delete_data || !has_data) {
    MUSTER_DO(RemoveTree(paths.folder));
  } else {
    for (const auto& entry : fs::directory_iterator(paths.folder, error)) {
      if (entry.path() != paths.data) MUSTER_DO(RemoveTree(entry.path()));
    }
  }
  // The record last: an agent that dies in between still knows that there is something to remove.
  return RemoveTree(paths.records);
}

void RemoveUnusedArtifacts(const std::string& host_folder, const std::vector<const Instance*>& instances) {
  std::set<std::string> used;
  for (const Instance* instance : instances) {
    used.insert(instance->artifact.sha256);
    for (const InstanceFile& file : instance->files) used.insert(file.blob);
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(host_folder + "/artifacts", error)) {
    if (!used.contains(entry.path().filename())) (void)RemoveTree(entry.path());
  }
}

std::vector<Drift> DriftWatch::Look(const Paths& paths, const Instance& instance) {
  std::vector<Drift> drifts;
  if (const std::string what = LookAtArtifact(paths, instance); !what.empty()) {
    // In words that are no path in its folder: there a file may have the same name.
    drifts.push_back({.path = "artifact " + instance.artifact.name, .what = what, .difference = {}});
  }
  for (const InstanceFile& file : instance.files) {
    const std::string name = NameOf(file.path);
    const auto folder = OpenFolder(paths.folder, FolderOf(file.path));
    struct stat status {};
    if (!folder.ok() && folder.error().code() == "not-a-folder") {
      drifts.push_back({.path = file.path, .what = "changed", .difference = {"(its folder is a link)"}});
      continue;
    }
    if (!folder.ok() || ::fstatat(folder->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      drifts.push_back({.path = file.path, .what = "missing", .difference = {}});
      continue;
    }
    Seen& seen = seen_[file.path];
    const int64_t changed = status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec;
    const bool looked =
        seen.inode == status.st_ino && seen.size == status.st_size && seen.changed_ns == changed;
    if (looked && seen.same) continue;
    const std::string before_path =
        file.blob.empty() ? paths.pristine + "/" + file.path : ArtifactPath(paths, file.blob, "blob");
    const bool same_mode = static_cast<int>(status.st_mode & 07777) == file.mode;
    const bool same = Same(*folder, name, before_path);
    seen = {.size = status.st_size, .changed_ns = changed, .inode = status.st_ino, .same = same && same_mode};
    if (seen.same) continue;
    Drift drift{.path = file.path, .what = same ? "mode" : "changed", .difference = {}};
    if (same) {
      drift.difference.push_back(fmt::format("-mode {:o}", file.mode));
      drift.difference.push_back(fmt::format("+mode {:o}", status.st_mode & 07777));
    } else if (file.secret || (file.mode & 077) == 0) {
      // A mode of 0600 says so as well: so it is with what an earlier release installed without the mark.
      drift.difference.push_back("(not shown: the file holds a secret)");
    } else if (!S_ISREG(status.st_mode)) {
      drift.difference.push_back("(it is no longer a regular file)");
    } else if (const auto now = ReadWithin(*folder, name, kComparedMost),
               before = ReadFile(before_path, kComparedMost);
               now.ok() && before.ok()) {
      drift.difference = UnifiedDifference(*before, *now, kDifferenceLinesMost);
    }
    drifts.push_back(std::move(drift));
  }
  return drifts;
}

std::vector<std::string> UnifiedDifference(const std::string& before, const std::string& after, size_t most) {
  std::vector<std::string> old_lines = Split(before, '\n'), new_lines = Split(after, '\n');
  if (old_lines.size() > kLinesCompared || new_lines.size() > kLinesCompared) {
    return {fmt::format("(too long to compare: {} and {} lines)", old_lines.size(), new_lines.size())};
  }
  // What is equal at both ends needs no table.
  size_t head = 0;
  while (head < old_lines.size() && head < new_lines.size() && old_lines[head] == new_lines[head]) ++head;
  size_t tail = 0;
  while (tail < old_lines.size() - head && tail < new_lines.size() - head &&
         old_lines[old_lines.size() - 1 - tail] == new_lines[new_lines.size() - 1 - tail]) {
    ++tail;
  }
  const size_t rows = old_lines.size() - head - tail, columns = new_lines.size() - head - tail;
  std::vector<std::vector<uint16_t>> common(rows + 1, std::vector<uint16_t>(columns + 1));
  for (size_t i = rows; i-- > 0;) {
    for (size_t k = columns; k-- > 0;) {
      common[i][k] = old_lines[head + i] == new_lines[head + k]
                         ? static_cast<uint16_t>(common[i + 1][k + 1] + 1)
                         : std::max(common[i + 1][k], common[i][k + 1]);
    }
  }
  std::vector<std::string> lines{fmt::format("@@ line {} @@", head + 1)};
  for (size_t i = head - std::min<size_t>(head, 2); i < head; ++i) lines.push_back(" " + old_lines[i]);
  size_t i = 0, k = 0;
  while (i < rows || k < columns) {
    if (i < rows && k < columns && old_lines[head + i] == new_lines[head + k]) {
      lines.push_back(" " + old_lines[head + i]);
      ++i;
      ++k;
    } else if (k == columns || (i < rows && common[i + 1][k] >= common[i][k + 1])) {
      lines.push_back("-" + old_lines[head + i++]);
    } else {
      lines.push_back("+" + new_lines[head + k++]);
    }
  }
  if (lines.size() > most) {
    const size_t left = lines.size() - most + 1;
    lines.resize(most - 1);
    lines.push_back(fmt::format("(… {} more lines)", left));
  }
  return lines;
}

}  // namespace muster::agent
