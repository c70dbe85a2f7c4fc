#include "push/loop/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>

#include "base/files.h"

namespace muster::push {
namespace {

std::string OpenSslWord() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  ERR_clear_error();
  return text;
}

}  // namespace

TlsConnection::TlsConnection(ssl_ctx_st* context, int fd) : ssl_(SSL_new(context)) {
  SSL_set_fd(ssl_, fd);
  SSL_set_accept_state(ssl_);
}

TlsConnection::~TlsConnection() {
  if (SSL_is_init_finished(ssl_) != 0) SSL_shutdown(ssl_);
  ERR_clear_error();
  SSL_free(ssl_);
}

ssize_t TlsConnection::Outcome(int result) {
  wants_write_ = false;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    default:
      ERR_clear_error();
      errno = ECONNRESET;
      return -1;
  }
}

ssize_t TlsConnection::Receive(char* buffer, size_t room) {
  ERR_clear_error();
  const int got = SSL_read(ssl_, buffer, static_cast<int>(room));
  return got > 0 ? got : Outcome(got);
}

ssize_t TlsConnection::Send(const char* data, size_t size) {
  ERR_clear_error();
  const int sent = SSL_write(ssl_, data, static_cast<int>(size));
  if (sent > 0) return sent;
  const ssize_t outcome = Outcome(sent);
  if (outcome == 0) errno = EPIPE;
  return -1;
}

Status TlsContext::Load(const std::string& certificate_file, const std::string& key_file) {
  // Read first for errors that tell of the file; then by OpenSSL, which takes chains from files only.
  MUSTER_TRY(const std::string certificate, ReadFile(certificate_file));
  MUSTER_TRY(const std::string key, ReadFile(key_file));
  std::shared_ptr<ssl_ctx_st> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context.get(),
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1) {
    return Error::Invalid("tls-bad-certificate", "{} holds no certificate: {}", certificate_file,
                          OpenSslWord());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Error::Invalid("tls-bad-key", "{} holds no key for that certificate: {}", key_file, OpenSslWord());
  }
  if (SSL_CTX_check_private_key(context.get()) != 1) {
    return Error::Invalid("tls-bad-key", "{} is the key of another certificate", key_file);
  }
  const std::lock_guard lock(mutex_);
  context_ = std::move(context);
  return Done();
}

std::unique_ptr<TlsConnection> TlsContext::Accept(int fd) {
  const std::lock_guard lock(mutex_);
  return std::make_unique<TlsConnection>(context_.get(), fd);
}

}  // namespace muster::push
