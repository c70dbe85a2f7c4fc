#include "push/spear/auth.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/digest.h"

namespace muster::push {
namespace {

bool HasControls(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; });
}

// Of "SECONDS.HEX".
std::optional<int64_t> ExpiryOf(std::string_view token) {
  int64_t expiry = 0;
  const char* end = token.data() + token.size();
  const auto [stop, error] = std::from_chars(token.data(), end, expiry);
  if (error != std::errc() || stop == end || *stop != '.') return std::nullopt;
  // What is later is no time, and would wrap around in milliseconds.
  if (expiry < 0 || expiry > std::numeric_limits<int64_t>::max() / 1000) return std::nullopt;
  return expiry;
}

}  // namespace

bool SameSecret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string Md5Hex(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_md5(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::string SignedToken(std::string_view secret, std::string_view id, std::string_view app_type,
                        int64_t expiry) {
  const std::string claim = fmt::format("{}\n{}\n{}", id, app_type, expiry);
  return fmt::format("{}.{}", expiry, KeyedDigestHex(secret, claim));
}

// Its four lines can't be the three of somebody's own token: no part holds a line feed.
std::string GroupToken(std::string_view secret, std::string_view group, std::string_view user,
                       int64_t expiry) {
  const std::string claim = fmt::format("group\n{}\n{}\n{}", group, user, expiry);
  return fmt::format("{}.{}", expiry, KeyedDigestHex(secret, claim));
}

std::string WhyNotIn(std::string_view group, std::string_view user, std::string_view token,
                     const Settings& settings, WallTime now) {
  if (HasControls(group)) return "the group's id holds control characters";
  const auto expiry = ExpiryOf(token);
  if (!expiry || !SameSecret(token, GroupToken(settings.auth_secret, group, user, *expiry))) {
    return "bad token";
  }
  return *expiry * 1000 > now.time_since_epoch().count() ? "" : "the token has expired";
}

std::string WhyNot(const Claim& claim, const Settings& settings, WallTime now) {
  // What is signed has line feeds between its parts: with one in a part it would be signed for others, too.
  if (HasControls(claim.id)) return "id holds control characters";
  if (HasControls(claim.app_type)) return "appType holds control characters";
  switch (settings.auth) {
    case AuthMode::kOpen:
      return {};
    case AuthMode::kSigned: {
      const auto expiry = ExpiryOf(claim.token);
      if (!expiry ||
          !SameSecret(claim.token, SignedToken(settings.auth_secret, claim.id, claim.app_type, *expiry))) {
        return "bad token";
      }
      return *expiry * 1000 > now.time_since_epoch().count() ? "" : "the token has expired";
    }
    case AuthMode::kMd5: {
      const std::string who = fmt::format("{}_{}_{}", claim.id, claim.name, claim.app_type);
      const std::string first = Md5Hex(who + "_" + settings.auth_secret);
      const std::string second = Md5Hex(who + "_" + first + "_" + settings.auth_secret_2);
      return SameSecret(claim.token_1, first) && SameSecret(claim.token, second) ? "" : "bad token";
    }
  }
  return "bad token";
}

}  // namespace muster::push
