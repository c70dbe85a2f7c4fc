// Shards as threads that take turns in any order, which publish and pass things on one letter at a time,
// while clients lose their connections, which shards see late or never, come back, and are kicked. What a
// random night does, a seed does again.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <random>

#include "push/socketio/recovery.h"

namespace muster::push::socketio {
namespace {

struct Plan {
  size_t shards, clients;
  size_t publications;  // of each shard
  size_t breaks;        // of each client
  size_t bytes = 1u << 20;
  size_t kicks = 0;        // of each shard
  bool half_open = false;  // that a connection has ended may be seen late
};

class World {
 public:
  World(const Plan& plan, uint32_t seed) : plan_(plan), random_(seed) {
    for (size_t i = 0; i < plan.shards; ++i) {
      shards_.push_back(std::make_unique<Shard>(i, plan));
      shards_.back()->left = plan.publications;
      shards_.back()->kicks_left = plan.kicks;
    }
    // All have read one message, as who has none can't come back.
    for (size_t i = 0; i < plan.shards; ++i) Deliver(i, {.number = 1}, "0.1");
    shards_[0]->last_number = shards_[0]->last_kept = 1;
    for (size_t i = 0; i < plan.clients; ++i) {
      Client& client = clients_.emplace_back();
      client.shard = i % plan.shards;
      client.offset = std::to_string(client.shard) + "@2";  // behind that of the other namespace
      client.read.assign(plan.shards, 0);
      client.read[0] = 1;
      client.breaks_left = plan.breaks;
    }
  }

  // Until nothing is left to do.
  void Run() {
    while (!testing::Test::HasFailure()) {
      steps_.clear();
      Offer();
      if (steps_.empty()) break;
      const Step step = steps_[random_() % steps_.size()];
      Do(step);
    }
    for (const auto& shard : shards_) EXPECT_EQ(shard->recovery.kicks(), 0u) << "remembered for ever";
    for (size_t i = 0; i < clients_.size(); ++i) {
      EXPECT_EQ(clients_[i].state, Client::State::kThere);
      EXPECT_GT(clients_[i].sockets, clients_[i].must_go) << "client " << i << " was kicked and is there";
      for (size_t j = 0; j < plan_.shards; ++j) {
        if (clients_[i].read[j] == kAny) continue;
        EXPECT_EQ(clients_[i].read[j], shards_[j]->last_kept) << "client " << i << " of publisher " << j;
      }
    }
  }

  size_t recovered = 0, made_new = 0, two_places = 0, given_up = 0, on_the_way = 0, taken_over = 0;

 private:
  static constexpr uint64_t kAny = ~uint64_t{0};
  using Letter = std::function<void()>;
  struct Attempt {
    size_t client, shard;
    Wanted wanted;
    std::vector<Found> answers;
    size_t left;
    uint64_t asking = 0;
    bool gone = false;
    Found found;
  };
  struct Shard {
    Shard(size_t number, const Plan& plan)
        : recovery({.shard = static_cast<uint8_t>(number), .shards = plan.shards, .bytes = plan.bytes}) {}
    Recovery recovery;
    std::deque<std::pair<size_t, Letter>> doing;  // the rest of its step: what goes to whom, in this order
    std::deque<Letter> mail;
    size_t left = 0, kicks_left = 0;
    uint64_t last_number = 0, last_kept = 0;
  };
  struct Client {
    enum class State { kThere, kAway, kAsking };
    State state = State::kThere;
    size_t shard = 0;
    bool live = true;  // its socket is there, on that shard, whether its connection is still or not
    std::deque<std::string> wire;
    std::string offset;
    std::vector<uint64_t> read;  // by publisher: the last, of those that are kept; kAny: it is new
    size_t sockets = 1;          // that it has had
    // Kicked is the last of them that was there when a kick began; by the end of it others may be, too.
    size_t must_go = 0, may_go = 0, kicks = 0;  // kicks: under way
    std::shared_ptr<Attempt> attempt;
    size_t breaks_left = 0;
  };
  struct Step {
    enum class Kind { kGoOn, kTakeLetter, kPublish, kKick, kRead, kBreak, kNotice, kReturn, kGiveUp } kind;
    size_t who, where = 0;
  };

  void Offer() {
    using Kind = Step::Kind;
    for (size_t i = 0; i < shards_.size(); ++i) {
      const Shard& shard = *shards_[i];
      if (!shard.doing.empty()) {
        steps_.push_back({Kind::kGoOn, i});
        continue;
      }
      if (!shard.mail.empty()) steps_.push_back({Kind::kTakeLetter, i});
      if (shard.left > 0) steps_.push_back({Kind::kPublish, i});
      for (size_t j = 0; shard.kicks_left > 0 && j < clients_.size(); ++j) {
        steps_.push_back({Kind::kKick, i, j});
      }
    }
    for (size_t i = 0; i < clients_.size(); ++i) {
      const Client& client = clients_[i];
      const bool may_break = client.breaks_left > 0;
      if (!client.wire.empty()) steps_.push_back({Kind::kRead, i});
      if (client.state == Client::State::kThere && may_break && shards_[client.shard]->doing.empty()) {
        steps_.push_back({Kind::kBreak, i});
      }
      if (client.state != Client::State::kThere && client.live && shards_[client.shard]->doing.empty()) {
        steps_.push_back({Kind::kNotice, i});
      }
      if (client.state == Client::State::kAsking && may_break && !client.attempt->gone) {
        steps_.push_back({Kind::kGiveUp, i});
      }
      for (size_t j = 0; client.state == Client::State::kAway && j < shards_.size(); ++j) {
        if (shards_[j]->doing.empty()) steps_.push_back({Kind::kReturn, i, j});
      }
    }
  }

  void Do(const Step& step) {
    switch (step.kind) {
      case Step::Kind::kGoOn:
        GoOn(step.who);
        break;
      case Step::Kind::kTakeLetter: {
        const Letter letter = std::move(shards_[step.who]->mail.front());
        shards_[step.who]->mail.pop_front();
        letter();
        break;
      }
      case Step::Kind::kPublish:
        Publish(step.who);
        break;
      case Step::Kind::kKick:
        Kick(step.who, step.where);
        break;
      case Step::Kind::kRead:
        ReadOne(clients_[step.who]);
        break;
      case Step::Kind::kBreak:
        --clients_[step.who].breaks_left;
        clients_[step.who].wire.clear();
        clients_[step.who].state = Client::State::kAway;
        if (!plan_.half_open || random_() % 2 > 0) Notice(step.who);
        break;
      case Step::Kind::kNotice:
        Notice(step.who);
        break;
      case Step::Kind::kReturn:
        Return(step.who, step.where);
        break;
      case Step::Kind::kGiveUp:
        --clients_[step.who].breaks_left;
        clients_[step.who].attempt->gone = true;
        ++given_up;
        break;
    }
  }

  void GoOn(size_t number) {
    Shard& shard = *shards_[number];
    auto [to, letter] = std::move(shard.doing.front());
    shard.doing.pop_front();
    if (to != number) {
      shards_[to]->mail.push_back(std::move(letter));
    } else {
      letter();
    }
  }

  void Publish(size_t number) {
    Shard& shard = *shards_[number];
    --shard.left;
    const Origin origin{.number = ++shard.last_number, .publisher = static_cast<uint8_t>(number)};
    std::string text;  // none: it is volatile
    if (random_() % 4 > 0) text = std::to_string(number) + "." + std::to_string(++shard.last_kept);
    // A client's goes to its own shard first, the push API's last.
    const bool first = random_() % 2 > 0;
    const auto deliver = [=, this](size_t to) {
      shards_[number]->doing.emplace_back(to, [=, this] { Deliver(to, origin, text); });
    };
    if (first) deliver(number);
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (i != number) deliver(i);
    }
    if (!first) deliver(number);
  }

  // As the push API has it done.
  void Kick(size_t number, size_t whom) {
    Shard& shard = *shards_[number];
    --shard.kicks_left;
    clients_[whom].must_go = clients_[whom].sockets;
    ++clients_[whom].kicks;
    const Origin kick{.number = ++shard.last_number, .publisher = static_cast<uint8_t>(number)};
    const auto left = std::make_shared<size_t>(shards_.size());
    const auto done = [=, this] {
      if (--*left > 0) return;
      clients_[whom].may_go = clients_[whom].sockets;
      --clients_[whom].kicks;
      for (size_t i = 0; i < shards_.size(); ++i) {
        shards_[number]->doing.emplace_back(i, [=, this] { shards_[i]->recovery.KickedByAll(kick); });
      }
    };
    for (size_t i = 0; i <= shards_.size(); ++i) {
      const size_t to = i == shards_.size() ? number : i;  // its own comes last
      if (i == number) continue;
      shard.doing.emplace_back(to, [=, this] {
        CarryOut(to, kick, whom);
        shards_[to]->doing.emplace_back(number, done);
      });
    }
  }

  void CarryOut(size_t number, const Origin& kick, size_t whom) {
    shards_[number]->recovery.Kick(kick,
                                   [whom](Saved& saved) { return saved.user_id == std::to_string(whom); });
    Client& client = clients_[whom];
    if (!client.live || client.shard != number) return;
    client.live = false;
    if (client.state != Client::State::kThere) return;
    client.state = Client::State::kAway;
    client.wire.clear();
    client.offset.clear();
  }

  void Deliver(size_t number, const Origin& origin, const std::string& text) {
    Recovery& recovery = shards_[number]->recovery;
    for (const uint16_t name_space : {1, 0}) {
      if (text.empty()) break;
      std::string packet = "42[\"" + text + "\",\"";
      recovery.AppendNext(packet);
      packet += "\"]";
      recovery.Keep(origin, name_space, "*:0", MakeFrame(FrameKind::kText, packet), {});
      for (Client& client : clients_) {
        const bool there = client.live && client.state == Client::State::kThere && client.shard == number;
        if (there && name_space == 0) client.wire.push_back(packet);
      }
    }
    recovery.Reach(origin);
  }

  void ReadOne(Client& client) {
    const std::string packet = client.wire.front();
    client.wire.pop_front();
    const size_t dot = packet.find('.'), end = packet.find("\",\"");
    const size_t publisher = std::stoul(packet.substr(4));
    const uint64_t number = std::stoul(packet.substr(dot + 1));
    if (client.read[publisher] != kAny) {
      EXPECT_EQ(number, client.read[publisher] + 1) << packet;
    }
    client.read[publisher] = number;
    client.offset = packet.substr(end + 3, packet.size() - end - 5);
    if (client.offset.find('+') != std::string::npos) ++two_places;
  }

  std::string IdOf(size_t client) const {
    return "client " + std::to_string(client) + ", socket " + std::to_string(clients_[client].sockets);
  }
  void Notice(size_t number) {
    Client& client = clients_[number];
    client.live = false;
    shards_[client.shard]->recovery.Save({.id = IdOf(number),
                                          .user_id = std::to_string(number),
                                          .user_name = {},
                                          .device = {},
                                          .rooms = {"*:0"},
                                          .name_space = 0,
                                          .until = Time(1h)});
  }
  void EndOld(size_t shard, size_t number) {
    if (!clients_[number].live || clients_[number].shard != shard) return;
    ++taken_over;
    Notice(number);
  }

  void Return(size_t number, size_t to) {
    Client& client = clients_[number];
    if (client.offset.empty()) return BeNew(client, to);
    client.state = Client::State::kAsking;
    client.attempt = std::make_shared<Attempt>();
    Attempt& attempt = *client.attempt;
    attempt.client = number;
    attempt.shard = to;
    const auto offset = ParseOffset(client.offset, shards_.size());
    ASSERT_TRUE(offset) << client.offset;
    attempt.wanted = {.id = IdOf(number), .name_space = 0, .offset = *offset};
    attempt.answers.resize(shards_.size());
    attempt.left = shards_.size();
    EndOld(to, number);
    if (shards_[to]->recovery.KnowsAll(attempt.wanted)) {
      attempt.found = shards_[to]->recovery.Find(attempt.wanted, {});
      OnFound(client.attempt);
      return;
    }
    attempt.asking = shards_[to]->recovery.BeginAsking();
    for (size_t i = 0; i <= shards_.size(); ++i) {
      const size_t asked = i == shards_.size() ? to : i;  // its own comes last
      if (i == to) continue;
      shards_[to]->doing.emplace_back(asked, [=, this, attempt = client.attempt] {
        EndOld(asked, number);
        attempt->answers[asked] = shards_[asked]->recovery.Find(attempt->wanted, {});
        shards_[asked]->doing.emplace_back(to, [=, this] {
          if (--attempt->left > 0) return;
          attempt->found = Together(std::move(attempt->answers));
          OnFound(attempt);
        });
      });
    }
  }

  // As Hub does it.
  void OnFound(const std::shared_ptr<Attempt>& attempt) {
    Shard& shard = *shards_[attempt->shard];
    Client& client = clients_[attempt->client];
    const bool was_found = attempt->found.saved.has_value();
    if (attempt->asking != 0) shard.recovery.EndAsking(attempt->asking, attempt->found);
    if (was_found && !attempt->found.saved) ++on_the_way;
    if (!attempt->found.saved) {
      ASSERT_TRUE(client.kicks > 0 || client.sockets <= client.may_go) << "lost without a kick";
    }
    if (attempt->gone) {
      client.state = Client::State::kAway;
      if (attempt->found.saved) shard.recovery.Save(std::move(*attempt->found.saved));
      return;
    }
    if (!shard.recovery.MayReturn(attempt->wanted, attempt->found)) return BeNew(client, attempt->shard);
    ++recovered;
    client.state = Client::State::kThere;
    client.shard = attempt->shard;
    client.live = true;
    for (std::string& packet : shard.recovery.Missed(attempt->wanted, attempt->found)) {
      client.wire.push_back(std::move(packet));
    }
  }
  void BeNew(Client& client, size_t shard) {
    ++made_new;
    ++client.sockets;
    client.state = Client::State::kThere;
    client.shard = shard;
    client.live = true;
    client.offset.clear();
    client.read.assign(plan_.shards, kAny);
  }

  Plan plan_;
  std::mt19937 random_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Client> clients_;
  std::vector<Step> steps_;
};

struct Sums {
  size_t recovered = 0, made_new = 0, two_places = 0, given_up = 0, on_the_way = 0, taken_over = 0;
};

Sums RunMany(const Plan& plan, uint32_t seeds) {
  Sums sums;
  for (uint32_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << plan.shards << " shards, seed " << seed);
    World world(plan, seed);
    world.Run();
    sums.recovered += world.recovered;
    sums.made_new += world.made_new;
    sums.two_places += world.two_places;
    sums.given_up += world.given_up;
    sums.on_the_way += world.on_the_way;
    sums.taken_over += world.taken_over;
  }
  return sums;
}

TEST(RecoveryModel, OnTwoShardsEachMessageComesOnceAndInItsPublishersOrder) {
  const Sums sums = RunMany({.shards = 2, .clients = 2, .publications = 6, .breaks = 5}, 1000);
  EXPECT_GT(sums.recovered, 3000u);
  EXPECT_GT(sums.two_places, 100u);
  EXPECT_GT(sums.given_up, 100u);
  EXPECT_EQ(sums.made_new, 0u);
}

TEST(RecoveryModel, OnThreeShardsEachMessageComesOnceAndInItsPublishersOrder) {
  const Sums sums = RunMany({.shards = 3, .clients = 2, .publications = 5, .breaks = 6}, 1000);
  EXPECT_GT(sums.recovered, 3000u);
  EXPECT_GT(sums.two_places, 100u);
  EXPECT_GT(sums.given_up, 100u);
  EXPECT_EQ(sums.made_new, 0u);
}

TEST(RecoveryModel, NothingIsLostOrDoubledEitherWhereTheOldConnectionIsNotKnownToBeGone) {
  for (const size_t shards : {1, 2, 3}) {
    const Sums sums =
        RunMany({.shards = shards, .clients = 2, .publications = 5, .breaks = 6, .half_open = true}, 1000);
    EXPECT_GT(sums.recovered, 3000u);
    EXPECT_GT(sums.taken_over, 300u);
    EXPECT_EQ(sums.made_new, 0u);
  }
}

TEST(RecoveryModel, WithOneMessageOfEachPublisherAllGoesWellTooWhateverComesFirst) {
  for (const size_t shards : {2, 3, 5}) {
    const Sums sums = RunMany({.shards = shards, .clients = 1, .publications = 1, .breaks = 3}, 1000);
    EXPECT_EQ(sums.made_new, 0u);
  }
}

TEST(RecoveryModel, WhoMissedWhatIsKeptNoLongerIsNewAndOthersMissNothing) {
  const Sums sums = RunMany({.shards = 3, .clients = 2, .publications = 20, .breaks = 8, .bytes = 8000}, 500);
  EXPECT_GT(sums.recovered, 1000u);
  EXPECT_GT(sums.made_new, 300u);
}

TEST(RecoveryModel, WhoIsKickedDoesNotComeBackHoweverItWasOnTheWay) {
  for (const size_t shards : {2, 3, 4}) {
    const Sums sums =
        RunMany({.shards = shards, .clients = 2, .publications = 4, .breaks = 5, .kicks = 1}, 2000);
    EXPECT_GT(sums.recovered, 1000u);
    EXPECT_GT(sums.on_the_way, 20u) << "met between two shards";
    const Sums half_open = RunMany(
        {.shards = shards, .clients = 2, .publications = 4, .breaks = 5, .kicks = 1, .half_open = true},
        2000);
    EXPECT_GT(half_open.taken_over, 300u);
    EXPECT_GT(half_open.on_the_way, 20u);
  }
}

TEST(RecoveryModel, OnOneShardOnePlaceIsEnough) {
  const Sums sums = RunMany({.shards = 1, .clients = 3, .publications = 10, .breaks = 5}, 200);
  EXPECT_GT(sums.recovered, 1000u);
  EXPECT_EQ(sums.two_places, 0u);
}

}  // namespace
}  // namespace muster::push::socketio
