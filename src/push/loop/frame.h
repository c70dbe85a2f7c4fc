// What is on its way out: a message encoded once, which any number of connections of one loop may wait to
// send. A frame belongs to the loop whose thread made it; its count of references is not atomic. Nothing here
// fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace muster::push {

enum class FrameKind : uint8_t {
  kText,    // WebSocket text; over long-polling a packet as it is
  kBinary,  // WebSocket binary; over long-polling base64
  kPing,
  kPong,
  kClose,
  kRaw,  // bytes without a WebSocket header, such as an HTTP response
};

struct Frame {
  static constexpr size_t kHeadRoom = 12;  // a server's WebSocket header has at most 10 bytes

  uint32_t references;
  uint32_t size;  // of the payload, in bytes
  uint8_t head;   // bytes of the WebSocket header before the payload
  uint8_t size_class;
  FrameKind kind;
  bool droppable;  // may be left out where the receiver can't take it at once ("volatile")

  char* data() { return reinterpret_cast<char*>(this + 1) + kHeadRoom; }
  const char* data() const { return reinterpret_cast<const char*>(this + 1) + kHeadRoom; }
  std::string_view payload() const { return {data(), size}; }
  std::string_view wire() const { return {data() - head, size_t{size} + head}; }
};

// Owns one reference. For the thread of the loop that made the frame.
class FrameRef {
 public:
  FrameRef() = default;
  explicit FrameRef(Frame* frame) : frame_(frame) {}  // takes over the caller's reference
  FrameRef(const FrameRef& other) : frame_(other.frame_) {
    if (frame_ != nullptr) ++frame_->references;
  }
  FrameRef(FrameRef&& other) noexcept : frame_(other.Release()) {}
  FrameRef& operator=(FrameRef other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }
  ~FrameRef() {
    if (frame_ != nullptr) Drop(frame_);
  }

  Frame* Release() { return std::exchange(frame_, nullptr); }
  Frame* get() const { return frame_; }
  Frame* operator->() const { return frame_; }
  Frame& operator*() const { return *frame_; }
  explicit operator bool() const { return frame_ != nullptr; }

  static void Drop(Frame* frame);

 private:
  Frame* frame_ = nullptr;
};

// A copy of `payload` with its header before it. Blocks come from lists of free ones that each thread keeps.
FrameRef MakeFrame(FrameKind kind, std::string_view payload, bool droppable = false);
// The same of what two pieces are together.
FrameRef MakeJoinedFrame(FrameKind kind, std::string_view first, std::string_view second,
                         bool droppable = false);

// Frames waiting in order: a list of small chunks, which come from the thread's pool and go back when empty,
// so that nobody who waits for nothing holds memory.
class Outbox {
 public:
  Outbox() = default;
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  ~Outbox() { Clear(); }

  void Push(FrameRef frame);
  bool empty() const { return first_ == nullptr; }
  size_t bytes() const { return bytes_; }  // still to be sent
  void Clear();
  void MoveTo(Outbox& other);  // appends all; none of it may have been sent in part
  // Lets go of all but a frame that was sent in part and those that the next `bytes` bytes are of.
  void KeepFirst(size_t bytes);

  // Gathers up to `room` bytes of what is next into `buffer`; returns how many.
  size_t Gather(char* buffer, size_t room) const;
  // What is next as one piece of memory, at least what is left of the first frame.
  std::string_view Front() const;
  bool HasOne() const;
  // So many bytes were sent: frames that are done are let go.
  void Consume(size_t sent);

  template <class Visit>  // void(const Frame&)
  void ForEach(const Visit& visit) const {
    for (const Chunk* chunk = first_; chunk != nullptr; chunk = chunk->next) {
      for (int i = chunk->begin; i < chunk->end; ++i) visit(*chunk->frames[i]);
    }
  }

 private:
  friend struct ChunkPool;
  static constexpr int kPerChunk = 14;
  struct Chunk {
    Chunk* next;
    uint16_t begin, end;
    Frame* frames[kPerChunk];
  };
  static Chunk* NewChunk();
  static void FreeChunk(Chunk* chunk);

  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  uint32_t bytes_ = 0;
  uint32_t sent_ = 0;  // of the first frame
};

}  // namespace muster::push
