// The program muster: what cli, server and agent know of each other meets here.
#include <unistd.h>

#include "agent/agent.h"
#include "agent/hosts_network.h"
#include "base/files.h"
#include "cli/cli.h"
#include "server/server.h"

namespace {

std::string OwnPath() {
  std::error_code error;
  const muster::fs::path path = muster::fs::read_symlink("/proc/self/exe", error);
  return path.string();
}

}  // namespace

int main(int argc, char** argv) {
  muster::CliHooks hooks;
  hooks.run_server = [](const muster::ServerArgs& args) {
    return muster::server::RunServer(
        {.home = args.home, .program = OwnPath(), .cut_host = muster::agent::CutHost});
  };
  hooks.run_agent = [](const muster::AgentArgs& args) {
    return muster::agent::RunAgent({.home = args.home,
                                    .cluster = args.cluster,
                                    .host = args.host,
                                    .address = args.address,
                                    .socket = args.socket,
                                    .rehearsal = args.rehearsal,
                                    .block = args.block,
                                    .host_number = args.host_number});
  };
  return muster::RunCli(argc, argv, std::move(hooks));
}
