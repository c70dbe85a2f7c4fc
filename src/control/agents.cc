#include "control/agents.h"

#include <algorithm>
#include <deque>
#include <fstream>
#include <set>

#include "base/digest.h"
#include "base/files.h"

namespace muster::control {
namespace {

using api::AgentMessage;

constexpr Duration kAwayMost = 15s;  // an agent that is away for longer fails its open orders
constexpr Duration kRestartFirst = 50ms;
constexpr Duration kRestartMost = 5s;
constexpr int kUnansweredMost = 4;  // pings in a row; then the agent is taken for hung
constexpr size_t kBlobPieceBytes = 1u << 20;
constexpr size_t kBlobQueuedBytes = 2u << 20;  // for one agent, before more is read

std::string LinkKey(const std::string& cluster, const std::string& host) { return cluster + "/" + host; }

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

Error Unreachable(const std::string& host) {
  return Error::Unavailable("host-unreachable", "the agent of {} does not answer", host)
      .Hint("look at its log: muster doctor names the file");
}

Error OtherAnswer() {
  return Error::Internal("bad-message", "the agent answered with a message of another type")
      .Hint("an agent of another release may be running: muster server stop, then muster up FILE");
}

}  // namespace

struct Agents::State : std::enable_shared_from_this<Agents::State> {
  struct Pending {
    std::string text;  // to send again after a reconnect
    std::function<void(const AgentMessage&)> answered;
    std::function<void(Error)> failed;
    net::Loop::TimerId timer = 0;
    bool resend = true;
    Time until = Time::max();  // what it asks for is no longer wanted after that
  };
  struct Streaming {
    std::function<void(const api::Chunk&)> on_chunk;
    std::function<void(const api::End&)> on_end;
    std::function<void(const api::Taken&)> on_taken;
  };
  struct Link {
    Wanted wanted;
    bool is_wanted = false;
    std::shared_ptr<net::Channel> channel;
    Duration restart_delay = kRestartFirst;
    net::Loop::TimerId restart_timer = 0;
    net::Loop::TimerId away_timer = 0;
    std::map<std::string, Pending> pending;
    std::map<std::string, Streaming> streams;
    std::vector<net::Promised<bool>> reaching;
    int knows_streams = 0;                 // as its hello says
    int pid = 0;                           // of the agent, by its hello
    int64_t epoch_seen = 0;                // as its hello says
    net::Loop::TimerId ping_timer = 0;     // 0: it knows no pings, or is away
    int unanswered = 0;                    // pings since it was last heard of
    std::deque<std::string> blobs_wanted;  // sent one after another, since their bytes come without a name
    bool sending_blobs = false;
  };

  net::Loop& loop;
  Callbacks callbacks;
  std::unique_ptr<net::ChannelListener> listener;
  std::map<std::string, Link> links;
  std::set<std::string> cut;  // as the keys of links
  const Duration ping_every;
  bool closing = false;

  State(net::Loop& the_loop, Callbacks the_callbacks, Duration pings)
      : loop(the_loop), callbacks(std::move(the_callbacks)), ping_every(pings) {}

  void Accept(std::shared_ptr<net::Channel> channel) {
    auto key = std::make_shared<std::string>();
    std::weak_ptr<State> weak = weak_from_this();
    std::weak_ptr<net::Channel> weak_channel = channel;
    channel->on_frame = [weak, weak_channel, key](net::Frame frame) {
      auto self = weak.lock();
      auto source = weak_channel.lock();
      if (self && source) self->OnFrame(source, *key, frame);
    };
    channel->on_closed = [weak, weak_channel, key](const Error&) {
      auto self = weak.lock();
      if (self && !key->empty()) self->OnClosed(*key, weak_channel.lock().get());
      if (!self) return;
      self->unknown.erase(weak_channel.lock());
      std::erase(self->leaving, weak_channel.lock());
    };
    unknown[channel] = true;
    channel->Open();
  }
  std::map<std::shared_ptr<net::Channel>, bool> unknown;  // keeps channels alive until their hello

  void OnFrame(std::shared_ptr<net::Channel> channel, std::string& key, const net::Frame& frame) {
    if (frame.kind != 'J') return;
    const Result<AgentMessage> message = api::DecodeAgentMessage(frame.payload);
    if (!message.ok()) {
      channel->Close();
      return;
    }
    if (const auto* hello = std::get_if<api::Hello>(&*message)) {
      key = LinkKey(hello->cluster, hello->host);
      OnHello(channel, key, *hello);
      return;
    }
    const auto found = links.find(key);
    if (found == links.end() || found->second.channel != channel) return;
    found->second.unanswered = 0;
    OnMessage(found->second, *message);
  }

  void OnHello(std::shared_ptr<net::Channel> channel, const std::string& key, const api::Hello& hello) {
    unknown.erase(channel);
    Link& link = links[key];
    if (!link.is_wanted) {
      links.erase(key);
      if (callbacks.released(hello.cluster, hello.host, hello.epoch_seen)) {
        Send(*channel, api::Leave{.epoch = hello.epoch_seen + 1});
        leaving.push_back(channel);
      } else {
        channel->Close();
      }
      return;
    }
    if (cut.contains(key)) {
      channel->Close();
      return;
    }
    if (link.channel && link.channel != channel) {
      link.channel->Close();
      EndStreams(link);
    }
    link.channel = channel;
    link.knows_streams = hello.streams;
    link.pid = hello.pid;
    link.epoch_seen = hello.epoch_seen;
    link.unanswered = 0;
    loop.Cancel(link.ping_timer);
    link.ping_timer = 0;
    if (hello.pings) PingSoon(key);
    link.blobs_wanted.clear();
    link.sending_blobs = false;
    link.restart_delay = kRestartFirst;
    loop.Cancel(link.restart_timer);
    loop.Cancel(link.away_timer);
    link.away_timer = 0;
    Send(*channel, api::Welcome{.epoch = link.wanted.epoch});
    for (const auto& [id, pending] : link.pending) channel->Send({'J', pending.text});
    for (auto& waiting : std::exchange(link.reaching, {})) {
      loop.Post([waiting] { waiting.Set(true); });
    }
    callbacks.connected(link.wanted.cluster, link.wanted.host, true);
  }
  std::vector<std::shared_ptr<net::Channel>> leaving;

  // A stopped or hung agent keeps its socket open: only what it says tells that it lives. Pings are counted
  // rather than timed, so that a server that stood still itself takes nobody for hung.
  void PingSoon(const std::string& key) {
    links[key].ping_timer = loop.After(ping_every, [weak = weak_from_this(), key] {
      if (const auto self = weak.lock()) self->Ping(key);
    });
  }

  void Ping(const std::string& key) {
    const auto found = links.find(key);
    if (found == links.end() || !found->second.channel) return;
    Link& link = found->second;
    link.ping_timer = 0;
    if (link.unanswered >= kUnansweredMost) {
      const Wanted wanted = link.wanted;
      const int pid = link.pid;
      const auto channel = link.channel;
      OnClosed(key, channel.get());
      channel->Close();
      if (callbacks.hung) callbacks.hung(wanted, pid);
      return;
    }
    ++link.unanswered;
    Send(*link.channel, api::Ping{});
    PingSoon(key);
  }

  void OnClosed(const std::string& key, const net::Channel* channel) {
    const auto found = links.find(key);
    if (found == links.end() || (channel && found->second.channel.get() != channel)) return;
    Link& link = found->second;
    link.channel.reset();
    loop.Cancel(link.ping_timer);
    link.ping_timer = 0;
    EndStreams(link);
    callbacks.connected(link.wanted.cluster, link.wanted.host, false);
    StartAway(key);
    ScheduleStart(key);
  }

  void EndStreams(Link& link) {
    for (auto& [id, stream] : std::exchange(link.streams, {})) {
      stream.on_end({.id = id, .status = 0, .error = Unreachable(link.wanted.host)});
    }
  }

  void StartAway(const std::string& key) {
    Link& link = links[key];
    if (link.away_timer) return;
    link.away_timer = loop.After(kAwayMost, [this, key] {
      const auto found = links.find(key);
      if (found == links.end()) return;
      found->second.away_timer = 0;
      const std::string host = found->second.wanted.host;
      FailAll(found->second, Unreachable(host));
    });
  }

  void FailAll(Link& link, const Error& error) {
    for (auto& [id, pending] : std::exchange(link.pending, {})) {
      loop.Cancel(pending.timer);
      pending.failed(error);
    }
  }

  void ScheduleStart(const std::string& key) {
    Link& link = links[key];
    if (!link.is_wanted || link.channel || closing || cut.contains(key)) return;
    loop.Cancel(link.restart_timer);
    link.restart_timer = loop.After(link.restart_delay, [this, key] { StartNow(key); });
    link.restart_delay = std::min(link.restart_delay * 2, kRestartMost);
  }

  void StartNow(const std::string& key) {
    const auto found = links.find(key);
    if (found == links.end() || !found->second.is_wanted || found->second.channel) return;
    Link& link = found->second;
    link.restart_timer = 0;
    if (cut.contains(key)) return;
    (void)callbacks.start(link.wanted);
    ScheduleStart(key);  // until its hello cancels this
  }

  // An agent that was away may get an order late, and has no clock to tell by.
  static bool IsWanted(const Link& link, const std::string& order) {
    const auto found = link.pending.find(order);
    return found != link.pending.end() && Now() < found->second.until;
  }

  void OnMessage(Link& link, const AgentMessage& message) {
    const auto answer = [&](const std::string& id) {
      const auto found = link.pending.find(id);
      if (found == link.pending.end()) return;
      const Pending pending = std::move(found->second);
      link.pending.erase(found);
      loop.Cancel(pending.timer);
      pending.answered(message);
    };
    std::visit(
        Overloaded{
            [&](const api::Outcome& outcome) { answer(outcome.id); },
            [&](const api::ObservedMessage& observed) { answer(observed.id); },
            [&](const api::Verified& verified) { answer(verified.id); },
            // Who isn't the link's channel any more isn't answered: OnFrame leaves that out.
            [&](const api::Ping& ping) {
              Send(*link.channel, api::Pong{.wanted = ping.order.empty() || IsWanted(link, ping.order)});
            },
            [&](const api::Changed& changed) { callbacks.changed(link.wanted.cluster, changed.instance); },
            [&](const api::WantBlob& want) {
              link.blobs_wanted.push_back(want.sha256);
              if (!std::exchange(link.sending_blobs, true)) {
                net::Spawn(SendBlobs(loop, weak_from_this(), link.channel));
              }
            },
            [&](const api::Chunk& chunk) {
              const auto stream = link.streams.find(chunk.id);
              if (stream == link.streams.end()) return;
              const auto on_chunk = stream->second.on_chunk;  // which may cancel its own stream
              on_chunk(chunk);
            },
            [&](const api::End& end) {
              const auto stream = link.streams.find(end.id);
              if (stream == link.streams.end()) return;
              const auto on_end = std::move(stream->second.on_end);
              link.streams.erase(stream);
              on_end(end);
            },
            [&](const api::Taken& taken) {
              const auto stream = link.streams.find(taken.id);
              if (stream != link.streams.end() && stream->second.on_taken) stream->second.on_taken(taken);
            },
            [](const auto&) {},  // what only a server says
        },
        message);
  }

  // --- Blobs: read off the loop, and sent no faster than the agent takes them.

  Link* LinkOf(const std::shared_ptr<net::Channel>& channel) {
    for (auto& [key, link] : links) {
      if (link.channel == channel) return &link;
    }
    return nullptr;
  }

  // The next blob that is wanted over `channel`, with its path; nothing where there is none any more.
  std::optional<std::pair<std::string, std::string>> NextBlob(const std::shared_ptr<net::Channel>& channel) {
    Link* link = LinkOf(channel);
    if (!link) return std::nullopt;  // the agent is away, or has come back over another
    link->sending_blobs = !link->blobs_wanted.empty();
    if (!link->sending_blobs) return std::nullopt;
    const std::string sha256 = link->blobs_wanted.front();
    link->blobs_wanted.pop_front();
    return std::pair(sha256, callbacks.blob_path(sha256));
  }

  static net::Task<void> SendBlobs(net::Loop& loop, std::weak_ptr<State> weak,
                                   std::shared_ptr<net::Channel> channel) {
    while (true) {
      std::optional<std::pair<std::string, std::string>> next;
      if (const auto self = weak.lock()) next = self->NextBlob(channel);
      if (!next) co_return;
      const auto& [sha256, path] = *next;
      const auto file = std::make_shared<std::ifstream>(path, std::ios::binary | std::ios::ate);
      if (path.empty() || !*file) {
        Error missing = Error::NotFound("blob-missing", "the server has no content with SHA-256 {}", sha256);
        Send(*channel, api::Blob{.sha256 = sha256, .size = 0, .error = std::move(missing)});
        continue;
      }
      int64_t left = file->tellg();
      file->seekg(0);
      Send(*channel, api::Blob{.sha256 = sha256, .size = left, .error = std::nullopt});
      while (left > 0) {
        std::function<std::string()> read = [file] {
          std::string piece(kBlobPieceBytes, '\0');
          file->read(piece.data(), static_cast<std::streamsize>(piece.size()));
          piece.resize(static_cast<size_t>(file->gcount()));
          return piece;
        };
        std::string piece = co_await loop.Blocking(std::move(read));
        if (piece.empty()) {  // somebody cut it: the agent would wait for the rest for ever
          channel->Close();
          co_return;
        }
        left -= static_cast<int64_t>(piece.size());
        channel->Send({'B', std::move(piece)});
        const net::Promised<bool> drained;
        channel->WhenQueuedAtMost(kBlobQueuedBytes, [drained] { drained.Set(true); });
        co_await drained;
      }
    }
  }

  static void Send(net::Channel& channel, const AgentMessage& message) {
    channel.Send({'J', api::Encode(message)});
  }

  // Sends `message` under `id` and keeps it until it is answered, its agent stays away, or `timeout` has
  // passed.
  void Ask(const std::string& key, const std::string& id, const AgentMessage& message, Duration timeout,
           std::function<void(const AgentMessage&)> answered, std::function<void(Error)> failed,
           Time until = Time::max()) {
    const auto found = links.find(key);
    if (found == links.end()) {
      failed(Unreachable(key));
      return;
    }
    Link& link = found->second;
    Pending pending{.text = api::Encode(message),
                    .answered = std::move(answered),
                    .failed = std::move(failed),
                    .until = until};
    pending.timer = loop.After(timeout, [this, key, id] {
      const auto late = links.find(key);
      if (late == links.end()) return;
      const auto entry = late->second.pending.find(id);
      if (entry == late->second.pending.end()) return;
      const Pending gone = std::move(entry->second);
      late->second.pending.erase(entry);
      const bool away = !late->second.channel;
      gone.failed(away ? Unreachable(late->second.wanted.host)
                       : Error::Timeout("timeout", "the agent of {} gave no outcome in time",
                                        late->second.wanted.host));
    });
    if (link.channel) {
      link.channel->Send({'J', pending.text});
    } else {
      StartAway(key);
    }
    link.pending[id] = std::move(pending);
  }
};

Result<std::unique_ptr<Agents>> Agents::Listen(net::Loop& loop, const std::string& socket_path,
                                               Callbacks callbacks, Duration ping_every) {
  auto state = std::make_shared<State>(loop, std::move(callbacks), ping_every);
  std::weak_ptr<State> weak = state;
  MUSTER_TRY(state->listener, net::ChannelListener::Listen(loop, socket_path, [weak](auto channel) {
               if (auto self = weak.lock()) self->Accept(std::move(channel));
             }));
  return std::unique_ptr<Agents>(new Agents(std::move(state)));
}

Agents::Agents(std::shared_ptr<State> state) : state_(std::move(state)) {}
Agents::~Agents() { state_->closing = true; }

void Agents::Want(const Wanted& wanted) {
  const std::string key = LinkKey(wanted.cluster, wanted.host);
  State::Link& link = state_->links[key];
  const bool started = link.is_wanted;
  link.wanted = wanted;
  link.is_wanted = true;
  if (link.channel) {
    State::Send(*link.channel, api::Welcome{.epoch = wanted.epoch});
  } else if (!started) {
    state_->StartNow(key);
  }
}

void Agents::Release(const std::string& cluster, const std::string& host) {
  const auto found = state_->links.find(LinkKey(cluster, host));
  if (found == state_->links.end()) return;
  State::Link link = std::move(found->second);
  state_->links.erase(found);
  state_->loop.Cancel(link.restart_timer);
  state_->loop.Cancel(link.away_timer);
  state_->loop.Cancel(link.ping_timer);
  if (link.channel) {
    State::Send(*link.channel, api::Leave{.epoch = link.wanted.epoch});
    state_->leaving.push_back(link.channel);
  }
  state_->FailAll(link, Unreachable(host));
  state_->EndStreams(link);
}

void Agents::Cut(const std::string& cluster, const std::string& host, bool cut) {
  const std::string key = LinkKey(cluster, host);
  const bool changed = cut ? state_->cut.insert(key).second : state_->cut.erase(key) > 0;
  const auto found = state_->links.find(key);
  if (!changed || found == state_->links.end()) return;
  if (!cut) {
    found->second.restart_delay = kRestartFirst;
    state_->ScheduleStart(key);
  } else if (const auto channel = found->second.channel) {
    state_->OnClosed(key, channel.get());
    channel->Close();
  }
}

bool Agents::connected(const std::string& cluster, const std::string& host) const {
  const auto found = state_->links.find(LinkKey(cluster, host));
  return found != state_->links.end() && found->second.channel != nullptr;
}

int64_t Agents::epoch_seen(const std::string& cluster, const std::string& host) const {
  const auto found = state_->links.find(LinkKey(cluster, host));
  return found == state_->links.end() ? 0 : found->second.epoch_seen;
}

net::Task<Status> Agents::Reach(std::string cluster, std::string host, Duration timeout) {
  if (connected(cluster, host)) co_return Done();
  const auto found = state_->links.find(LinkKey(cluster, host));
  if (found == state_->links.end()) co_return Unreachable(host);
  const net::Promised<bool> reached;
  found->second.reaching.push_back(reached);
  const auto timer = state_->loop.After(timeout, [reached] { reached.Set(false); });
  const bool here = co_await reached;
  state_->loop.Cancel(timer);
  if (!here) co_return Unreachable(host);
  co_return Done();
}

net::Task<Result<std::map<std::string, std::string>>> Agents::Perform(std::string cluster,
                                                                      api::OrderMessage order) {
  using Answer = Result<std::map<std::string, std::string>>;
  const net::Promised<Answer> answer;
  const std::string key = LinkKey(cluster, order.step.host);
  const Duration timeout = order.step.deadline + kAwayMost;  // the agent keeps the deadline itself
  const Time until = Now() + order.step.deadline;
  state_->Ask(
      key, order.id, order, timeout,
      [answer](const AgentMessage& message) {
        const auto* outcome = std::get_if<api::Outcome>(&message);
        if (!outcome) {
          answer.Set(OtherAnswer());
        } else if (outcome->error) {
          answer.Set(*outcome->error);
        } else {
          answer.Set(outcome->values);
        }
      },
      [answer](Error error) { answer.Set(std::move(error)); }, until);
  co_return co_await answer;
}

net::Task<Result<std::vector<Observed>>> Agents::Observe(std::string cluster, std::string host, bool drift,
                                                         Duration timeout) {
  using Answer = Result<std::vector<Observed>>;
  const net::Promised<Answer> answer;
  const api::Observe observe{.id = RandomHex(8), .drift = drift, .fresh = false};
  const std::string key = LinkKey(cluster, host);
  state_->Ask(
      key, observe.id, observe, timeout,
      [answer](const AgentMessage& message) {
        const auto* observed = std::get_if<api::ObservedMessage>(&message);
        answer.Set(observed ? Answer(observed->instances) : Answer(OtherAnswer()));
      },
      [answer](Error error) { answer.Set(std::move(error)); });
  co_return co_await answer;
}

net::Task<Result<std::vector<api::CheckResult>>> Agents::Verify(std::string cluster, std::string host,
                                                                api::VerifyMessage message,
                                                                Duration timeout) {
  using Answer = Result<std::vector<api::CheckResult>>;
  const net::Promised<Answer> answer;
  const std::string key = LinkKey(cluster, host);
  state_->Ask(
      key, message.id, message, timeout,
      [answer](const AgentMessage& reply) {
        const auto* verified = std::get_if<api::Verified>(&reply);
        if (!verified) {
          answer.Set(OtherAnswer());
        } else if (verified->error) {
          answer.Set(*verified->error);
        } else {
          answer.Set(verified->checks);
        }
      },
      [answer](Error error) { answer.Set(std::move(error)); });
  co_return co_await answer;
}

void Agents::Stream(const std::string& cluster, const std::string& host, const AgentMessage& message,
                    const std::string& id, std::function<void(const api::Chunk&)> on_chunk,
                    std::function<void(const api::End&)> on_end,
                    std::function<void(const api::Taken&)> on_taken) {
  const auto found = state_->links.find(LinkKey(cluster, host));
  if (found == state_->links.end() || !found->second.channel) {
    on_end({.id = id, .status = 0, .error = Unreachable(host)});
    return;
  }
  found->second.streams[id] = {std::move(on_chunk), std::move(on_end), std::move(on_taken)};
  State::Send(*found->second.channel, message);
}

bool Agents::knows_windows(const std::string& cluster, const std::string& host) const {
  const auto found = state_->links.find(LinkKey(cluster, host));
  return found != state_->links.end() && found->second.channel && found->second.knows_streams > 0;
}

void Agents::Tell(const std::string& cluster, const std::string& host, const api::More& more) {
  if (knows_windows(cluster, host)) State::Send(*state_->links.at(LinkKey(cluster, host)).channel, more);
}

void Agents::Tell(const std::string& cluster, const std::string& host, const api::Input& input) {
  if (knows_windows(cluster, host)) State::Send(*state_->links.at(LinkKey(cluster, host)).channel, input);
}

void Agents::CancelOrder(const std::string& cluster, const std::string& host, const std::string& id) {
  const auto found = state_->links.find(LinkKey(cluster, host));
  if (found != state_->links.end() && found->second.channel) {
    State::Send(*found->second.channel, api::CancelMessage{.id = id});
  }
}

void Agents::CancelStream(const std::string& cluster, const std::string& host, const std::string& id) {
  const auto found = state_->links.find(LinkKey(cluster, host));
  if (found == state_->links.end()) return;
  found->second.streams.erase(id);
  if (found->second.channel) State::Send(*found->second.channel, api::CancelMessage{.id = id});
}

}  // namespace muster::control
