// What the clients share about TLS. Heavy: only for the .cc files of net/. For the loop's thread: the two
// contexts are the process's own and are never freed before its end.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "net/asio.h"

namespace muster::net {

namespace ssl = boost::asio::ssl;

// The one that verifies reads the system's certificates when it is first asked for.
inline ssl::context& ClientContext(bool verify) {
  static ssl::context trusting(ssl::context::tls_client);
  if (!verify) return trusting;
  static ssl::context verifying = [] {
    ssl::context context(ssl::context::tls_client);
    error_code ignored;
    context.set_default_verify_paths(ignored);
    context.set_verify_mode(ssl::verify_peer);
    return context;
  }();
  return verifying;
}

// Tells `stream` whom it talks to, before its handshake.
template <class Stream>
void NamePeer(Stream& stream, const Endpoint& endpoint) {
  const std::string name = endpoint.tls_name.empty() ? endpoint.host : endpoint.tls_name;
  error_code not_an_address;
  asio::ip::make_address(name, not_an_address);
  // The server name is a DNS name (RFC 6066); an address stays out.
  if (not_an_address) SSL_set_tlsext_host_name(stream.native_handle(), name.c_str());
  error_code ignored;
  if (endpoint.tls_verify) stream.set_verify_callback(ssl::host_name_verification(name), ignored);
}

}  // namespace muster::net
