#include "net/resp_client.h"

#include <sys/socket.h>

#include <cassert>
#include <deque>

#include "net/asio.h"

namespace muster::net {
namespace {

constexpr size_t kReadAtOnce = 64u << 10;

// Without the password, even where the server repeats what it was sent.
std::string Without(const std::string& password, std::string text) {
  if (password.empty() || text.find(password) == std::string::npos) return text;
  return text.substr(0, text.find(' '));
}

}  // namespace

// Holds itself while it reads, whoever else lets go of it, until it has ended.
class RespClient::Connection : public std::enable_shared_from_this<RespClient::Connection> {
 public:
  using Answers = Result<std::vector<resp::Value>>;

  Connection(Loop& loop, std::shared_ptr<Socket> socket, std::string name, resp::Limits limits)
      : loop_(loop), socket_(std::move(socket)), name_(std::move(name)), parser_(limits) {}

  Promised<Answers> Send(const std::vector<resp::Command>& commands, Duration timeout) {
    Batch batch{.number = ++last_number_, .wanted = commands.size()};
    if (ended_) {
      batch.answered.Set(ClosedError());
      return batch.answered;
    }
    std::string bytes;
    for (const resp::Command& command : commands) bytes += resp::Encode(command);
    unsent_.push_back(std::move(bytes));
    batch.timer = loop_.After(timeout, [weak = weak_from_this(), number = batch.number] {
      if (const auto self = weak.lock()) self->Expire(number);
    });
    const Promised<Answers> answered = batch.answered;
    waiting_.push_back(std::move(batch));
    if (!writing_) Write();
    return answered;
  }

  void Read() {
    // Waits first and reads into the stack, so that an idle connection holds no buffer.
    socket_->async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
      if (self->ended_) return;
      if (error) return self->EndAll(error.message());
      char bytes[kReadAtOnce];
      const ssize_t got = ::recv(self->socket_->native_handle(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (got == 0) return self->EndAll("the server has closed the connection");
      if (got < 0 && errno != EAGAIN && errno != EINTR) {
        error.assign(errno, boost::system::system_category());
        return self->EndAll(error.message());
      }
      if (got > 0) self->Take(std::string_view(bytes, static_cast<size_t>(got)));
      if (!self->ended_) self->Read();
    });
  }

  void EndAll(const std::string& why) {
    if (ended_) return;
    why_ = why;
    End(ClosedError());
  }

  bool ended() const { return ended_; }
  const std::string& name() const { return name_; }

 private:
  // What one call waits for.
  struct Batch {
    uint64_t number = 0;
    size_t wanted = 0;
    std::vector<resp::Value> answers;
    Promised<Answers> answered;
    Loop::TimerId timer = 0;
  };

  void Write() {
    writing_ = true;
    sending_ = std::move(unsent_.front());
    unsent_.pop_front();
    asio::async_write(*socket_, asio::buffer(sending_),
                      [self = shared_from_this()](error_code error, size_t) {
                        if (self->ended_) return;
                        // Why may stand in the socket, as an error and then the end: the reader tells.
                        if (error) return;
                        self->writing_ = false;
                        if (!self->unsent_.empty()) self->Write();
                      });
  }

  void Take(std::string_view bytes) {
    auto values = parser_.Feed(bytes);
    if (!values.ok()) {
      why_ = values.error().message();
      return End(std::move(values).error().While("{}", name_));
    }
    for (resp::Value& value : *values) {
      if (ended_) return;  // whoever got an answer may have closed
      if (value.type == resp::Type::kPush) continue;
      if (waiting_.empty()) {
        // Before it hangs up on a stranger, Redis says why.
        if (value.is_error()) farewell_ = resp::Describe(value);
        continue;
      }
      Batch& batch = waiting_.front();
      batch.answers.push_back(std::move(value));
      if (batch.answers.size() < batch.wanted) continue;
      Batch whole = std::move(batch);
      waiting_.pop_front();
      loop_.Cancel(whole.timer);
      whole.answered.Set(std::move(whole.answers));
    }
  }

  void Expire(uint64_t number) {
    why_ = "a command got no answer in time";
    End(ClosedError(), number);
  }

  // Once; everybody who still waits gets `error`, but for the one whose time is over.
  void End(const Error& error, uint64_t expired = 0) {
    if (std::exchange(ended_, true)) return;
    const auto self = shared_from_this();  // those who wait may let go of it
    error_code ignored;
    socket_->close(ignored);
    unsent_.clear();
    for (const Batch& batch : std::exchange(waiting_, {})) {
      loop_.Cancel(batch.timer);
      if (batch.number == expired) {
        batch.answered.Set(Error::Timeout("redis-timeout", "no answer from redis at {} in time", name_));
      } else {
        batch.answered.Set(error);
      }
    }
  }

  Error ClosedError() const {
    const std::string more = farewell_.empty() ? "" : ", it said: " + farewell_;
    return Error::Unavailable("redis-closed", "the connection to redis at {} is closed: {}{}", name_, why_,
                              more);
  }

  Loop& loop_;
  std::shared_ptr<Socket> socket_;
  std::string name_;  // host and port
  resp::Parser parser_;
  uint64_t last_number_ = 0;
  std::deque<std::string> unsent_;
  std::string sending_;
  bool writing_ = false;
  std::deque<Batch> waiting_;
  std::string farewell_;
  std::string why_;
  bool ended_ = false;
};

namespace {

// Of ConnectSocket's errors, in this client's words.
Error ConnectError(const Error& error, const std::string& name) {
  if (error.kind() == ErrorKind::kTimeout) {
    return Error::Timeout("redis-timeout", "no connection to redis at {} in time", name);
  }
  return Error(error.kind(), "redis-unreachable", "redis: " + error.message())
      .Hint("does it run, and does nothing stand between?");
}

}  // namespace

Task<Result<std::unique_ptr<RespClient>>> RespClient::Connect(Loop& loop, std::string host, int port,
                                                              RespOptions options, Duration timeout) {
  const Time end = Now() + timeout;
  const Endpoint endpoint{.host = host, .port = port, .source_address = options.source_address};
  const std::string name = EndpointName(endpoint);
  auto socket = std::make_shared<Socket>(Io(loop));
  const Result<Ok> connected = co_await ConnectSocket(loop, socket, endpoint, timeout);
  if (!connected.ok()) co_return ConnectError(connected.error(), name);
  auto connection = std::make_shared<Connection>(loop, socket, name, options.limits);
  connection->Read();
  std::unique_ptr<RespClient> client(new RespClient(connection));
  if (options.password.empty()) co_return client;
  resp::Command auth = {"AUTH"};
  if (!options.user.empty()) auth.push_back(options.user);
  auth.push_back(options.password);
  const Duration left = std::max(end - Now(), Duration(1));
  auto answer = co_await client->Command(std::move(auth), left);
  if (!answer.ok()) co_return answer.error();
  if (answer->is_error()) {
    answer->text = Without(options.password, std::move(answer->text));
    co_return Error::Denied("redis-denied", "redis at {} doesn't take the password: {}", name,
                            resp::Describe(*answer));
  }
  co_return client;
}

RespClient::RespClient(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

RespClient::~RespClient() { Close(); }

Task<Result<std::vector<resp::Value>>> RespClient::Pipeline(std::vector<resp::Command> commands,
                                                            Duration timeout) {
  if (commands.empty()) co_return std::vector<resp::Value>();
  // Nothing of this client is touched once it waits: it may be gone by then.
  const Promised<Connection::Answers> answered = connection_->Send(commands, timeout);
  co_return co_await answered;
}

Task<Result<resp::Value>> RespClient::Command(resp::Command command, Duration timeout) {
  std::vector<resp::Command> commands;
  commands.push_back(std::move(command));
  auto answers = co_await Pipeline(std::move(commands), timeout);
  if (!answers.ok()) co_return answers.error();
  co_return std::move(answers->front());
}

void RespClient::Close() { connection_->EndAll("closed by this side"); }

bool RespClient::closed() const { return connection_->ended(); }

}  // namespace muster::net
