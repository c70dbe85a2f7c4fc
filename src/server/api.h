// The HTTP API (docs/api.md) over the clusters of one server. Loop thread only; owned by RunServer, and what
// Dependencies point to outlives it. Errors become answers: the HTTP status by their kind, the code in the
// body.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "control/agents.h"
#include "net/http.h"
#include "server/clusters.h"
#include "server/events.h"
#include "store/store.h"

namespace muster::server {

using Json = nlohmann::json;

// An answer that is one JSON document.
struct Answer {
  int status = 200;
  std::shared_ptr<Json> body;  // never null once answered
};
Answer Good(Json body);
Answer Bad(const Error& error);
Answer Bad(const Error& error, const std::vector<Finding>& findings);

// A request with what its path and body say.
struct Call {
  const net::Request* request;
  std::map<std::string, std::string> parts;  // {cluster}, {run} … of the path
  std::shared_ptr<const Json> body;          // an object, empty where none was sent
  std::string who;

  const std::string& part(const std::string& name) const { return parts.at(name); }
};

// A command that runs in an instance, as far as its standard input goes.
struct RunningExec;

Json RunJson(const store::RunRow& row);
Json RunJson(const control::RunProgress& progress);  // with how far it is

class Api {
 public:
  struct Dependencies {
    net::Loop* loop;
    store::Store* store;
    control::Agents* agents;
    Clusters* clusters;
    Events* events;
    std::string home;
    WallTime started;
    std::function<void()> stop;
  };
  explicit Api(Dependencies dependencies);

  // Answers one request. Never throws, whatever is sent.
  net::Task<void> Handle(net::Exchange& exchange);

  Json OpenApi() const;

 private:
  using Handler = net::Task<Answer> (Api::*)(Call);
  using Streamer = net::Task<void> (Api::*)(net::Exchange&, Call);
  struct Route {
    std::string method;
    std::string path;  // "/v1/clusters/{cluster}/logs"
    Handler handler = nullptr;
    Streamer streamer = nullptr;
    std::string summary;
    std::vector<std::string> fields;  // of the body or the query, each "name:type"
    bool bytes = false;               // the body isn't JSON
  };
  static std::vector<Route> Routes();
  const Route* Match(const net::Request& request, std::map<std::string, std::string>& parts,
                     bool& path_known);

  net::Task<Answer> Check(Call call);
  net::Task<Answer> MakePlan(Call call);
  net::Task<Answer> BlobsMissing(Call call);
  net::Task<Answer> PutBlob(Call call);
  net::Task<Answer> Up(Call call);
  net::Task<Answer> ListClusters(Call call);
  net::Task<Answer> ClusterStatus(Call call);
  net::Task<Answer> Instances(Call call);
  net::Task<Answer> Restart(Call call);
  net::Task<Answer> Stop(Call call);
  net::Task<Answer> Start(Call call);
  net::Task<Answer> Down(Call call);
  net::Task<Answer> Scale(Call call);
  net::Task<Answer> Switchover(Call call);
  net::Task<Answer> Failover(Call call);
  net::Task<Answer> Rollback(Call call);
  net::Task<Answer> Resume(Call call);
  net::Task<Answer> Rule(Call call);
  net::Task<Answer> Verify(Call call);
  net::Task<Answer> CutHost(Call call);
  net::Task<Answer> History(Call call);
  net::Task<Answer> Revision(Call call);
  net::Task<Answer> Runs(Call call);
  net::Task<Answer> Run(Call call);
  net::Task<Answer> CancelRun(Call call);
  net::Task<Answer> Audit(Call call);
  net::Task<Answer> Secrets(Call call);
  net::Task<Answer> PutSecret(Call call);
  net::Task<Answer> DeleteSecret(Call call);
  net::Task<Answer> RotateSecrets(Call call);
  net::Task<Answer> Version(Call call);
  net::Task<Answer> Doctor(Call call);
  net::Task<Answer> StopServer(Call call);
  net::Task<Answer> OpenApiAnswer(Call call);
  net::Task<Answer> ExecInput(Call call);
  net::Task<void> Exec(net::Exchange& exchange, Call call);
  net::Task<void> Drill(net::Exchange& exchange, Call call);
  net::Task<void> Logs(net::Exchange& exchange, Call call);
  net::Task<void> RunEvents(net::Exchange& exchange, Call call);
  net::Task<void> ClusterEvents(net::Exchange& exchange, Call call);

  net::Task<Answer> Act(Call call, std::string action);
  net::Task<Answer> AskMender(Call call, std::string verb);
  net::Task<Answer> Begin(Accepted accepted, std::string plan_id, control::PlanOptions options);
  Result<std::shared_ptr<control::Controller>> FindController(const Call& call);
  Answer Started(const control::Controller& controller, const control::StartedRun& started);
  Json InstanceJson(const control::Controller& controller, const Instance* desired, const Observed& observed);
  Json InstancesJson(const control::Controller& controller);

  Dependencies deps_;
  std::map<std::string, std::shared_ptr<RunningExec>> execs_;  // those that read input, by id
};

std::string Dump(const Json& json);
net::Task<void> Refuse(net::Exchange& exchange, Error error);

// Passes a queue on to a client until either ends.
net::Task<void> Pump(net::Exchange& exchange, std::shared_ptr<EventQueue> queue);

}  // namespace muster::server
