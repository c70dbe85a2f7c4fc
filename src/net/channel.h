// Framed messages both ways over a Unix socket (later over SSH): what server and agents speak.
// A frame is a 4-byte big-endian length, one byte for its kind, then the payload.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/loop.h"

namespace muster::net {

struct Frame {
  char kind = 'J';  // 'J' a JSON text, 'B' bytes
  std::string payload;
};

constexpr size_t kFrameMaxBytes = 64u << 20;

// Splits a byte stream into frames. Pure: fuzzed without a socket. Code "bad-frame" for a length over the
// limit or an unknown kind; after that it stays broken.
class FrameParser {
 public:
  Result<std::vector<Frame>> Feed(std::string_view bytes);

 private:
  std::string buffer_;
  bool broken_ = false;
};
std::string EncodeFrame(const Frame& frame);

// One end of a connection. Loop thread only. Handlers are set before `Open`; `on_closed` is called once, at
// the end, with code "closed" or "bad-frame". Once open it holds itself until then, whoever else lets go of
// it.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  virtual ~Channel() = default;
  std::function<void(Frame)> on_frame;
  std::function<void(const Error&)> on_closed;
  virtual void Open() = 0;             // starts reading
  virtual void Send(Frame frame) = 0;  // queued; dropped after close
  // Drops what comes from now on; what is queued still goes out, if the peer takes it within 5 s.
  virtual void Close() = 0;
  virtual size_t queued_bytes() const = 0;
  // Back-pressure: calls `act` once, from the loop, when no more than `bytes` are queued or the channel has
  // closed. Whoever sends much looks at queued_bytes() and goes on from here.
  virtual void WhenQueuedAtMost(size_t bytes, std::function<void()> act) = 0;
};

// Codes "connect-failed", "timeout".
Task<Result<std::shared_ptr<Channel>>> ConnectChannel(Loop& loop, std::string socket_path, Duration timeout);

class ChannelListener {
 public:
  virtual ~ChannelListener() = default;
  // Mode 0600; replaces a stale socket file; code "address-in-use" where somebody answers.
  static Result<std::unique_ptr<ChannelListener>> Listen(
      Loop& loop, std::string socket_path, std::function<void(std::shared_ptr<Channel>)> on_channel);
};

}  // namespace muster::net
