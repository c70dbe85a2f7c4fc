#include "agent/artifacts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <set>

#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

constexpr mode_t kMode = 0755;

std::string NotePath(const Paths& paths, const std::string& sha256) {
  return ArtifactPath(paths, sha256, ".seen");
}

// What no write, and nothing else that is done to the file, leaves as it is.
std::string StampOf(const struct stat& status) {
  return fmt::format("{} {} {} {}.{} {}.{}", status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec,
                     status.st_ctim.tv_nsec);
}

void Note(const Paths& paths, const std::string& sha256, const struct stat& status, bool right) {
  const std::string text = (right ? "right " : "wrong ") + StampOf(status) + "\n";
  (void)WriteFile(NotePath(paths, sha256), text, {.mode = 0600});  // without it, it is hashed once more
}

Bytes Look(const Paths& paths, const std::string& sha256, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) return Bytes::kWrong;
  const auto note = ReadFile(NotePath(paths, sha256), 4096);
  if (!note.ok()) return Bytes::kUnknown;
  const std::string stamp = StampOf(status) + "\n";
  if (*note == "right " + stamp) return Bytes::kRight;
  return *note == "wrong " + stamp ? Bytes::kWrong : Bytes::kUnknown;
}

}  // namespace

Bytes LookAtBlob(const Paths& paths, const std::string& sha256) {
  struct stat status {};
  if (::lstat(ArtifactPath(paths, sha256, "blob").c_str(), &status) != 0) return Bytes::kMissing;
  return Look(paths, sha256, status);
}

Bytes CheckBlob(const Paths& paths, const std::string& sha256) {
  const std::string path = ArtifactPath(paths, sha256, "blob");
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return Bytes::kMissing;
  const Bytes seen = Look(paths, sha256, status);
  if (seen != Bytes::kUnknown) return seen;
  const auto digest = FileSha256(path);
  if (!digest.ok()) return Bytes::kWrong;
  // As it was before it was read: what is written meanwhile has another stamp.
  Note(paths, sha256, status, *digest == sha256);
  return *digest == sha256 ? Bytes::kRight : Bytes::kWrong;
}

std::vector<std::string> BlobsOf(const Instance& instance) {
  std::set<std::string> blobs{instance.artifact.sha256};
  for (const InstanceFile& file : instance.files) blobs.insert(file.blob);
  blobs.erase("");
  return {blobs.begin(), blobs.end()};
}

std::string LookAtArtifact(const Paths& paths, const Instance& instance) {
  const Artifact& artifact = instance.artifact;
  if (artifact.name.empty() || artifact.sha256.empty()) return "";
  struct stat named {
  }, blob{};
  if (::lstat(ArtifactPath(paths, artifact.sha256, artifact.name).c_str(), &named) != 0) return "missing";
  // The blob is another name for the same file; without it nobody knows what that file has.
  if (::lstat(ArtifactPath(paths, artifact.sha256, "blob").c_str(), &blob) != 0) return "changed";
  if (named.st_ino != blob.st_ino || named.st_dev != blob.st_dev) return "changed";
  if (Look(paths, artifact.sha256, blob) == Bytes::kWrong) return "changed";
  return (named.st_mode & 07777) == kMode ? "" : "mode";
}

Status LinkArtifact(const Paths& paths, const Instance& instance) {
  const Artifact& artifact = instance.artifact;
  if (artifact.name.empty() || artifact.sha256.empty()) return Done();
  // One at a time: instances of one host share an artifact, and who links it changes its stamp.
  static std::mutex linking;
  const std::lock_guard lock(linking);
  const std::string difference = LookAtArtifact(paths, instance);
  if (difference.empty()) return Done();
  const bool right = LookAtBlob(paths, artifact.sha256) == Bytes::kRight;
  const std::string blob = ArtifactPath(paths, artifact.sha256, "blob");
  const std::string named = ArtifactPath(paths, artifact.sha256, artifact.name);
  if (difference == "mode") {
    if (::chmod(blob.c_str(), kMode) != 0) return Error::Os("chmod " + blob, errno);
  } else {
    const std::string beside = named + "." + RandomHex(8);
    if (::link(blob.c_str(), beside.c_str()) != 0) return Error::Os("link " + named, errno);
    if (::rename(beside.c_str(), named.c_str()) != 0) {
      const int error = errno;
      ::unlink(beside.c_str());
      return Error::Os("rename to " + named, error);
    }
    // Of two names of one file rename leaves both.
    ::unlink(beside.c_str());
  }
  if (right) NoteBlob(paths, artifact.sha256);  // a link more is another stamp, and no other bytes
  return Done();
}

void NoteBlob(const Paths& paths, const std::string& sha256) {
  struct stat status {};
  if (::lstat(ArtifactPath(paths, sha256, "blob").c_str(), &status) == 0) Note(paths, sha256, status, true);
}

}  // namespace muster::agent
