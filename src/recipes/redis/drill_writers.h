// What the clients of all drills of a Redis share: writers of numbered keys, two for each range, one that
// takes the answer for it and one that WAITs for a replica; and who reads them back and removes them. Whom a
// command is sent to is the part of each kind. Loop thread only; the loop outlives it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/resp_client.h"
#include "recipes/redis/drill_client.h"

namespace muster::redis {

inline constexpr Duration kDrillAnswerWithin = 500ms;  // a client that waits no longer, as many do
inline constexpr Duration kDrillConfirmWithin = 200ms;

Error DrillFailure(const std::string& why);  // code "drill-client"

class DrillWriters : public DrillClient, public std::enable_shared_from_this<DrillWriters> {
 public:
  explicit DrillWriters(DrillSetup setup) : setup_(std::move(setup)), routes_(setup_.nodes) {}

  net::Task<Status> Begin() override;
  net::Task<void> End() override;
  net::Task<Status> ReadBack() override;
  net::Task<Status> CleanUp() override;
  DrillLedger& ledger() override { return ledger_; }

 protected:
  using Commands = std::vector<net::resp::Command>;
  using Answers = Result<std::vector<net::resp::Value>>;
  // Connections of one task, which sends on each one thing after the other.
  struct Connections : std::map<Endpoint, std::unique_ptr<net::RespClient>> {
    int64_t redirects = 0;  // that it has followed
  };

  // Fills the ledger's ranges and slots_. Code "drill-client".
  virtual net::Task<Status> FindRanges() = 0;
  // Sends what is of one slot to whoever has it at the moment. An answer may be an error. Codes
  // "drill-client" and those of RespClient.
  virtual net::Task<Answers> Send(Connections& connections, int slot, Commands commands) = 0;
  // What of a key says its slot; "" where nothing has to.
  virtual std::string TagOf(int slot) const = 0;

  net::Task<Result<net::RespClient*>> Connected(Connections& connections, Endpoint node);
  // The answers of that node. Who can't be asked is avoided for a while.
  net::Task<Answers> SendTo(Connections& connections, Endpoint node, Commands commands);

  DrillSetup setup_;
  DrillRoutes routes_;
  DrillLedger ledger_;
  std::vector<std::vector<int>> slots_;  // by range: those that are written to

 private:
  int SlotOf(size_t range, int64_t number) const;
  std::string KeyOf(size_t range, bool confirmed, int64_t number) const;
  net::resp::Command KeysCommand(const char* name, size_t range, bool confirmed,
                                 const std::vector<int64_t>& numbers) const;
  std::vector<std::vector<int64_t>> Batches(size_t range, const std::vector<int64_t>& numbers) const;
  net::Task<void> Write(size_t range, bool confirmed);
  void Note(const Endpoint& node, const Error& error);
  net::Task<Result<net::resp::Value>> Insist(Connections& connections, int slot, net::resp::Command command);
  net::Task<Status> ReadBatch(Connections& connections, size_t range, bool confirmed,
                              std::vector<int64_t> numbers);

  bool ending_ = false;
  int writing_ = 0;
  net::Promised<bool> ended_;
};

}  // namespace muster::redis
