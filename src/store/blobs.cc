#include "store/blobs.h"

#include "base/digest.h"
#include "base/files.h"

namespace muster::store {
namespace {

bool IsSha256(std::string_view name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Result<Blobs> Blobs::Open(const std::string& folder) {
  MUSTER_DO(MakeFolder(folder, 0700));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".tmp") fs::remove(entry.path(), error);
  }
  return Blobs(folder);
}

std::string Blobs::PathOf(const std::string& sha256) const {
  return IsSha256(sha256) ? folder_ + "/" + sha256 : "";
}

bool Blobs::Has(const std::string& sha256) const {
  std::error_code error;
  return IsSha256(sha256) && fs::is_regular_file(PathOf(sha256), error);
}

Status Blobs::Put(const std::string& sha256, std::string_view bytes) const {
  const std::string found = Sha256Hex(bytes);
  if (found != sha256) {
    return Error::Invalid("digest-differs", "the bytes of {} have the SHA-256 {}", sha256, found)
        .Hint("the file changed while it was sent; try again");
  }
  if (Has(sha256)) {
    const Result<std::string> there = FileSha256(PathOf(sha256));
    if (there.ok() && *there == sha256) return Done();
  }
  return WriteFile(PathOf(sha256), bytes, {.mode = 0600, .durable = true});
}

Status Blobs::KeepOnly(const std::set<std::string>& used) const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (!IsSha256(name) || used.count(name) != 0) continue;
    std::error_code failed;
    fs::remove(entry.path(), failed);
    if (failed) error = failed;
  }
  if (error) return Error::Os(folder_, error.value());
  return Done();
}

}  // namespace muster::store
