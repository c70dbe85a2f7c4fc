// Whether somebody is who they say. Pure: time is handed in.
#pragma once

#include <string>
#include <string_view>

#include "base/time.h"
#include "push/spear/settings.h"

namespace muster::push {

struct Claim {
  std::string id, name, app_type;
  std::string token;    // signed: "SECONDS.HEX"; md5: gru's token2
  std::string token_1;  // md5 only
};

// Why the claim isn't believed; "" if it is. The words may be told to the client.
std::string WhyNot(const Claim& claim, const Settings& settings, WallTime now);

// A token that `kSigned` believes until `expiry` (seconds since 1970).
std::string SignedToken(std::string_view secret, std::string_view id, std::string_view app_type,
                        int64_t expiry);
// Why `token` doesn't let the user into a group; "" if it does. Pure, too; the words may be told.
std::string WhyNotIn(std::string_view group, std::string_view user, std::string_view token,
                     const Settings& settings, WallTime now);
// A token that lets the user into the group until `expiry`.
std::string GroupToken(std::string_view secret, std::string_view group, std::string_view user,
                       int64_t expiry);
std::string Md5Hex(std::string_view text);
// In a time that doesn't tell how much of it is right.
bool SameSecret(std::string_view a, std::string_view b);

}  // namespace muster::push
