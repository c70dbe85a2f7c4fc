// The part of the Controller that cuts rehearsed hosts off and heals them.
#include <spdlog/spdlog.h>

#include "base/text.h"
#include "control/controller.h"

namespace muster::control {

// Written before a link goes down and after it is up again: nothing is cut that nobody knows of.
Status Controller::KeepCut(const std::string& host, bool cut) {
  const Kept before = kept_;
  Kept kept = kept_;
  if (cut) {
    kept.cut.insert(host);
  } else {
    kept.cut.erase(host);
  }
  Keep(std::move(kept));
  const Status written = deps_.store->PutCluster(row_);
  if (!written.ok()) Keep(before);
  return written;
}

// What is in the way of cutting or healing `host`, if anything.
std::optional<Error> Controller::WhyNotCut(const std::string& host) const {
  if (!row_.rehearsal) {
    return Error::Conflict("not-a-rehearsal", "{} is no rehearsal: its hosts aren't muster's to cut off",
                           row_.key)
        .Hint("muster up FILE --rehearse runs the same file on this machine; there hosts can be cut off");
  }
  if (hosts_.contains(host)) return std::nullopt;
  std::vector<std::string> known;
  for (const auto& [name, one] : hosts_) known.push_back(name);
  if (known.empty() || cluster_.FindHost(host)) {
    return Error::Conflict("host-unused", "nothing of {} stands on {}", row_.key, host)
        .Hint("muster status lists the hosts");
  }
  return Error::NotFound("unknown-host", "{} has no host {}", row_.key, host)
      .Hint("known are: {}", Join(known, ", "));
}

net::Task<Status> Controller::CutHost(std::string host, bool cut, std::string author) {
  auto self = shared_from_this();
  if (const auto why = WhyNotCut(host)) co_return *why;
  if (cut == kept_.cut.contains(host)) co_return Done();
  const Agents::Wanted link = hosts_.at(host);
  if (cut) {
    if (const Status kept = KeepCut(host, true); !kept.ok()) co_return kept;
    deps_.agents->Cut(row_.key, host, true);
  }
  const Status done = co_await deps_.cut_link(link, cut);
  const bool undone = cut && !done.ok(), healed = !cut && done.ok();
  if (undone || healed) {
    if (const Status kept = KeepCut(host, false); !kept.ok()) co_return kept;
    deps_.agents->Cut(row_.key, host, false);
  }
  if (!done.ok()) co_return done;
  (void)deps_.store->AddAudit({.id = 0,
                               .at = WallNow(),
                               .who = author,
                               .cluster = row_.key,
                               .action = cut ? "host cut" : "host heal",
                               .detail = host});
  co_return Done();
}

net::Task<void> Controller::CutLinkAgain(Agents::Wanted host) {
  const Status cut = co_await deps_.cut_link(host, true);
  if (!cut.ok()) spdlog::error("{}: {}", row_.key, cut.error().Text());
}

// After a start of the server. The link may be up: the last server ended before it took it down.
void Controller::CutAgain() {
  for (const std::string& host : kept_.cut) {
    spdlog::warn("{}: {} is still cut off", row_.key, host);
    deps_.agents->Cut(row_.key, host, true);
    if (const auto wanted = hosts_.find(host); wanted != hosts_.end())
      net::Spawn(CutLinkAgain(wanted->second));
  }
}

// Before the cluster goes down. A link that doesn't come up goes away with its host.
net::Task<void> Controller::HealAll(std::string author) {
  auto self = shared_from_this();
  const std::set<std::string> hosts = kept_.cut;
  for (const std::string& host : hosts) {
    const Status healed = co_await CutHost(host, false, author);
    if (healed.ok()) continue;
    spdlog::error("{}: {}", row_.key, healed.error().Text());
    (void)KeepCut(host, false);
    deps_.agents->Cut(row_.key, host, false);
  }
}

}  // namespace muster::control
