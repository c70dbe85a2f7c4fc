// Agents for tests: they speak the real protocol over the hub's socket, on the test's own loop, and do to a
// model what they are told.
#pragma once

#include <cassert>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "api/agent_messages.h"
#include "base/text.h"
#include "net/channel.h"

namespace muster::control {

using Lines = std::vector<std::string>;

// What stands on one host, and how its agent is to behave. Outlives servers and connections.
struct HostModel {
  std::map<std::string, Observed> instances;
  std::map<std::string, api::Outcome> settled;    // by order id
  std::map<std::string, api::OrderMessage> held;  // orders whose outcome is kept back, by id
  int64_t epoch = 0;
  int left = 0;         // how often it was told to leave
  bool silent = false;  // its agent is connected and stands still
};

// All hosts, and everything that their agents were told.
struct World {
  std::map<std::string, HostModel> hosts;
  std::vector<std::pair<std::string, api::OrderMessage>> orders;  // host, order, as they came
  std::map<std::string, Error> fail;                              // by step id, once each
  std::set<std::string> hold;                                     // step ids
  std::set<std::string> unverifiable;                             // instances
  std::function<void()> changed = [] {};

  // "stop web-1", "drain edge-1 web-1"; health told to the balancers between runs is left out.
  Lines Told() const {
    Lines lines;
    for (const auto& [host, order] : orders) {
      if (order.step.verb == "backends") continue;
      const auto member = order.step.args.find("member");
      lines.push_back(order.step.verb + " " + order.step.instance +
                      (member == order.step.args.end() ? "" : " " + member->second));
    }
    return lines;
  }
  InstanceState StateOf(const std::string& name) const {
    for (const auto& [host, model] : hosts) {
      const auto found = model.instances.find(name);
      if (found != model.instances.end()) return found->second.state;
    }
    return InstanceState::kAbsent;
  }
  std::string FactOf(const std::string& name, const std::string& fact) const {
    for (const auto& [host, model] : hosts) {
      const auto found = model.instances.find(name);
      if (found != model.instances.end() && found->second.facts.contains(fact))
        return found->second.facts.at(fact);
    }
    return "";
  }
};

// Answers a server's orders from the model of its host.
class FakeAgent : public std::enable_shared_from_this<FakeAgent> {
 public:
  FakeAgent(World& world, std::string cluster, std::string host)
      : world_(world), cluster_(std::move(cluster)), host_(std::move(host)) {}

  static net::Task<void> Connect(std::shared_ptr<FakeAgent> self, net::Loop& loop, std::string socket_path) {
    auto channel = co_await net::ConnectChannel(loop, socket_path, 5s);
    if (!channel.ok()) co_return;
    self->channel_ = *channel;
    std::weak_ptr<FakeAgent> weak = self;
    self->channel_->on_frame = [weak](const net::Frame& frame) {
      if (const auto agent = weak.lock()) agent->On(frame);
    };
    self->channel_->on_closed = [weak](const Error&) {
      if (const auto agent = weak.lock()) agent->channel_.reset();
    };
    self->channel_->Open();
    self->Say(api::Hello{.cluster = self->cluster_,
                         .host = self->host_,
                         .version = "test",
                         .epoch_seen = self->model().epoch,
                         .streams = api::kStreams,
                         .pings = true});
  }

  // Lets the order of this step go on that was held.
  void Release(const std::string& step) {
    for (const auto& [id, order] : std::exchange(model().held, {})) {
      if (order.step.id == step) {
        Answer(Perform(order));
      } else {
        model().held.emplace(id, order);
      }
    }
  }

  void Become(const std::string& name, InstanceState state,
              const std::map<std::string, std::string>& facts = {}) {
    Observed& observed = model().instances[name];
    observed.state = state;
    for (const auto& [fact, value] : facts) observed.facts[fact] = value;
    Say(api::Changed{.instance = observed});
  }

 private:
  HostModel& model() { return world_.hosts[host_]; }

  void Say(const api::AgentMessage& message) {
    if (channel_) channel_->Send({'J', api::Encode(message)});
  }

  void Answer(api::Outcome outcome) {
    model().settled[outcome.id] = outcome;
    Say(outcome);
    world_.changed();
  }

  void On(const net::Frame& frame) {
    if (model().silent) return;
    const auto message = api::DecodeAgentMessage(frame.payload);
    assert(message.ok());
    if (const auto* welcome = std::get_if<api::Welcome>(&*message)) {
      model().epoch = std::max(model().epoch, welcome->epoch);
    } else if (const auto* observe = std::get_if<api::Observe>(&*message)) {
      api::ObservedMessage answer{.id = observe->id, .instances = {}};
      for (const auto& [name, observed] : model().instances) answer.instances.push_back(observed);
      Say(answer);
    } else if (const auto* order = std::get_if<api::OrderMessage>(&*message)) {
      OnOrder(*order);
    } else if (std::holds_alternative<api::Ping>(*message)) {
      Say(api::Pong{});
    } else if (const auto* cancel = std::get_if<api::CancelMessage>(&*message)) {
      if (model().held.erase(cancel->id) > 0) {
        Answer({.id = cancel->id, .error = Error::Conflict("cancelled", "it was given up"), .values = {}});
      }
    } else if (const auto* logs = std::get_if<api::Logs>(&*message)) {
      Say(api::Chunk{.id = logs->id, .instance = logs->instances.at(0), .data = "a line"});
      Say(api::End{.id = logs->id});
    } else if (const auto* exec = std::get_if<api::ExecMessage>(&*message)) {
      if (exec->input) return;  // it is `cat`
      Say(api::Chunk{.id = exec->id, .instance = exec->instance, .stream = "out", .data = "done"});
      Say(api::End{.id = exec->id, .status = 3});
    } else if (const auto* input = std::get_if<api::Input>(&*message)) {
      if (!input->data.empty())
        Say(api::Chunk{.id = input->id, .stream = "out", .data = input->data, .exact = true});
      Say(api::Taken{.id = input->id, .bytes = static_cast<int64_t>(input->data.size())});
      if (input->end) Say(api::End{.id = input->id, .status = 4});
    } else if (const auto* verify = std::get_if<api::VerifyMessage>(&*message)) {
      api::Verified verified{.id = verify->id, .checks = {{.name = "answers", .passed = true}}};
      if (world_.unverifiable.contains(verify->instance)) {
        verified.checks.clear();
        verified.error = Error::Unavailable("broken", "nobody is there");
      }
      Say(verified);
    } else if (std::get_if<api::Leave>(&*message)) {
      ++model().left;
      channel_->Close();
      channel_.reset();
      world_.changed();
    }
  }

  void OnOrder(const api::OrderMessage& order) {
    world_.orders.emplace_back(host_, order);
    if (const auto known = model().settled.find(order.id); known != model().settled.end()) {
      Say(known->second);
    } else if (order.epoch < model().epoch) {
      Answer({.id = order.id, .error = Error::Refused("old-epoch", "another server rules"), .values = {}});
    } else if (world_.hold.contains(order.step.id)) {
      model().held[order.id] = order;
    } else {
      Answer(Perform(order));
    }
    world_.changed();
  }

  api::Outcome Perform(const api::OrderMessage& order) {
    const Step& step = order.step;
    api::Outcome outcome{.id = order.id, .error = std::nullopt, .values = {}};
    if (const auto fail = world_.fail.find(step.id); fail != world_.fail.end()) {
      outcome.error = fail->second;
      world_.fail.erase(fail);
      if (step.verb == "start") Become(step.instance, InstanceState::kFailed);
      return outcome;
    }
    if (step.verb == "remove" && !model().instances.contains(step.instance)) {
      // As agents up to 0.1.0 tell it.
      Say(api::Changed{.instance = {.name = step.instance, .state = InstanceState::kAbsent}});
      return outcome;
    }
    Observed& observed = model().instances[step.instance];
    observed.name = step.instance;
    observed.service = step.service;
    observed.host = host_;
    if (step.verb == "install") {
      observed.hash = order.instance->hash;
      observed.parts = order.instance->parts;
      observed.renderer = order.instance->renderer;
      if (observed.state == InstanceState::kAbsent) Become(step.instance, InstanceState::kStopped);
    } else if (step.verb == "start" || step.verb == "reload") {
      observed.running_hash = observed.hash;
      Become(step.instance, InstanceState::kReady);
    } else if (step.verb == "stop") {
      Become(step.instance, InstanceState::kStopped);
    } else if (step.verb == "remove") {
      Become(step.instance, InstanceState::kAbsent);
      model().instances.erase(step.instance);
    } else if (step.verb == "backends") {
      observed.facts["health"] = step.args.at("out");
      Become(step.instance, observed.state);
    } else if (step.args.contains("member")) {
      const char* fact = step.verb == "admit" || step.verb == "dismiss" ? "guests" : "run";
      std::vector<std::string> out;
      for (const std::string& one : Split(observed.facts[fact], ',')) {
        if (!one.empty() && one != step.args.at("member")) out.push_back(one);
      }
      if (step.verb == "drain" || step.verb == "admit") out.push_back(step.args.at("member"));
      observed.facts[fact] = Join(out, ",");
      Become(step.instance, observed.state);
    }
    return outcome;
  }

  World& world_;
  const std::string cluster_;
  const std::string host_;
  std::shared_ptr<net::Channel> channel_;
};

}  // namespace muster::control
