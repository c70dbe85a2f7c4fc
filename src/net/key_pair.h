// What can be told of a server's certificate and key before anybody serves with them. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"

namespace muster::net {

enum class PairTrouble { kBadCertificate, kBadKey, kOtherKey, kExpired, kNotYetValid };
struct PairFinding {
  PairTrouble trouble;
  std::string why;  // such as OpenSSL's own word, or the day; "" where there is nothing more to say
};

// Of texts in PEM; what is "" isn't known, and isn't judged. A key behind a password is taken for good.
std::vector<PairFinding> JudgeKeyPair(const std::string& certificate, const std::string& key, WallTime now);

}  // namespace muster::net
