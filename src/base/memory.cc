#include "base/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

namespace muster {

void ReleaseIdleMemory() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  ::malloc_trim(0);
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  if (!maps) return;
  std::vector<std::pair<uintptr_t, uintptr_t>> code;
  char line[512];
  while (std::fgets(line, sizeof line, maps)) {
    uintptr_t begin = 0, end = 0;
    char rights[5] = "";
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &begin, &end, rights) != 3) continue;
    // Code only: read-only data may have been written to once, by relocation, and could not be read back.
    if (std::strcmp(rights, "r-xp") == 0 && std::strchr(line, '/')) code.emplace_back(begin, end);
  }
  std::fclose(maps);
  for (const auto& [begin, end] : code) {
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
#endif
}

}  // namespace muster
