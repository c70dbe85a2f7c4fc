// The keys that seal secrets, in a file of their own (0600) apart from the database: whoever has only one of
// the two has nothing.
//
// The sealing key changes with each rotation; the digest key never does, so that a rotation doesn't look like
// a change of every secret. A rotation writes `key.new` beside `key`; while both are there, both open
// secrets, and the newer one seals.
//
// On the server's loop thread; owned by the Store. The keys' bytes never leave this class and the two
// files.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::store {

class Keys {
 public:
  // Codes: "key-missing" where there is no file, "key-damaged".
  static Result<Keys> Load(const std::string& path);
  // New keys, written durably. Every write can fail with "disk-full" or "os-error".
  static Result<Keys> Create(const std::string& path);

  Status BeginRotation();    // writes `key.new`
  Status FinishRotation();   // `key.new` becomes `key`; the older key is forgotten
  Status AbandonRotation();  // removes `key.new`
  bool rotating() const { return sealing_.size() > 1; }

  // The id of the key that `Seal` uses; kept beside what it sealed.
  const std::string& id() const { return current_; }
  bool Knows(std::string_view id) const { return sealing_.find(id) != sealing_.end(); }

  // AES-256-GCM; cluster and name are authenticated with it, so that a row can't be passed off as another.
  std::string Seal(std::string_view cluster, std::string_view name, std::string_view value) const;
  // Code "secret-damaged" where the bytes were changed, moved from another secret, or need another key.
  Result<std::string> Unseal(std::string_view id, std::string_view cluster, std::string_view name,
                             std::string_view sealed) const;
  // HMAC-SHA-256 in hex: equal for the same secret with the same value, whatever the sealing key.
  std::string DigestOf(std::string_view cluster, std::string_view name, std::string_view value) const;

 private:
  std::string path_;
  std::string current_;
  std::map<std::string, std::string, std::less<>> sealing_;  // raw bytes by id
  std::string digest_key_;
};

}  // namespace muster::store
