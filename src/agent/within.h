// Files in an instance's folder, which belongs to a user who may put a link there at any moment: the agent,
// which is root, follows none. Blocking, short.
#pragma once

#include <string>

#include "agent/users.h"
#include "base/files.h"
#include "base/result.h"

namespace muster::agent {

// Opens `folder` below `root` ("" is `root` itself), part by part. Code "file-missing"; "not-a-folder" where
// a part is a link or a file.
Result<Fd> OpenFolder(const std::string& root, const std::string& folder);
// The same; what is missing is made, and all of it below `root` is given to `user`.
Result<Fd> MakeFolderWithin(const std::string& root, const std::string& folder, const User& user);

// The path of a file in an open folder, for functions that want one.
std::string PathIn(const Fd& folder, const std::string& name);

// "a/b/c" is "a/b" and "c".
std::string FolderOf(const std::string& path);
std::string NameOf(const std::string& path);

}  // namespace muster::agent
