// A TLS server with a certificate of its own, for tests of the clients.
#pragma once

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

namespace muster::net {

struct TestIdentity {
  std::string certificate;
  std::string key;
};

// Made once a process, for the name "localhost", and trusted by it: OpenSSL reads SSL_CERT_FILE when the
// first context that verifies is made, so this must come before.
inline const TestIdentity& TrustedIdentity() {
  static const TestIdentity made = [] {
    const auto text = [](BIO* bio) {
      char* data = nullptr;
      const long size = BIO_get_mem_data(bio, &data);
      std::string copy(data, static_cast<size_t>(size));
      BIO_free(bio);
      return copy;
    };
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"),
                               -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate, key, EVP_sha256());
    BIO* certificate_bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate_bio, certificate);
    BIO* key_bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(key_bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    X509_free(certificate);
    EVP_PKEY_free(key);
    TestIdentity identity{.certificate = text(certificate_bio), .key = text(key_bio)};
    static const std::string path = "/tmp/muster-test-ca-" + std::to_string(getpid()) + ".pem";
    std::ofstream(path) << identity.certificate;
    std::atexit([] { ::unlink(path.c_str()); });
    ::setenv("SSL_CERT_FILE", path.c_str(), 1);
    return identity;
  }();
  return made;
}

// Serves one connection, on a thread of its own, with `serve`; it isn't called if the handshake fails.
class TlsServer {
 public:
  using Stream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket>;

  explicit TlsServer(std::function<void(Stream&)> serve)
      : acceptor_(io_, {boost::asio::ip::make_address("127.0.0.1"), 0}) {
    const TestIdentity& identity = TrustedIdentity();
    context_.use_certificate_chain(boost::asio::buffer(identity.certificate));
    context_.use_private_key(boost::asio::buffer(identity.key), boost::asio::ssl::context::pem);
    thread_ = std::thread([this, serve = std::move(serve)] {
      Stream stream(acceptor_.accept(), context_);
      boost::system::error_code error;
      stream.handshake(boost::asio::ssl::stream_base::server, error);
      if (error) return;
      if (const char* name = SSL_get_servername(stream.native_handle(), TLSEXT_NAMETYPE_host_name)) {
        server_name_ = name;
      }
      serve(stream);
    });
  }
  ~TlsServer() { Join(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  int port() const { return acceptor_.local_endpoint().port(); }
  const std::string& server_name() const { return server_name_; }  // after Join

 private:
  boost::asio::io_context io_;
  boost::asio::ssl::context context_{boost::asio::ssl::context::tls_server};
  boost::asio::ip::tcp::acceptor acceptor_;
  std::thread thread_;
  std::string server_name_;
};

}  // namespace muster::net
