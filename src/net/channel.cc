#include "net/channel.h"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <deque>

#include "net/asio.h"

namespace muster::net {
namespace {

constexpr size_t kHeadBytes = 5;
constexpr Duration kFarewellWithin = 5s;
constexpr Duration kAcceptAgainAfter = 100ms;

class SocketChannel : public Channel {
 public:
  SocketChannel(Loop& loop, std::shared_ptr<Socket> socket) : loop_(loop), socket_(std::move(socket)) {}

  void Open() override { Read(); }

  void Send(Frame frame) override {
    if (closed_ || closing_) return;
    queue_.push_back(EncodeFrame(frame));
    queued_ += queue_.back().size();
    if (!writing_) Write();
  }

  void Close() override {
    // What is queued still goes out: a farewell may be in it. But a peer that reads nothing is not waited
    // for.
    if (closed_ || closing_) return;
    if (writing_) {
      closing_ = true;
      farewell_ = loop_.After(kFarewellWithin, [weak = weak_from_this()] {
        const auto self = std::static_pointer_cast<SocketChannel>(weak.lock());
        if (self && !self->closed_) self->End(Error::Unavailable("closed", "closed by this side"));
      });
    } else {
      End(Error::Unavailable("closed", "closed by this side"));
    }
  }

  size_t queued_bytes() const override { return queued_; }

  void WhenQueuedAtMost(size_t bytes, std::function<void()> act) override {
    waiting_.emplace_back(bytes, std::move(act));
    if (closed_ || queued_ <= bytes) WakeWaiting();
  }

 private:
  std::shared_ptr<SocketChannel> Self() {
    return std::static_pointer_cast<SocketChannel>(shared_from_this());
  }

  void Read() {
    // Waits first and reads into the stack, so that a channel with nothing to say holds no buffer.
    socket_->async_wait(Socket::wait_read, [self = Self()](error_code error) {
      if (self->closed_) return;
      if (error) return self->End(Error::Unavailable("closed", "{}", error.message()));
      char bytes[64 << 10];
      const ssize_t got = ::recv(self->socket_->native_handle(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (got == 0) return self->End(Error::Unavailable("closed", "closed by the other side"));
      if (got < 0 && errno != EAGAIN && errno != EINTR) {
        error.assign(errno, boost::system::system_category());
        return self->End(Error::Unavailable("closed", "{}", error.message()));
      }
      if (got > 0) self->Take(std::string_view(bytes, static_cast<size_t>(got)));
      if (!self->closed_) self->Read();
    });
  }

  void Take(std::string_view bytes) {
    auto frames = parser_.Feed(bytes);
    if (!frames.ok()) return End(frames.error());
    delivering_ = true;
    for (Frame& frame : *frames) {
      if (closed_ || closing_) break;
      if (on_frame) on_frame(std::move(frame));
    }
    delivering_ = false;
    if (closed_) on_frame = nullptr;
  }

  void Write() {
    writing_ = true;
    asio::async_write(*socket_, asio::buffer(queue_.front()), [self = Self()](error_code error, size_t) {
      self->writing_ = false;
      if (self->closed_) return;
      if (error) return self->End(Error::Unavailable("closed", "{}", error.message()));
      self->queued_ -= self->queue_.front().size();
      self->queue_.pop_front();
      self->WakeWaiting();
      if (!self->queue_.empty()) return self->Write();
      if (self->closing_) self->End(Error::Unavailable("closed", "closed by this side"));
    });
  }

  void WakeWaiting() {
    std::erase_if(waiting_, [this](auto& one) {
      if (!closed_ && queued_ > one.first) return false;
      asio::post(socket_->get_executor(), std::move(one.second));
      return true;
    });
  }

  void End(const Error& error) {
    closed_ = true;
    loop_.Cancel(farewell_);
    error_code ignored;
    socket_->close(ignored);
    if (!delivering_) on_frame = nullptr;  // else it is running: Take forgets it
    WakeWaiting();
    if (auto closed = std::exchange(on_closed, nullptr)) closed(error);
  }

  Loop& loop_;
  std::shared_ptr<Socket> socket_;
  FrameParser parser_;
  std::deque<std::string> queue_;
  size_t queued_ = 0;
  Loop::TimerId farewell_ = 0;
  bool delivering_ = false;
  std::vector<std::pair<size_t, std::function<void()>>> waiting_;
  bool writing_ = false;
  bool closing_ = false;
  bool closed_ = false;
};

class UnixListener : public ChannelListener, public std::enable_shared_from_this<UnixListener> {
 public:
  UnixListener(Loop& loop, asio::local::stream_protocol::acceptor acceptor, std::string path,
               std::function<void(std::shared_ptr<Channel>)> on_channel)
      : loop_(loop),
        acceptor_(std::move(acceptor)),
        path_(std::move(path)),
        on_channel_(std::move(on_channel)) {}

  void Accept() {
    auto socket = std::make_shared<Socket>(Io(loop_));
    acceptor_.async_accept(*socket, [self = shared_from_this(), socket](error_code error) {
      if (error == asio::error::operation_aborted || !self->acceptor_.is_open()) return;
      if (error) return self->AcceptLater();
      // Called through a copy: it may stop this listener, which forgets it.
      const auto on_channel = self->on_channel_;
      on_channel(std::make_shared<SocketChannel>(self->loop_, socket));
      if (self->acceptor_.is_open()) self->Accept();
    });
  }
  // Out of descriptors: the peer stays in the queue, so accepting again at once would only spin.
  void AcceptLater() {
    loop_.After(kAcceptAgainAfter, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self && self->acceptor_.is_open()) self->Accept();
    });
  }
  void Stop() {
    error_code ignored;
    ::unlink(path_.c_str());  // first: see ListenUnix
    acceptor_.close(ignored);
    on_channel_ = nullptr;
  }

 private:
  Loop& loop_;
  asio::local::stream_protocol::acceptor acceptor_;
  std::string path_;
  std::function<void(std::shared_ptr<Channel>)> on_channel_;
};

// Owns the listener, whose pending accept outlives it by a turn of the loop.
class ListenerHandle : public ChannelListener {
 public:
  explicit ListenerHandle(std::shared_ptr<UnixListener> listener) : listener_(std::move(listener)) {}
  ~ListenerHandle() override { listener_->Stop(); }

 private:
  std::shared_ptr<UnixListener> listener_;
};

}  // namespace

Result<std::vector<Frame>> FrameParser::Feed(std::string_view bytes) {
  const auto broken = [this](std::string what) {
    broken_ = true;
    buffer_.clear();
    return Error::Invalid("bad-frame", "{}", what);
  };
  if (broken_) return broken("the stream is broken already");
  buffer_.append(bytes);
  std::vector<Frame> frames;
  size_t at = 0;
  while (buffer_.size() - at >= kHeadBytes) {
    const auto byte = [&](size_t i) {
      return static_cast<size_t>(static_cast<unsigned char>(buffer_[at + i]));
    };
    const size_t length = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
    const char kind = buffer_[at + 4];
    if (length > kFrameMaxBytes) {
      return broken(fmt::format("a frame of {} bytes is over the limit of {}", length, kFrameMaxBytes));
    }
    if (kind != 'J' && kind != 'B') return broken(fmt::format("a frame of the unknown kind {}", int{kind}));
    if (buffer_.size() - at - kHeadBytes < length) break;
    frames.push_back({.kind = kind, .payload = buffer_.substr(at + kHeadBytes, length)});
    at += kHeadBytes + length;
  }
  buffer_.erase(0, at);
  if (buffer_.empty() && buffer_.capacity() > (64u << 10)) buffer_ = {};  // a large blob has passed
  return frames;
}

std::string EncodeFrame(const Frame& frame) {
  const size_t length = frame.payload.size();
  std::string bytes;
  bytes.reserve(kHeadBytes + length);
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(length >> shift & 0xff));
  bytes.push_back(frame.kind);
  bytes.append(frame.payload);
  return bytes;
}

Task<Result<std::shared_ptr<Channel>>> ConnectChannel(Loop& loop, std::string socket_path, Duration timeout) {
  auto socket = std::make_shared<Socket>(Io(loop));
  Endpoint endpoint;
  endpoint.socket_path = std::move(socket_path);
  const Result<Ok> connected = co_await ConnectSocket(loop, socket, endpoint, timeout);
  if (!connected.ok()) co_return connected.error();
  co_return std::shared_ptr<Channel>(std::make_shared<SocketChannel>(loop, socket));
}

Result<std::unique_ptr<ChannelListener>> ChannelListener::Listen(
    Loop& loop, std::string socket_path, std::function<void(std::shared_ptr<Channel>)> on_channel) {
  MUSTER_TRY(auto acceptor, ListenUnix(loop, socket_path));
  auto listener = std::make_shared<UnixListener>(loop, std::move(acceptor), std::move(socket_path),
                                                 std::move(on_channel));
  listener->Accept();
  return std::unique_ptr<ChannelListener>(std::make_unique<ListenerHandle>(std::move(listener)));
}

}  // namespace muster::net
