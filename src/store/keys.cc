#include "store/keys.h"

#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"

namespace muster::store {
namespace {

constexpr std::string_view kHeader = "muster-key 1";
constexpr size_t kKeyBytes = 32;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;

struct KeyFile {
  std::string id;
  std::string sealing;
  std::string digest;
};

std::string Raw(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string raw;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    raw.push_back(static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1])));
  }
  return raw;
}

std::string Hex(std::string_view raw) {
  std::string hex;
  for (const char c : raw) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

bool IsHex(std::string_view text, size_t bytes) {
  return text.size() == 2 * bytes && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string TextOf(const KeyFile& key) {
  return fmt::format("{}\nseal {} {}\ndigest {}\n", kHeader, key.id, Hex(key.sealing), Hex(key.digest));
}

Result<KeyFile> ReadKeyFile(const std::string& path) {
  MUSTER_TRY(const std::string text, ReadFile(path, 4096));
  const std::vector<std::string> lines = Split(text, '\n');
  const std::vector<std::string> seal = lines.size() > 1 ? Split(lines[1], ' ') : std::vector<std::string>();
  const std::vector<std::string> digest =
      lines.size() > 2 ? Split(lines[2], ' ') : std::vector<std::string>();
  const bool whole = lines.size() > 2 && lines[0] == kHeader && seal.size() == 3 && seal[0] == "seal" &&
                     IsHex(seal[1], 4) && IsHex(seal[2], kKeyBytes) && digest.size() == 2 &&
                     digest[0] == "digest" && IsHex(digest[1], kKeyBytes);
  if (!whole) {
    return Error::Internal("key-damaged", "{} is not a key file that this muster reads", path)
        .Hint("put a backup of it in its place");
  }
  // A copy from a backup often comes with the umask's mode.
  if (chmod(path.c_str(), 0600) != 0) return Error::Os(path, errno);
  return KeyFile{seal[1], Raw(seal[2]), Raw(digest[1])};
}

Status WriteKeyFile(const std::string& path, const KeyFile& key) {
  return WriteFile(path, TextOf(key), {.mode = 0600, .durable = true});
}

// Each part with its length, so that ("ab","c") and ("a","bc") differ.
std::string Framed(std::string_view purpose, std::string_view cluster, std::string_view name) {
  std::string framed;
  for (const std::string_view part : {purpose, cluster, name}) {
    framed += fmt::format("{}:{},", part.size(), part);
  }
  return framed;
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

}  // namespace

Result<Keys> Keys::Load(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return Error::NotFound("key-missing", "the key file {} is not there", path)
        .Hint("put it back from a backup");
  }
  MUSTER_TRY(const KeyFile file, ReadKeyFile(path));
  Keys keys;
  keys.path_ = path;
  keys.current_ = file.id;
  keys.digest_key_ = file.digest;
  keys.sealing_[file.id] = file.sealing;
  if (fs::exists(path + ".new", ignored)) {
    MUSTER_TRY(const KeyFile newer, ReadKeyFile(path + ".new"));
    keys.current_ = newer.id;
    keys.sealing_[newer.id] = newer.sealing;
    // Killed between the rename's two halves: the same key is in both files.
    if (newer.id == file.id && unlink((path + ".new").c_str()) != 0) return Error::Os(path, errno);
  }
  return keys;
}

Result<Keys> Keys::Create(const std::string& path) {
  const KeyFile file{RandomHex(4), Raw(RandomHex(kKeyBytes)), Raw(RandomHex(kKeyBytes))};
  MUSTER_DO(WriteKeyFile(path, file));
  return Load(path);
}

Status Keys::BeginRotation() {
  const KeyFile file{RandomHex(4), Raw(RandomHex(kKeyBytes)), digest_key_};
  MUSTER_DO(WriteKeyFile(path_ + ".new", file));
  sealing_[file.id] = file.sealing;
  current_ = file.id;
  return Done();
}

Status Keys::FinishRotation() {
  // Written anew rather than renamed: WriteFile also makes the folder durable, before the other one goes.
  MUSTER_DO(WriteKeyFile(path_, {current_, sealing_[current_], digest_key_}));
  if (unlink((path_ + ".new").c_str()) != 0) return Error::Os(path_, errno);
  std::erase_if(sealing_, [&](const auto& key) { return key.first != current_; });
  return Done();
}

Status Keys::AbandonRotation() {
  if (unlink((path_ + ".new").c_str()) != 0) return Error::Os(path_, errno);
  sealing_.erase(current_);
  current_ = sealing_.begin()->first;
  return Done();
}

std::string Keys::Seal(std::string_view cluster, std::string_view name, std::string_view value) const {
  const std::string& key = sealing_.find(current_)->second;
  const std::string nonce = Raw(RandomHex(kNonceBytes));
  const std::string aad = Framed("muster-secret-1", cluster, name);
  std::string sealed(value.size(), '\0');
  std::string tag(kTagBytes, '\0');
  int size = 0;
  const Context context(EVP_CIPHER_CTX_new());
  const bool done =
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, Bytes(key), Bytes(nonce)) &&
      EVP_EncryptUpdate(context.get(), nullptr, &size, Bytes(aad), static_cast<int>(aad.size())) &&
      EVP_EncryptUpdate(context.get(), Bytes(sealed), &size, Bytes(value), static_cast<int>(value.size())) &&
      EVP_EncryptFinal_ex(context.get(), Bytes(sealed) + size, &size) &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, tag.data());
  if (!done) std::abort();  // Only a broken OpenSSL; going on would store a secret in the open.
  return nonce + sealed + tag;
}

Result<std::string> Keys::Unseal(std::string_view id, std::string_view cluster, std::string_view name,
                                 std::string_view sealed) const {
  const auto damaged = [&](std::string_view why) {
    return Error::Internal("secret-damaged", "the secret {} of {} can't be opened: {}", name, cluster, why)
        .Hint("set it again: muster secret set {} -c {}", name, cluster);
  };
  const auto key = sealing_.find(id);
  if (key == sealing_.end()) return damaged("it was sealed with a key that isn't in the key file");
  if (sealed.size() < kNonceBytes + kTagBytes) return damaged("it is too short");
  const std::string_view nonce = sealed.substr(0, kNonceBytes);
  std::string tag(sealed.substr(sealed.size() - kTagBytes));
  const std::string_view cipher = sealed.substr(kNonceBytes, sealed.size() - kNonceBytes - kTagBytes);
  const std::string aad = Framed("muster-secret-1", cluster, name);
  std::string value(cipher.size(), '\0');
  int size = 0;
  const Context context(EVP_CIPHER_CTX_new());
  const bool whole =
      EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, Bytes(key->second), Bytes(nonce)) &&
      EVP_DecryptUpdate(context.get(), nullptr, &size, Bytes(aad), static_cast<int>(aad.size())) &&
      EVP_DecryptUpdate(context.get(), Bytes(value), &size, Bytes(cipher), static_cast<int>(cipher.size())) &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) &&
      EVP_DecryptFinal_ex(context.get(), Bytes(value) + size, &size) > 0;
  if (!whole) return damaged("its bytes were changed");
  return value;
}

std::string Keys::DigestOf(std::string_view cluster, std::string_view name, std::string_view value) const {
  const std::string derived = Raw(KeyedDigestHex(digest_key_, "muster secret digest 1"));
  return KeyedDigestHex(derived, Framed("muster-digest-1", cluster, name) + std::string(value));
}

}  // namespace muster::store
