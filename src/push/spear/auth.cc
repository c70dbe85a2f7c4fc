#include "push/spear/auth.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <charconv>

#include "base/digest.h"

namespace muster::push {

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

std::string WhyNot(const Claim& claim, const Settings& settings, WallTime now) {
  switch (settings.auth) {
    case AuthMode::kOpen:
      return {};
    case AuthMode::kSigned: {
      int64_t expiry = 0;
      const char* end = claim.token.data() + claim.token.size();
      const auto [stop, error] = std::from_chars(claim.token.data(), end, expiry);
      if (error != std::errc() || stop == end || *stop != '.') return "bad token";
      if (!SameSecret(claim.token, SignedToken(settings.auth_secret, claim.id, claim.app_type, expiry))) {
        return "bad token";
      }
      return expiry * 1000 > now.time_since_epoch().count() ? "" : "the token has expired";
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
