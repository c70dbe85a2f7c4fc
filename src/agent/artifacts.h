// Whether what an instance runs from artifacts/ is still what was put there. Somebody with the rights may
// write over it, and what is started then is theirs. Hashed once: what was seen to be right, or wrong, is
// noted beside it with the file's stat, and looked into again only where that differs. Blocking; what is
// called Look is short, for the agent's loop thread, and what is called Check may read all of a large file,
// for its pool.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/records.h"
#include "base/result.h"
#include "model/instance.h"

namespace muster::agent {

enum class Bytes { kRight, kWrong, kMissing, kUnknown };  // unknown: only a Check tells

Bytes LookAtBlob(const Paths& paths, const std::string& sha256);
Bytes CheckBlob(const Paths& paths, const std::string& sha256);

// The blobs of an instance: of its artifact, and of files that came as such.
std::vector<std::string> BlobsOf(const Instance& instance);

// How the artifact differs from what was put there: "changed", "missing", "mode"; "" where it doesn't, or
// there is none. Of bytes that no Check has seen it says nothing.
std::string LookAtArtifact(const Paths& paths, const Instance& instance);

// The artifact is a second name for its blob; the name is what the program sees itself called. Puts it there,
// or right; the blob has to be. Code "os-error".
Status LinkArtifact(const Paths& paths, const Instance& instance);

// Notes that the blob is right: whoever has just hashed it knows.
void NoteBlob(const Paths& paths, const std::string& sha256);

}  // namespace muster::agent
