// Files by the SHA-256 of their content, in one folder. A name always stands for exactly its bytes. Blocking:
// Put, which waits for the disk, may run on the pool; all else is the loop thread's.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::store {

class Blobs {
 public:
  // Makes the folder, and clears away what a killed writer left. Codes "disk-full", "file-unreadable",
  // "os-error".
  static Result<Blobs> Open(const std::string& folder);

  // Codes: "digest-differs", "disk-full". One that is there and whole is left; a damaged one is replaced.
  Status Put(const std::string& sha256, std::string_view bytes) const;
  bool Has(const std::string& sha256) const;
  // "" for what is no SHA-256: no name from outside leads out of the folder.
  std::string PathOf(const std::string& sha256) const;
  // Removes all but `used`. Code "os-error" where one wasn't removed; the others are.
  Status KeepOnly(const std::set<std::string>& used) const;

 private:
  explicit Blobs(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;
};

}  // namespace muster::store
