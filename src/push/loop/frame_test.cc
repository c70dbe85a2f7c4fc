#include "push/loop/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace muster::push {
namespace {

std::string AllOf(Outbox& box, size_t step) {
  std::string all;
  std::vector<char> buffer(step);
  while (!box.empty()) {
    const size_t got = box.Gather(buffer.data(), step);
    all.append(buffer.data(), got);
    box.Consume(got);
  }
  return all;
}

TEST(Frame, CarriesItsHeaderBeforeItsPayload) {
  const FrameRef frame = MakeJoinedFrame(FrameKind::kText, "hi", " there");
  EXPECT_EQ(frame->payload(), "hi there");
  EXPECT_EQ(frame->wire(), std::string("\x81\x08hi there"));
  EXPECT_EQ(MakeFrame(FrameKind::kRaw, "GET")->wire(), "GET");
  for (const size_t size : {0, 125, 126, 65535, 65536, 300000}) {
    const std::string payload(size, 'x');
    EXPECT_EQ(MakeFrame(FrameKind::kBinary, payload)->payload(), payload);
  }
}

TEST(Frame, IsSharedAndLetGoWithTheLastReference) {
  const FrameRef first = MakeFrame(FrameKind::kText, "shared");
  {
    std::vector<FrameRef> many(1000, first);
    EXPECT_EQ(first->references, 1001u);
  }
  EXPECT_EQ(first->references, 1u);
}

TEST(Outbox, GivesBackWhatWasPutInWhateverThePieces) {
  for (const size_t step : {1, 3, 64, 4096}) {
    Outbox box;
    std::string expected;
    for (int i = 0; i < 100; ++i) {
      FrameRef frame = MakeFrame(FrameKind::kText, std::string(static_cast<size_t>(i), 'a' + i % 26));
      expected += frame->wire();
      box.Push(std::move(frame));
    }
    EXPECT_EQ(box.bytes(), expected.size());
    EXPECT_EQ(AllOf(box, step), expected);
    EXPECT_EQ(box.bytes(), 0u);
  }
}

TEST(Outbox, MovesAllToAnotherBehindWhatThatHas) {
  Outbox from, to;
  for (int i = 0; i < 20; ++i) from.Push(MakeFrame(FrameKind::kRaw, "b"));
  to.Push(MakeFrame(FrameKind::kRaw, "a"));
  from.MoveTo(to);
  EXPECT_TRUE(from.empty());
  from.Push(MakeFrame(FrameKind::kRaw, "c"));
  from.MoveTo(to);
  EXPECT_EQ(AllOf(to, 7), "a" + std::string(20, 'b') + "c");
}

TEST(Outbox, KeepsWhatIsOnItsWayWhenAllElseIsLetGo) {
  for (const size_t sent : {0, 1, 10, 15, 230, 300}) {
    for (const size_t bytes : {0, 1, 9, 10, 140, 299, 1000}) {
      Outbox box;
      std::string all;
      for (int i = 0; i < 30; ++i) {
        const std::string text(10, static_cast<char>('a' + i % 26));
        all += text;
        box.Push(MakeFrame(FrameKind::kRaw, text));
      }
      box.Consume(sent);
      box.KeepFirst(bytes);
      size_t end = std::min<size_t>(300, (sent + bytes + 9) / 10 * 10);
      if (sent == 300) end = 300;
      EXPECT_EQ(box.bytes(), end - sent);
      EXPECT_EQ(box.empty(), end == sent);
      box.Push(MakeFrame(FrameKind::kRaw, "END"));
      EXPECT_EQ(AllOf(box, 7), all.substr(sent, end - sent) + "END") << sent << " " << bytes;
    }
  }
}

TEST(Outbox, KnowsWhetherThereIsOne) {
  Outbox box;
  EXPECT_FALSE(box.HasOne());
  box.Push(MakeFrame(FrameKind::kRaw, "abc"));
  EXPECT_TRUE(box.HasOne());
  box.Consume(1);
  EXPECT_EQ(box.Front(), "bc");
  box.Push(MakeFrame(FrameKind::kRaw, "d"));
  EXPECT_FALSE(box.HasOne());
}

}  // namespace
}  // namespace muster::push
