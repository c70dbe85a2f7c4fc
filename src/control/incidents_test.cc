#include "control/incidents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class IncidentsTest : public testing::Test {
 protected:
  using Lines = std::vector<std::string>;

  // What is told of a change, as "WHO ACTION DETAIL".
  Lines Saw(InstanceState state, Duration at, const std::string& role = "") {
    one_.state = state;
    if (!role.empty()) one_.facts["role"] = role;
    return Texts(incidents_.Saw(one_, about_, Time(at)));
  }
  Lines Dies(const std::string& how, Duration at) {
    one_.last_exit = how;
    return Saw(InstanceState::kBackoff, at);
  }
  Lines StartsAgain(Duration at) {
    ++one_.restarts;
    return Saw(InstanceState::kStarting, at);
  }
  static Lines Texts(const std::vector<Incident>& incidents) {
    Lines texts;
    for (const Incident& one : incidents) texts.push_back(one.who + " | " + one.action + " | " + one.detail);
    return texts;
  }
  void IsReady() { EXPECT_THAT(Saw(InstanceState::kReady, 0s), IsEmpty()); }

  Incidents incidents_;
  Incidents::About about_{.kind = "app", .killed_when_hung = true};
  Observed one_{.name = "web-1", .service = "web", .host = "a"};
};

TEST_F(IncidentsTest, WhoDiesAndComesBackIsToldOfOnceEach) {
  IsReady();
  EXPECT_THAT(Dies("signal 9", 10s), ElementsAre("agent of a | died | web-1: signal 9"));
  EXPECT_THAT(StartsAgain(11s), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kReady, 12s + 500ms),
              ElementsAre("agent of a | ready again | web-1: after 2.5s"));
  EXPECT_THAT(Saw(InstanceState::kReady, 13s), IsEmpty());
}

TEST_F(IncidentsTest, HowItEndedIsToldWhateverEndedIt) {
  for (const char* how :
       {"exit 3", "killed as hung: no answer in 300ms", "killed at its memory limit of 40m"}) {
    incidents_ = {};
    IsReady();
    EXPECT_THAT(Dies(how, 10s), ElementsAre(std::string("agent of a | died | web-1: ") + how));
  }
}

TEST_F(IncidentsTest, WhoNeverRanHasNotDied) {
  EXPECT_THAT(Saw(InstanceState::kStarting, 0s), IsEmpty());
  EXPECT_THAT(Dies("disk-full", 1s), ElementsAre("agent of a | not started | web-1: disk-full"));
}

TEST_F(IncidentsTest, DeathsBeforeItIsReadyAgainAreCounted) {
  IsReady();
  EXPECT_THAT(Dies("exit 1", 10s), SizeIs(1));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(StartsAgain(11s), IsEmpty());
    EXPECT_THAT(Dies("exit 1", 12s), IsEmpty());
  }
  EXPECT_THAT(StartsAgain(20s), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kReady, 40s),
              ElementsAre("agent of a | ready again | web-1: after 30s, 4 deaths"));
}

TEST_F(IncidentsTest, WhoIsGivenUpOnIsToldOf) {
  IsReady();
  EXPECT_THAT(Dies("exit 1", 10s), SizeIs(1));
  EXPECT_THAT(StartsAgain(11s), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kFailed, 12s),
              ElementsAre("agent of a | given up | web-1: died 2 times, the last time: exit 1"));
}

TEST_F(IncidentsTest, ADeathThatNobodySawIsSeenByTheRestart) {
  IsReady();
  ++one_.restarts;
  one_.last_exit = "unknown";  // its agent was away
  EXPECT_THAT(Saw(InstanceState::kReady, 10s),
              ElementsAre("agent of a | died | web-1: nobody saw how; it is ready again"));
  EXPECT_THAT(StartsAgain(20s), ElementsAre("agent of a | died | web-1: nobody saw how"));
  EXPECT_THAT(Saw(InstanceState::kReady, 21s), SizeIs(1));
}

TEST_F(IncidentsTest, WhatStepsDoIsNoIncident) {
  EXPECT_THAT(Saw(InstanceState::kStopped, 0s), IsEmpty());
  for (const InstanceState state :
       {InstanceState::kStarting, InstanceState::kReady, InstanceState::kStopping, InstanceState::kStopped,
        InstanceState::kStarting, InstanceState::kReady, InstanceState::kAbsent}) {
    EXPECT_THAT(Saw(state, 10s), IsEmpty());
  }
}

TEST_F(IncidentsTest, WhatStoodBeforeTheServerBeganIsNoNewsButItsReturnIs) {
  EXPECT_THAT(Dies("exit 1", 10s), IsEmpty());
  EXPECT_THAT(StartsAgain(11s), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kReady, 12s), ElementsAre("agent of a | ready again | web-1: after 2.0s"));
}

TEST_F(IncidentsTest, WhoIsNotKilledForItsCheckIsToldOfAsUnhealthy) {
  IsReady();
  EXPECT_THAT(Saw(InstanceState::kUnhealthy, 10s), IsEmpty());  // it dies of it, and that is told
  IsReady();
  about_.killed_when_hung = false;
  one_.facts[kProbeFact] = "status 500";
  EXPECT_THAT(Saw(InstanceState::kUnhealthy, 20s), ElementsAre("agent of a | unhealthy | web-1: status 500"));
  EXPECT_THAT(Saw(InstanceState::kUnhealthy, 21s), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kReady, 30s), ElementsAre("agent of a | ready again | web-1: after 10s"));
}

TEST_F(IncidentsTest, WhoDiesOverAndOverDoesNotFillTheAudit) {
  IsReady();
  size_t told = 0;
  Lines last;
  for (int i = 1; i <= 8'640; ++i) {  // a day
    const Duration at = 10s * i;
    for (const Lines& lines : {Dies("exit 1", at), StartsAgain(at), Saw(InstanceState::kReady, at + 1s)}) {
      told += lines.size();
      if (!lines.empty()) last = lines;
      if (told == 10 && !lines.empty()) {
        EXPECT_THAT(lines, ElementsAre(HasSubstr("over and over")));
      }
    }
  }
  EXPECT_LT(told, 160u);
  EXPECT_GT(told, 140u);
  EXPECT_THAT(last, ElementsAre(HasSubstr("before it not told)")));
}

TEST_F(IncidentsTest, ManyTogetherDoNotFillTheAuditEither) {
  size_t told = 0;
  for (int i = 0; i < 8'640; ++i) {
    for (int j = 0; j < 60; ++j) {
      one_.name = "web-" + std::to_string(j);
      const Duration at = 10s * i;
      told += Saw(InstanceState::kReady, at).size() + Dies("exit 1", at + 1s).size();
    }
  }
  EXPECT_LT(told, 700u);
}

TEST_F(IncidentsTest, AReplicaThatBecomesPrimaryByItselfIsToldOf) {
  about_.kind = "redis-cluster";
  EXPECT_THAT(Saw(InstanceState::kReady, 0s, "replica"), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kReady, 1s, "master"),
              ElementsAre("redis-cluster | new primary | web-1: it was a replica"));
  EXPECT_THAT(Saw(InstanceState::kReady, 2s, "replica"), IsEmpty());
}

TEST_F(IncidentsTest, ARoleThatWeOrderedIsTheOrders) {
  Saw(InstanceState::kReady, 0s, "replica");
  incidents_.Ordered("web-1");
  EXPECT_THAT(Saw(InstanceState::kReady, 1s, "master"), IsEmpty());
  EXPECT_THAT(incidents_.OrderEnded("web-1", true, Time(2s)), IsEmpty());
  // … also where it is seen after its end.
  Saw(InstanceState::kReady, 100s, "replica");
  incidents_.Ordered("web-1");
  EXPECT_THAT(incidents_.OrderEnded("web-1", true, Time(101s)), IsEmpty());
  EXPECT_THAT(Saw(InstanceState::kReady, 102s, "master"), IsEmpty());
  // One that failed did nothing.
  Saw(InstanceState::kReady, 200s, "replica");
  incidents_.Ordered("web-1");
  EXPECT_THAT(Saw(InstanceState::kReady, 201s, "master"), IsEmpty());
  EXPECT_THAT(incidents_.OrderEnded("web-1", false, Time(202s)), SizeIs(1));
}

TEST_F(IncidentsTest, ANewProcessBeginsItsRolesAnew) {
  Saw(InstanceState::kReady, 0s, "replica");
  EXPECT_THAT(Dies("signal 9", 1s), SizeIs(1));
  EXPECT_THAT(Saw(InstanceState::kStarting, 2s, "master"), IsEmpty());  // its data was gone
}

TEST_F(IncidentsTest, AHostIsToldOfAsBackWhereItWasToldOfAsSilent) {
  EXPECT_THAT(incidents_.Back("b", Time(1s)), IsEmpty());
  EXPECT_THAT(Texts(incidents_.Silent("b", Time(2s), Time(5s))),
              ElementsAre("server | silent | host b: its agent doesn't answer for 3.0s now"));
  EXPECT_THAT(Texts(incidents_.Back("b", Time(62s))),
              ElementsAre("server | answers again | host b: after 1m"));
  EXPECT_THAT(incidents_.Back("b", Time(63s)), IsEmpty());
}

}  // namespace
}  // namespace muster::control
