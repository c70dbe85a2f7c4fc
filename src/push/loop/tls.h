// TLS for the loop's connections, by OpenSSL. A context may be used by any thread; a connection's state
// belongs to its loop's thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"

struct ssl_st;
struct ssl_ctx_st;

namespace muster::push {

// One connection's state: its buffers are given back whenever they are empty, so that idle ones stay small.
class TlsConnection {
 public:
  TlsConnection(ssl_ctx_st* context, int fd);
  ~TlsConnection();
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;

  // As recv and send: -1 with errno EAGAIN where it has to wait, 0 at the end. The handshake goes on by
  // itself.
  ssize_t Receive(char* buffer, size_t room);
  ssize_t Send(const char* data, size_t size);
  bool wants_write() const { return wants_write_; }  // before it can read on

 private:
  ssize_t Outcome(int result);
  ssl_st* ssl_;
  bool wants_write_ = false;
};

// The certificate and key that new connections get. Load puts others in place while the old go on.
class TlsContext {
 public:
  // Codes "tls-bad-certificate", "tls-bad-key", and those of ReadFile.
  Status Load(const std::string& certificate_file, const std::string& key_file);
  std::unique_ptr<TlsConnection> Accept(int fd);

 private:
  std::mutex mutex_;
  std::shared_ptr<ssl_ctx_st> context_;
};

}  // namespace muster::push
