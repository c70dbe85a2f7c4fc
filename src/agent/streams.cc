#include "agent/streams.h"

#include <spdlog/spdlog.h>

#include "agent/log_files.h"
#include "agent/records.h"
#include "api/window.h"

namespace muster::agent {
namespace {

constexpr size_t kQueuedMost = 4u << 20;    // bytes for the channel, of all streams
constexpr size_t kBatchBytes = 256u << 10;  // of a log, read at once
constexpr Duration kLookEvery = 200ms;      // for a logs folder that isn't there yet

// Puts a line in the place of what was rotated away before it could be read. `told`: bytes that others tell
// of.
void TellMissed(int64_t missed, int64_t& told, std::vector<LogLine>& lines) {
  if (missed <= told) return;
  const WallTime at = lines.empty() ? WallNow() : lines.front().at;
  lines.insert(
      lines.begin(),
      {.at = at,
       .text = fmt::format("(muster: {} bytes were rotated away before they could be read)", missed - told)});
  told = missed;
}

// One stream. Whoever sends for it asks `open` after each chunk, and waits for `Wake` where it isn't.
struct Stream {
  bool windowed = false;
  int64_t left = 0;  // of its window
  bool over = false;
  std::shared_ptr<Execution> execution;
  std::vector<net::Promised<bool>> waiting;
};

}  // namespace

struct Streams::State : std::enable_shared_from_this<Streams::State> {
  State(net::Loop& the_loop, std::string the_folder, std::shared_ptr<LogWaker> the_waker)
      : loop(the_loop), folder(std::move(the_folder)), waker(std::move(the_waker)) {}

  net::Loop& loop;
  const std::string folder;
  const std::shared_ptr<LogWaker> waker;
  std::shared_ptr<net::Channel> channel;
  std::map<std::string, std::shared_ptr<Stream>> streams;
  bool waits_for_channel = false;

  std::shared_ptr<Stream> Begin(const std::string& id, int64_t window) {
    auto stream = std::make_shared<Stream>();
    stream->windowed = window > 0;
    stream->left = window;
    streams[id] = stream;
    return stream;
  }

  void Send(const api::AgentMessage& message) {
    if (channel) channel->Send({'J', api::Encode(message)});
  }

  void SendChunk(Stream& stream, const api::Chunk& chunk) {
    stream.left -= api::Weight(chunk.data);
    Send(chunk);
  }

  bool MaySend(const Stream& stream) {
    if (stream.windowed && stream.left <= 0) return false;
    if (!channel || channel->queued_bytes() <= kQueuedMost) return true;
    if (!std::exchange(waits_for_channel, true)) {
      channel->WhenQueuedAtMost(kQueuedMost / 2, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (!self) return;
        self->waits_for_channel = false;
        for (const auto& [id, one] : std::map(self->streams)) self->Wake(one);
      });
    }
    return false;
  }

  void Wake(const std::shared_ptr<Stream>& stream) {
    if (!stream->over && !MaySend(*stream)) return;
    if (stream->execution) stream->execution->Resume();
    for (const auto& one : std::exchange(stream->waiting, {})) {
      loop.Post([one] { one.Set(true); });
    }
  }

  void End(const std::string& id) {
    const auto found = streams.find(id);
    if (found == streams.end()) return;
    const std::shared_ptr<Stream> stream = found->second;
    streams.erase(found);
    stream->over = true;
    stream->execution.reset();
    Wake(stream);
  }

  // --- Logs.

  // Waits until the stream may send. False: it is over.
  static net::Task<bool> Room(std::shared_ptr<State> self, std::shared_ptr<Stream> stream) {
    while (!stream->over && !self->MaySend(*stream)) {
      const net::Promised<bool> woken;
      stream->waiting.push_back(woken);
      co_await woken;
    }
    co_return !stream->over;
  }

  static net::Task<void> SendLogs(std::shared_ptr<State> self, std::shared_ptr<Stream> stream,
                                  api::Logs logs) {
    std::optional<Error> error;
    std::optional<WallTime> since;
    if (logs.since_ms > 0) since = WallTime(Duration(logs.since_ms));
    for (const std::string& instance : logs.instances) {
      const std::string folder = PathsOf(self->folder, instance).logs;
      if (!fs::exists(folder)) {  // one that is followed is still to come
        if (logs.follow) net::Spawn(Follow(self, stream, logs.id, instance, folder, 0));
        continue;
      }
      LogReadOptions options{.tail = logs.tail, .since = since, .partial = !logs.follow};
      if (logs.from >= 0) options = {.from = logs.from, .partial = !logs.follow};
      const auto reader = std::make_shared<LogReader>(folder, options);
      int64_t told = 0;
      while (true) {
        std::function<Result<std::vector<LogLine>>()> work = [reader] { return reader->Next(kBatchBytes); };
        auto lines = co_await self->loop.Blocking(std::move(work));
        if (stream->over) co_return;
        if (!lines.ok()) error = lines.error();
        if (lines.ok()) TellMissed(reader->missed(), told, *lines);
        if (!lines.ok() || lines->empty()) break;
        self->SendLines(*stream, logs.id, instance, std::move(*lines));
        const bool more = co_await Room(self, stream);
        if (!more) co_return;
      }
      if (logs.follow) net::Spawn(Follow(self, stream, logs.id, instance, folder, reader->position()));
    }
    if (logs.follow) co_return;
    self->Send(api::End{.id = logs.id, .status = 0, .error = error});
    self->End(logs.id);
  }

  void SendLines(Stream& stream, const std::string& id, const std::string& instance,
                 std::vector<LogLine> lines) {
    for (LogLine& line : lines) {
      SendChunk(stream, {.id = id,
                         .instance = instance,
                         .stream = "",
                         .data = std::move(line.text),
                         .at_ms = line.at.time_since_epoch().count(),
                         .position = line.end});
    }
  }

  static net::Task<void> Follow(std::shared_ptr<State> self, std::shared_ptr<Stream> stream, std::string id,
                                std::string instance, std::string folder, int64_t from) {
    while (!fs::exists(folder)) {
      co_await self->loop.Sleep(kLookEvery);
      if (stream->over) co_return;
    }
    const auto written = std::make_shared<net::Promised<bool>>();  // since it was looked at last
    const auto followed = self->waker->Follow(folder, [written] { written->Set(true); });
    if (!followed.ok()) {
      // A reader that hears nothing would take it for a quiet log.
      spdlog::error("{}", followed.error().Text());
      self->Send(api::End{.id = id, .status = 0, .error = followed.error()});
      self->End(id);
      co_return;
    }
    LogFollower follower(folder, from);
    co_await FollowLines(self, stream, id, instance, std::move(follower), written);
    self->waker->Unfollow(*followed);
  }

  static net::Task<void> FollowLines(std::shared_ptr<State> self, std::shared_ptr<Stream> stream,
                                     std::string id, std::string instance, LogFollower follower,
                                     std::shared_ptr<net::Promised<bool>> written) {
    int64_t told = 0;
    while (true) {
      const net::Promised<bool> something;
      *written = something;
      auto lines = follower.Next(WallNow());
      if (lines.ok()) TellMissed(follower.missed(), told, *lines);
      if (lines.ok() && !lines->empty()) {
        self->SendLines(*stream, id, instance, std::move(*lines));
        const bool more = co_await Room(self, stream);
        if (!more) co_return;
        continue;
      }
      stream->waiting.push_back(something);
      co_await something;
      std::erase_if(stream->waiting, [](const net::Promised<bool>& one) { return one.set(); });
      if (stream->over) co_return;
    }
  }

  // --- Commands.

  void Execute(const api::ExecMessage& message, const Execution::Command& command) {
    const std::string id = message.id;
    const auto stream = Begin(id, message.window);
    Execution::Handlers handlers;
    handlers.on_output = [weak = weak_from_this(), weak_stream = std::weak_ptr<Stream>(stream), id](
                             std::string_view name, std::string data) {
      const auto self = weak.lock();
      const auto one = weak_stream.lock();
      if (!self || !one || one->over) return;
      self->SendChunk(*one, {.id = id,
                             .instance = "",
                             .stream = std::string(name),
                             .data = std::move(data),
                             .at_ms = 0,
                             .exact = one->windowed});
      if (one->execution && !self->MaySend(*one)) one->execution->Pause();
    };
    handlers.on_end = [weak = weak_from_this(), id](int status) {
      const auto self = weak.lock();
      if (!self) return;
      self->Send(api::End{.id = id, .status = status, .error = std::nullopt});
      self->End(id);
    };
    if (message.input) {
      handlers.on_taken = [weak = weak_from_this(), id](size_t bytes, bool closed) {
        if (const auto self = weak.lock())
          self->Send(api::Taken{.id = id, .bytes = static_cast<int64_t>(bytes), .closed = closed});
      };
    }
    auto started = Execution::Start(loop, command, std::move(handlers));
    if (started.ok()) {
      stream->execution = std::move(*started);
    } else {
      streams.erase(id);
      Refuse(id, started.error());
    }
  }

  void Refuse(const std::string& id, Error error) {
    // As a shell tells it.
    const int status = error.code() == "program-missing" ? 127 : error.code() == "not-executable" ? 126 : 0;
    Send(api::End{.id = id, .status = status, .error = std::move(error)});
  }
};

Streams::Streams(net::Loop& loop, std::string folder, std::shared_ptr<LogWaker> waker)
    : state_(std::make_shared<State>(loop, std::move(folder), std::move(waker))) {}

Streams::~Streams() { Disconnect(); }

void Streams::Connect(std::shared_ptr<net::Channel> channel) { state_->channel = std::move(channel); }

void Streams::Disconnect() {
  state_->channel.reset();
  while (!state_->streams.empty()) state_->End(state_->streams.begin()->first);
}

void Streams::Start(const api::Logs& logs) {
  net::Spawn(State::SendLogs(state_, state_->Begin(logs.id, logs.window), logs));
}

void Streams::Start(const api::ExecMessage& message, Execution::Command command) {
  command.argv = message.argv;
  command.input = message.input;
  state_->Execute(message, command);
}

void Streams::Refuse(const std::string& id, Error error) { state_->Refuse(id, std::move(error)); }

void Streams::On(const api::More& more) {
  const auto found = state_->streams.find(more.id);
  if (found == state_->streams.end()) return;
  found->second->left += more.bytes;
  state_->Wake(found->second);
}

void Streams::On(const api::Input& input) {
  const auto found = state_->streams.find(input.id);
  if (found == state_->streams.end() || !found->second->execution) return;
  const std::shared_ptr<Execution> execution = found->second->execution;
  if (!input.data.empty()) execution->Write(input.data);
  if (input.end) execution->EndInput();
}

void Streams::Cancel(const std::string& id) { state_->End(id); }

}  // namespace muster::agent
