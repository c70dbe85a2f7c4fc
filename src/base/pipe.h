// A pipe whose ends close themselves, also when a program is executed.
#pragma once

#include "base/files.h"
#include "base/result.h"

namespace muster {

struct Pipe {
  Fd read_end, write_end;
};
// Any thread. Code "os-error": no more files may be opened.
Result<Pipe> MakePipe();

}  // namespace muster
