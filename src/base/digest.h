// SHA-256, its keyed form, and random names. Any thread; hashing costs time in proportion to its input, so
// what is large is digested on a loop's pool.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace muster {

// 64 lower-case hex digits.
std::string Sha256Hex(std::string_view bytes);
// HMAC-SHA-256 in hex: tells that a secret changed without telling what it is.
std::string KeyedDigestHex(std::string_view key, std::string_view bytes);

// Feeds a digest piece by piece. Each `Add` is framed by its length, so ("a","bc") differs from ("ab","c").
// Holds no reference to what was added; one thread at a time.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  Digest& Add(std::string_view bytes);
  Digest& Add(int64_t number);
  // Bytes as they are, without a frame: for digesting a file in pieces.
  Digest& AddRaw(std::string_view bytes);
  std::string Hex();  // Ends the digest; call once.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// `bytes` random bytes from the kernel, as hex.
std::string RandomHex(size_t bytes);

}  // namespace muster
