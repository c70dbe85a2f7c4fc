// Files in a folder that belongs to a user who may put a link there at any moment: the agent, which is root,
// follows none. Blocking: on its pool. Failures that aren't named below have the codes of base/files.h.
#pragma once

#include <string>

#include "base/files.h"
#include "base/result.h"

namespace muster {

// Who files are given to (not who holds an object). -1: nobody else, they stay with the process.
struct Owner {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
};

// Opens `folder` below `root` ("" is `root` itself), part by part. Code "file-missing"; "not-a-folder" where
// a part is a link or a file.
Result<Fd> OpenFolder(const std::string& root, const std::string& folder);
// The same; what is missing is made, and all of it below `root` is given to `owner`.
Result<Fd> MakeFolderWithin(const std::string& root, const std::string& folder, const Owner& owner);

// Opens the regular file `file` below `root` for reading. Codes "file-missing", "not-a-folder", "not-a-file".
Result<Fd> OpenWithin(const std::string& root, const std::string& file);
Result<Fd> OpenWithin(const Fd& folder, const std::string& name);
Result<std::string> ReadWithin(const std::string& root, const std::string& file,
                               size_t max_bytes = 64u << 20);
Result<std::string> ReadWithin(const Fd& folder, const std::string& name, size_t max_bytes = 64u << 20);
// Writes `file` below `root` as WriteFile does; its folders are made. Errors name it by its path.
Status WriteWithin(const std::string& root, const std::string& file, std::string_view bytes, mode_t mode,
                   const Owner& owner);
// The same with what `from` holds, copied in pieces.
Status WriteWithin(const std::string& root, const std::string& file, const Fd& from, mode_t mode,
                   const Owner& owner);

// "a/b/c" is "a/b" and "c".
std::string FolderOf(const std::string& path);
std::string NameOf(const std::string& path);

}  // namespace muster
