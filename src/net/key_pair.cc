#include "net/key_pair.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <ctime>
#include <memory>

namespace muster::net {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio Reader(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
}

// The newest of OpenSSL's errors, as a reason; none is left behind for others to find.
std::string TakeReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = reason ? reason : "";
  ERR_clear_error();
  return text;
}

// Nobody is asked for a password.
int NoPassword(char*, int, int, void*) { return -1; }

std::string Day(const ASN1_TIME* time) {
  std::tm parts{};
  std::array<char, 32> text{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "";
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts)};
}

}  // namespace

std::vector<PairFinding> JudgeKeyPair(const std::string& certificate, const std::string& key, WallTime now) {
  std::vector<PairFinding> findings;
  ERR_clear_error();
  const auto at = static_cast<std::time_t>(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
  Certificate read(nullptr, &X509_free);
  if (!certificate.empty()) {
    const Bio bio = Reader(certificate);
    read.reset(PEM_read_bio_X509_AUX(bio.get(), nullptr, &NoPassword, nullptr));
    if (!read) findings.push_back({PairTrouble::kBadCertificate, TakeReason()});
  }
  if (read) {
    std::time_t moment = at;
    if (X509_cmp_time(X509_get0_notAfter(read.get()), &moment) < 0) {
      findings.push_back({PairTrouble::kExpired, Day(X509_get0_notAfter(read.get()))});
    } else if (X509_cmp_time(X509_get0_notBefore(read.get()), &moment) > 0) {
      findings.push_back({PairTrouble::kNotYetValid, Day(X509_get0_notBefore(read.get()))});
    }
  }
  const bool locked = key.find("ENCRYPTED") != std::string::npos;
  if (key.empty() || locked) return findings;
  const Bio bio = Reader(key);
  const Key own(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, nullptr), &EVP_PKEY_free);
  if (!own) {
    findings.push_back({PairTrouble::kBadKey, TakeReason()});
  } else if (read && X509_check_private_key(read.get(), own.get()) != 1) {
    findings.push_back({PairTrouble::kOtherKey, ""});
    ERR_clear_error();
  }
  return findings;
}

}  // namespace muster::net
