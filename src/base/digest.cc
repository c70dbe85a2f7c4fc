#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace muster {
namespace {

std::string Hex(const unsigned char* bytes, size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex(size * 2, '0');
  for (size_t i = 0; i < size; ++i) {
    hex[2 * i] = kDigits[bytes[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return hex;
}

}  // namespace

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

Digest& Digest::AddRaw(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
  return *this;
}

Digest& Digest::Add(std::string_view bytes) { return Add(static_cast<int64_t>(bytes.size())).AddRaw(bytes); }

Digest& Digest::Add(int64_t number) {
  unsigned char frame[8];
  for (int i = 0; i < 8; ++i) frame[i] = static_cast<unsigned char>(static_cast<uint64_t>(number) >> (8 * i));
  EVP_DigestUpdate(state_->context, frame, sizeof frame);
  return *this;
}

std::string Digest::Hex() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, bytes, &size);
  return muster::Hex(bytes, size);
}

std::string Sha256Hex(std::string_view bytes) { return Digest().AddRaw(bytes).Hex(); }

std::string KeyedDigestHex(std::string_view key, std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest, &size);
  return Hex(digest, size);
}

std::string RandomHex(size_t bytes) {
  std::string random(bytes, '\0');
  size_t filled = 0;
  while (filled < bytes) {
    const ssize_t got = getrandom(random.data() + filled, bytes - filled, 0);
    if (got > 0)
      filled += static_cast<size_t>(got);
    else if (errno != EINTR)
      std::abort();  // Without random numbers no id and no key can be made.
  }
  return Hex(reinterpret_cast<const unsigned char*>(random.data()), bytes);
}

}  // namespace muster
