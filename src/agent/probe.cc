#include "agent/probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "base/files.h"
#include "base/line_pattern.h"
#include "base/text.h"
#include "net/http.h"

namespace muster::agent {
namespace {

constexpr Duration kEagerFirst = 10ms;
constexpr Duration kEager = 25ms;
constexpr Duration kEagerLate = 100ms;  // what takes longer than kEagerFor is asked less often
constexpr Duration kEagerFor = 10s;
constexpr Duration kEagerAgain = 200ms;  // after one that has passed
constexpr size_t kLogPieceMost = 1u << 20;
constexpr size_t kLogLineMost = 16u << 10;

class LoopProber : public Prober, public std::enable_shared_from_this<LoopProber> {
 public:
  LoopProber(net::Loop& loop, Target target, bool eager, Seen seen)
      : loop_(loop), target_(std::move(target)), eager_(eager), seen_(std::move(seen)), begun_(Now()) {
    log_at_ = target_.log_from;
    if (target_.probe.kind != Probe::Kind::kLog) return;
    if (auto pattern = LinePattern::Of(target_.probe.target); pattern.ok()) pattern_ = std::move(*pattern);
  }

  void Begin() {
    if (eager_) {
      Wait(kEagerFirst);
      return;
    }
    // Spread: a hundred instances adopted at once aren't all asked in the same millisecond.
    const auto spread = std::hash<std::string>{}(target_.folder);
    Wait(Duration(static_cast<int64_t>(spread % static_cast<size_t>(std::max<int64_t>(1, Every().count())))));
  }

  // Without any of the waiting.
  static net::Task<Status> AskOnce(std::shared_ptr<LoopProber> self) {
    if (self->target_.probe.kind == Probe::Kind::kLog) co_return Done();
    Status status = co_await Ask(self);
    co_return status;
  }

  int64_t age_ms() const override { return ended_ ? (Now() - *ended_).count() : -1; }

  void Stop() override {
    stopped_ = true;
    seen_ = nullptr;
    loop_.Cancel(timer_);
  }

 private:
  Duration Every() const { return std::max(target_.probe.every, 10ms); }

  void Wait(Duration delay) {
    if (stopped_) return;
    timer_ = loop_.After(delay, [weak = weak_from_this()] {
      if (auto self = weak.lock()) net::Spawn(Once(std::move(self)));
    });
  }

  static net::Task<void> Once(std::shared_ptr<LoopProber> self) {
    Status status = co_await Ask(self);
    if (status.ok() && self->target_.confirm && !self->confirmed_ && !self->stopped_) {
      std::function<Status()> confirm = self->target_.confirm;
      status = co_await self->loop_.Blocking(std::move(confirm));
      self->confirmed_ = status.ok();
    }
    self->ended_ = Now();
    if (self->stopped_) co_return;
    const bool was_eager = self->eager_;
    self->passes_ = status.ok() ? self->passes_ + 1 : 0;
    if (self->passes_ >= self->target_.passes) self->eager_ = false;
    const Seen seen = self->seen_;
    seen(status);
    if (self->stopped_) co_return;
    if (self->eager_ && status.ok()) {
      self->Wait(std::min(kEagerAgain, self->Every()));
    } else if (self->eager_) {
      self->Wait(Now() - self->begun_ < kEagerFor ? kEager : std::min(kEagerLate, self->Every()));
    } else if (was_eager) {
      // The first pause varies, which keeps those that were started together apart from then on.
      const auto spread = std::hash<std::string>{}(self->target_.folder) % 1000;
      self->Wait(self->Every() * static_cast<int64_t>(500 + spread / 2) / 1000);
    } else {
      self->Wait(self->Every());
    }
  }

  static net::Task<Status> Ask(std::shared_ptr<LoopProber> self) {
    const Probe& probe = self->target_.probe;
    switch (probe.kind) {
      case Probe::Kind::kHttp: {
        Status status = co_await AskHttp(self);
        co_return status;
      }
      case Probe::Kind::kTcp: {
        net::Endpoint endpoint;
        endpoint.host = self->target_.address;
        endpoint.port = probe.port;
        Status status = co_await net::TryConnect(self->loop_, endpoint, probe.timeout);
        co_return status;
      }
      case Probe::Kind::kCommand: {
        Status status = co_await AskCommand(self);
        co_return status;
      }
      case Probe::Kind::kOperator: {
        const std::function<net::Task<Status>()> ask = self->target_.ask;
        if (!ask) break;
        Status status = co_await ask();
        co_return status;
      }
      case Probe::Kind::kLog: {
        // On the pool: a program may write much, and the disk may be slow. One at a time, so all is the
        // pool's.
        std::function<Status()> ask = [self] { return self->AskLog(); };
        Status status = co_await self->loop_.Blocking(std::move(ask));
        co_return status;
      }
      case Probe::Kind::kNone:
        break;
    }
    co_return Done();
  }

  static net::Task<Status> AskHttp(std::shared_ptr<LoopProber> self) {
    const Probe& probe = self->target_.probe;
    net::Endpoint endpoint;
    endpoint.host = self->target_.address;
    endpoint.port = probe.port;
    endpoint.tls = probe.tls;
    endpoint.tls_verify = false;
    net::Request request;
    request.target = probe.target.empty() ? "/" : probe.target;
    const auto response = co_await net::FetchHead(self->loop_, endpoint, request, probe.timeout);
    if (!response.ok()) co_return response.error();
    if (response->status >= probe.status_min && response->status <= probe.status_max) co_return Done();
    co_return Error::Unavailable("probe-failed", "GET {} on port {} answered {}", request.target, probe.port,
                                 response->status);
  }

  static net::Task<Status> AskCommand(std::shared_ptr<LoopProber> self) {
    Exec exec;
    exec.argv = self->target_.command;
    if (self->target_.uid != static_cast<uid_t>(-1) && geteuid() == 0) {
      std::vector<std::string> argv{"setpriv", "--reuid=" + std::to_string(self->target_.uid),
                                    "--regid=" + std::to_string(self->target_.gid), "--clear-groups"};
      argv.insert(argv.end(), exec.argv.begin(), exec.argv.end());
      exec.argv = std::move(argv);
    }
    exec.env = self->target_.env;
    exec.only_env = true;
    exec.joins = self->target_.joins;
    exec.working_folder = self->target_.folder;
    exec.output_max_bytes = 4096;
    const auto output = co_await self->loop_.Run(exec, self->target_.probe.timeout);
    if (!output.ok()) co_return output.error();
    if (output->status == 0) co_return Done();
    const std::string said(Trim(output->err.empty() ? output->out : output->err));
    // As it was run, with paths in place of {folder}, so that it can be tried by hand.
    co_return Error::Unavailable("probe-failed", "{} ended with {}{}{}", ShellLine(self->target_.command),
                                 output->status, said.empty() ? "" : ": ", said);
  }

  // A line that says "ready" is said once: from then on the process being alive is enough.
  Status AskLog() {
    if (log_matched_) return Done();
    if (!pattern_) {
      return Error::Invalid("bad-pattern", "{} is not a regular expression", target_.probe.target);
    }
    const Fd file(open(target_.log_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat status {};
    if (file.valid() && fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) {
      if (status.st_size < log_at_) log_at_ = 0;  // rotated
      std::string piece(static_cast<size_t>(std::min<int64_t>(status.st_size - log_at_, kLogPieceMost)),
                        '\0');
      const ssize_t got = pread(file.get(), piece.data(), piece.size(), log_at_);
      if (got > 0) {
        log_at_ += got;
        log_rest_.append(piece, 0, static_cast<size_t>(got));
      }
    }
    size_t from = 0;
    for (size_t end; (end = log_rest_.find('\n', from)) != std::string::npos; from = end + 1) {
      if (end - from > kLogLineMost) continue;  // no line that somebody waits for
      if (pattern_->IsIn(std::string_view(log_rest_).substr(from, end - from))) {
        log_matched_ = true;
        log_rest_ = {};
        return Done();
      }
    }
    log_rest_.erase(0, from);
    if (log_rest_.size() > kLogPieceMost) log_rest_.clear();
    return Error::Unavailable("probe-failed", "no line of its log matches {}", target_.probe.target);
  }

  net::Loop& loop_;
  const Target target_;
  bool eager_;
  int passes_ = 0;  // in a row
  Seen seen_;
  const Time begun_;
  std::optional<Time> ended_;
  net::Loop::TimerId timer_ = 0;
  bool stopped_ = false;
  bool confirmed_ = false;
  std::optional<LinePattern> pattern_;  // none: it is no pattern
  bool log_matched_ = false;
  int64_t log_at_ = 0;
  std::string log_rest_;
};

}  // namespace

std::shared_ptr<Prober> Prober::Start(net::Loop& loop, Target target, bool eager, Seen seen) {
  auto prober = std::make_shared<LoopProber>(loop, std::move(target), eager, std::move(seen));
  prober->Begin();
  return prober;
}

net::Task<Status> Prober::Ask(net::Loop& loop, Target target) {
  auto prober = std::make_shared<LoopProber>(loop, std::move(target), false, nullptr);
  Status status = co_await LoopProber::AskOnce(std::move(prober));
  co_return status;
}

}  // namespace muster::agent
