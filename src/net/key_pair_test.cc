#include "net/key_pair.h"

#include <gmock/gmock.h>

#include "net/tls_server_for_test.h"

namespace muster::net {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<PairTrouble> Troubles(const std::string& certificate, const std::string& key,
                                  Duration from_now = {}) {
  std::vector<PairTrouble> troubles;
  for (const PairFinding& one : JudgeKeyPair(certificate, key, WallNow() + from_now))
    troubles.push_back(one.trouble);
  return troubles;
}

std::string AnotherKey() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  const std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  EVP_PKEY_free(key);
  return text;
}

TEST(KeyPair, TellsWhatIsWrong) {
  const TestIdentity& own = TrustedIdentity();
  EXPECT_THAT(Troubles(own.certificate, own.key), IsEmpty());
  EXPECT_THAT(Troubles(own.certificate, AnotherKey()), ElementsAre(PairTrouble::kOtherKey));
  EXPECT_THAT(Troubles("just words", own.key), ElementsAre(PairTrouble::kBadCertificate));
  EXPECT_THAT(Troubles(own.certificate, "just words"), ElementsAre(PairTrouble::kBadKey));
  EXPECT_THAT(Troubles(own.key, own.certificate),
              ElementsAre(PairTrouble::kBadCertificate, PairTrouble::kBadKey));
  EXPECT_THAT(Troubles(own.certificate, own.key, 48h), ElementsAre(PairTrouble::kExpired));
  EXPECT_THAT(Troubles(own.certificate, own.key, -48h), ElementsAre(PairTrouble::kNotYetValid));
}

TEST(KeyPair, JudgesOnlyWhatItKnows) {
  const TestIdentity& own = TrustedIdentity();
  EXPECT_THAT(Troubles("", own.key), IsEmpty());
  EXPECT_THAT(Troubles(own.certificate, ""), IsEmpty());
  EXPECT_THAT(Troubles(own.certificate, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nabc\n"), IsEmpty());
}

}  // namespace
}  // namespace muster::net
