#include "push/socketio/by_id.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

namespace muster::push::socketio {
namespace {

struct Item {
  uint8_t id[15] = {};
  Item* next_by_id = nullptr;
};

TEST(ById, FindsEachOfManyAndNoneThatIsGone) {
  std::mt19937 random(7);
  std::vector<std::unique_ptr<Item>> items;
  ById<Item> all;
  EXPECT_EQ(all.Find(Item{}.id), nullptr) << "in nothing there is nothing";
  for (int i = 0; i < 5000; ++i) {
    auto& item = items.emplace_back(std::make_unique<Item>());
    for (uint8_t& byte : item->id) byte = static_cast<uint8_t>(random());
    all.Add(*item);
  }
  for (const auto& item : items) EXPECT_EQ(all.Find(item->id), item.get());
  for (size_t i = 0; i < items.size(); i += 2) all.Remove(*items[i]);
  EXPECT_EQ(all.size(), 2500u);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(all.Find(items[i]->id), i % 2 == 0 ? nullptr : items[i].get());
  }
}

TEST(ById, TellsIdsApartThatDifferInTheLastByteOnly) {
  Item a, b;
  b.id[14] = 1;
  ById<Item> all;
  all.Add(a);
  all.Add(b);
  EXPECT_EQ(all.Find(a.id), &a);
  EXPECT_EQ(all.Find(b.id), &b);
  all.Remove(a);
  EXPECT_EQ(all.Find(a.id), nullptr);
  EXPECT_EQ(all.Find(b.id), &b);
}

}  // namespace
}  // namespace muster::push::socketio
