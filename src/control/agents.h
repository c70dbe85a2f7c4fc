// The server's end of all agents: who is connected, orders to them and their answers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/agent_messages.h"
#include "base/result.h"
#include "net/channel.h"
#include "net/loop.h"

namespace muster::control {

// Links to agents, one for each cluster and host. An agent that is gone is started again (through `start`) as
// long as it is wanted; orders under way are sent again when it is back, under the same id. Loop thread only.
// The server owns it, and it owns the channels; destroying it leaves agents and instances running. Callbacks
// are called on the loop.
class Agents {
 public:
  struct Wanted {
    std::string cluster, host, address;
    int64_t epoch = 0;
    bool rehearsal = false;
    int block = 0, host_number = 0;
  };
  struct Callbacks {
    std::function<Status(const Wanted&)> start;  // spawns the agent's process
    std::function<void(const std::string& cluster, const Observed&)> changed;
    std::function<void(const std::string& cluster, const std::string& host, bool connected)> connected;
    std::function<std::string(const std::string& sha256)> blob_path;
    // Of one that is there and answers no pings any more: it is to be ended, so that another can take over.
    std::function<void(const Wanted&, int pid)> hung;
    // Whether the host is known to have nothing of the cluster any more. An agent that nobody wants is told
    // to leave only then: a server that has lost its store must not take clusters down, and one of an epoch
    // below that which the agent has seen knows nothing of what the newer server put there.
    std::function<bool(const std::string& cluster, const std::string& host, int64_t epoch_seen)> released;
  };

  // Codes as for net::ChannelListener::Listen.
  // An agent is asked each `ping_every` whether it is alive. One that leaves several pings in a row without
  // an answer counts as away, whatever its socket says.
  static Result<std::unique_ptr<Agents>> Listen(net::Loop& loop, const std::string& socket_path,
                                                Callbacks callbacks, Duration ping_every = 2500ms);
  ~Agents();

  void Want(const Wanted& wanted);                                    // start it, and again when it dies
  void Release(const std::string& cluster, const std::string& host);  // tell it to leave; forget it
  // Holds the host's agent off: its connection is closed, none is taken from it, and none is started, until
  // it is healed. For a rehearsed host that is cut off: its agent's socket doesn't cross the network that is
  // cut.
  void Cut(const std::string& cluster, const std::string& host, bool cut);
  bool connected(const std::string& cluster, const std::string& host) const;
  // The newest that its agent had seen when it last came; 0: it hasn't come.
  int64_t epoch_seen(const std::string& cluster, const std::string& host) const;
  // Waits until it is connected; code "host-unreachable" after `timeout`.
  net::Task<Status> Reach(std::string cluster, std::string host, Duration timeout);

  // Performs one step. Codes: the agent's own; "host-unreachable" when it stays away, "timeout" past the
  // deadline.
  net::Task<Result<std::map<std::string, std::string>>> Perform(std::string cluster, api::OrderMessage order);
  // Codes "host-unreachable", "timeout", "bad-message" for another answer; the agent's own for Verify.
  net::Task<Result<std::vector<Observed>>> Observe(std::string cluster, std::string host, bool drift,
                                                   Duration timeout);
  net::Task<Result<std::vector<api::CheckResult>>> Verify(std::string cluster, std::string host,
                                                          api::VerifyMessage message, Duration timeout);

  // A stream (Logs or ExecMessage) from one agent. `on_chunk` until `on_end`, which comes exactly once;
  // `on_taken` for input of an exec.
  void Stream(const std::string& cluster, const std::string& host, const api::AgentMessage& message,
              const std::string& id, std::function<void(const api::Chunk&)> on_chunk,
              std::function<void(const api::End&)> on_end,
              std::function<void(const api::Taken&)> on_taken = nullptr);
  // Opens the window of a stream again, or sends input. Dropped where the agent is gone or knows neither.
  void Tell(const std::string& cluster, const std::string& host, const api::More& more);
  void Tell(const std::string& cluster, const std::string& host, const api::Input& input);
  // Whether the agent knows windows and input; one of an older release doesn't.
  bool knows_windows(const std::string& cluster, const std::string& host) const;
  // Asks the agent to end an order early; its outcome comes all the same.
  void CancelOrder(const std::string& cluster, const std::string& host, const std::string& id);
  void CancelStream(const std::string& cluster, const std::string& host, const std::string& id);

 private:
  struct State;
  explicit Agents(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace muster::control
