// A peer of the push benchmark: WebSocket echo on Boost.Beast, one thread, as its documentation writes one.
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace asio = boost::asio;
namespace beast = boost::beast;
using tcp = asio::ip::tcp;

namespace {

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : stream_(std::move(socket)) {}
  void Run() {
    stream_.next_layer().socket().set_option(tcp::no_delay(true));
    stream_.async_accept([self = shared_from_this()](beast::error_code error) {
      if (!error) self->Read();
    });
  }

 private:
  void Read() {
    stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, size_t) {
      if (error) return;
      self->stream_.text(self->stream_.got_text());
      self->stream_.async_write(self->buffer_.data(), [self](beast::error_code failed, size_t sent) {
        if (failed) return;
        self->buffer_.consume(sent);
        self->Read();
      });
    });
  }
  beast::websocket::stream<beast::tcp_stream> stream_;
  beast::flat_buffer buffer_;
};

void Accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](beast::error_code error, tcp::socket socket) {
    if (!error) std::make_shared<Session>(std::move(socket))->Run();
    Accept(acceptor);
  });
}

}  // namespace

int main(int argc, char** argv) {
  asio::io_context context(1);
  const tcp::endpoint place(asio::ip::make_address("127.0.0.1"),
                            static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
  tcp::acceptor acceptor(context, place.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  acceptor.bind(place);
  acceptor.listen(4096);
  Accept(acceptor);
  std::puts("listening");
  std::fflush(stdout);
  context.run();
}
