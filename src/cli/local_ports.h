// The ports that this machine's kernel gives to connections that ask for none: nobody can count on such a
// port being free when he comes to listen on it. Values; LocalPortsHere reads /proc, and blocks for as long.
#pragma once

#include <string>
#include <vector>

#include "model/instance.h"

namespace muster::cli {

struct LocalPorts {
  int first = 0, last = -1;
  std::vector<PortRange> reserved;  // within these: given to nobody who doesn't ask for them

  bool Gives(int port) const;
};

// What net.ipv4.ip_local_port_range ("32768	60999") and ip_local_reserved_ports ("17001-17006,18001") say.
// Pure. What can't be read gives nothing.
LocalPorts ParseLocalPorts(const std::string& range, const std::string& reserved);
LocalPorts LocalPortsHere();

}  // namespace muster::cli
