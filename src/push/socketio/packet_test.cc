#include "push/socketio/packet.h"

#include <gtest/gtest.h>

namespace muster::push::socketio {
namespace {

struct Read {
  bool good;
  Packet packet;
  std::vector<std::string_view> elements;
};
Read Parse(std::string_view text) {
  Read read{};
  read.good = ParsePacket(text, read.packet, read.elements);
  return read;
}

TEST(SocketIoPacket, IsReadInAllItsForms) {
  EXPECT_EQ(Parse("0").packet.name_space, "/");
  EXPECT_EQ(Parse("0/custom").packet.name_space, "/custom");
  const Read connect = Parse(R"(0/custom,{"token":"1"})");
  EXPECT_TRUE(connect.good);
  EXPECT_EQ(connect.packet.data, R"({"token":"1"})");
  const Read event = Parse(R"(2/a,456["message",1])");
  EXPECT_EQ(event.packet.id, 456);
  EXPECT_EQ(event.elements.size(), 2u);
  EXPECT_EQ(Parse(R"(2["message"])").packet.id, -1);
  const Read binary = Parse(R"(52-/a,7["m",{"_placeholder":true,"num":0}])");
  EXPECT_EQ(binary.packet.attachments, 2);
  EXPECT_EQ(binary.packet.id, 7);
  EXPECT_TRUE(Parse("312[]").good);
  EXPECT_TRUE(Parse("61-3[1]").good);
  EXPECT_TRUE(Parse("1").good);
  EXPECT_TRUE(Parse("1/a,").good);
  EXPECT_TRUE(Parse("2[5]").good) << "an event may be a number";
}

TEST(SocketIoPacket, IsRefusedWhereItBreaksTheProtocol) {
  for (const char* bad : {"",
                          "7",
                          "abc",
                          "2",
                          "2{}",
                          "2[]",
                          "2[{}]",
                          "2[\"connect\"]",
                          "2[\"disconnecting\"]",
                          "2abc[\"a\"]",
                          "2[\"a\"",
                          "3[]",
                          "31{}",
                          "1[]",
                          "0[]",
                          "0\"a\"",
                          "5[\"a\"]",
                          "5-[\"a\"]",
                          "511-[\"a\"]",
                          "5x-[\"a\"]",
                          "2-1[\"a\"]",
                          "299999999999999999999[\"a\"]",
                          "5-1-[\"a\"]"}) {
    EXPECT_FALSE(Parse(bad).good) << bad;
  }
}

TEST(SocketIoPacket, IsWrittenWithoutTheMainNamespace) {
  std::string out;
  AppendHead(out, PacketType::kEvent, 0, "/", -1);
  EXPECT_EQ(out, "42");
  out.clear();
  AppendHead(out, PacketType::kBinaryAck, 2, "/a", 13);
  EXPECT_EQ(out, "462-/a,13");
}

}  // namespace
}  // namespace muster::push::socketio
