// `muster render`: what stands on the hosts, as files to read. RenderToFiles blocks, on the command's one
// thread; the rest is pure.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "cli/bundle.h"
#include "model/instance.h"
#include "plan/plan.h"

namespace muster::cli {

// A digest for any secret, however a cluster file names it, so that it can be laid out where no value is
// known.
plan::SecretDigests MaskedSecrets();

// Writes HOST/INSTANCE/ with the instance's files, `command` and `env` below `folder`, and tells how many
// files. Codes: "folder-not-empty", "bad-path", "file-missing", and those of base/files.h.
Result<size_t> RenderToFiles(const Bundle& bundle, const std::vector<Instance>& instances,
                             const std::filesystem::path& folder);

}  // namespace muster::cli
