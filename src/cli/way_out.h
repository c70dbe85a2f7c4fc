// Addresses beyond this machine that the texts of a cluster name: a rehearsed host with a network namespace
// of its own reaches none of them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"

namespace muster::cli {

// The first address in `text` that a program would connect to and that is on no machine of ours: an IPv4
// address with a port or in a URL, or the host of a URL such as mysql://db.example.org/shop; "HOST" or
// "HOST:PORT", never the user or password of a URL; "" where there is none. `name` is what the text is
// called, such as DB_URL. What is told apart only by guessing, as the host of an http:// URL by name, counts
// as none.
std::string OutsideAddress(std::string_view name, std::string_view text);

// A warning "rehearsal-apart" for each app of a rehearsal that names one: in its command, its environment or
// a file that is made for it.
std::vector<Finding> CheckWayOut(const Cluster& cluster);

}  // namespace muster::cli
