#include "push/loop/frame.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "push/loop/slab.h"
#include "push/loop/websocket.h"

namespace muster::push {
namespace {

constexpr int kClasses = 9;         // blocks of 64 bytes to 16 KiB
constexpr uint8_t kUnpooled = 255;  // larger ones come and go with malloc
// Free blocks kept of each size. None where a sanitizer looks for the use of what was freed.
constexpr size_t kKeptBytes = kPoisons ? 0 : 1u << 20;

struct FreeBlock {
  FreeBlock* next;
};

// The free blocks of one thread.
struct Pool {
  std::array<FreeBlock*, kClasses> free{};
  std::array<size_t, kClasses> kept{};  // bytes
  ~Pool() {
    for (FreeBlock*& list : free) {
      while (list != nullptr) std::free(std::exchange(list, list->next));
    }
    kept.fill(kKeptBytes);  // what is freed after this goes straight back
  }
};
thread_local Pool pool;

constexpr size_t ClassBytes(int size_class) { return size_t{64} << size_class; }

int ClassOf(size_t bytes) {
  if (bytes <= 64) return 0;
  return static_cast<int>(std::bit_width(bytes - 1)) - 6;
}

Frame* Allocate(size_t payload) {
  const size_t bytes = sizeof(Frame) + Frame::kHeadRoom + payload;
  const int size_class = ClassOf(bytes);
  void* memory;
  if (size_class >= kClasses) {
    memory = std::malloc(bytes);
  } else if (FreeBlock* block = pool.free[size_class]; block != nullptr) {
    pool.free[size_class] = block->next;
    pool.kept[size_class] -= ClassBytes(size_class);
    memory = block;
  } else {
    memory = std::malloc(ClassBytes(size_class));
  }
  if (memory == nullptr) throw std::bad_alloc();
  Frame* frame = new (memory) Frame;
  frame->references = 1;
  frame->size = static_cast<uint32_t>(payload);
  frame->size_class = size_class >= kClasses ? kUnpooled : static_cast<uint8_t>(size_class);
  return frame;
}

void WriteHead(Frame& frame, FrameKind kind, bool droppable) {
  frame.kind = kind;
  frame.droppable = droppable;
  frame.head = 0;
  auto opcode = websocket::Opcode::kText;
  switch (kind) {
    case FrameKind::kRaw:
      return;
    case FrameKind::kText:
      break;
    case FrameKind::kBinary:
      opcode = websocket::Opcode::kBinary;
      break;
    case FrameKind::kPing:
      opcode = websocket::Opcode::kPing;
      break;
    case FrameKind::kPong:
      opcode = websocket::Opcode::kPong;
      break;
    case FrameKind::kClose:
      opcode = websocket::Opcode::kClose;
      break;
  }
  frame.head = static_cast<uint8_t>(websocket::WriteHeaderBefore(frame.data(), opcode, frame.size));
}

}  // namespace

void FrameRef::Drop(Frame* frame) {
  if (--frame->references != 0) return;
  const uint8_t size_class = frame->size_class;
  if (size_class == kUnpooled || pool.kept[size_class] >= kKeptBytes) {
    std::free(frame);
    return;
  }
  pool.kept[size_class] += ClassBytes(size_class);
  FreeBlock* block = new (frame) FreeBlock{pool.free[size_class]};
  pool.free[size_class] = block;
}

FrameRef MakeFrame(FrameKind kind, std::string_view payload, bool droppable) {
  Frame* frame = Allocate(payload.size());
  if (!payload.empty()) std::memcpy(frame->data(), payload.data(), payload.size());
  WriteHead(*frame, kind, droppable);
  return FrameRef(frame);
}

FrameRef MakeJoinedFrame(FrameKind kind, std::string_view first, std::string_view second, bool droppable) {
  Frame* frame = Allocate(first.size() + second.size());
  if (!first.empty()) std::memcpy(frame->data(), first.data(), first.size());
  if (!second.empty()) std::memcpy(frame->data() + first.size(), second.data(), second.size());
  WriteHead(*frame, kind, droppable);
  return FrameRef(frame);
}

// The empty chunks of one thread.
struct ChunkPool {
  static constexpr size_t kKept = kPoisons ? 0 : 16384;
  Outbox::Chunk* free = nullptr;
  size_t count = 0;
  ~ChunkPool() {
    while (free != nullptr) std::free(std::exchange(free, free->next));
    count = kKept;
  }
};
namespace {
thread_local ChunkPool chunks;
}  // namespace

Outbox::Chunk* Outbox::NewChunk() {
  Chunk* chunk = chunks.free;
  if (chunk != nullptr) {
    chunks.free = chunk->next;
    --chunks.count;
  } else {
    chunk = static_cast<Chunk*>(std::malloc(sizeof(Chunk)));
    if (chunk == nullptr) throw std::bad_alloc();
  }
  chunk->next = nullptr;
  chunk->begin = chunk->end = 0;
  return chunk;
}

void Outbox::FreeChunk(Chunk* chunk) {
  if (chunks.count >= ChunkPool::kKept) {
    std::free(chunk);
    return;
  }
  chunk->next = chunks.free;
  chunks.free = chunk;
  ++chunks.count;
}

void Outbox::Push(FrameRef frame) {
  if (last_ == nullptr) {
    first_ = last_ = NewChunk();
  } else if (last_->end == kPerChunk) {
    last_->next = NewChunk();
    last_ = last_->next;
  }
  bytes_ += static_cast<uint32_t>(frame->wire().size());
  last_->frames[last_->end++] = frame.Release();
}

void Outbox::Clear() {
  while (first_ != nullptr) {
    for (int i = first_->begin; i < first_->end; ++i) FrameRef::Drop(first_->frames[i]);
    FreeChunk(std::exchange(first_, first_->next));
  }
  last_ = nullptr;
  bytes_ = sent_ = 0;
}

void Outbox::MoveTo(Outbox& other) {
  if (first_ == nullptr) return;
  if (other.last_ == nullptr) {
    other.first_ = first_;
  } else {
    other.last_->next = first_;
  }
  other.last_ = last_;
  other.bytes_ += bytes_;
  first_ = last_ = nullptr;
  bytes_ = sent_ = 0;
}

void Outbox::KeepFirst(size_t bytes) {
  if (sent_ > 0) bytes = std::max<size_t>(bytes, 1);
  size_t kept = 0;
  size_t skip = sent_;
  Chunk* last = nullptr;
  for (Chunk* chunk = first_; chunk != nullptr && kept < bytes; chunk = chunk->next) {
    last = chunk;
    int end = chunk->begin;
    for (; end < chunk->end && kept < bytes; ++end) {
      kept += chunk->frames[end]->wire().size() - skip;
      skip = 0;
    }
    for (int i = end; i < chunk->end; ++i) FrameRef::Drop(chunk->frames[i]);
    chunk->end = static_cast<uint16_t>(end);
  }
  if (last == nullptr) {
    Clear();
    return;
  }
  for (Chunk* chunk = std::exchange(last->next, nullptr); chunk != nullptr;) {
    for (int i = chunk->begin; i < chunk->end; ++i) FrameRef::Drop(chunk->frames[i]);
    FreeChunk(std::exchange(chunk, chunk->next));
  }
  last_ = last;
  bytes_ = static_cast<uint32_t>(kept);
}

size_t Outbox::Gather(char* buffer, size_t room) const {
  size_t gathered = 0;
  size_t skip = sent_;
  for (const Chunk* chunk = first_; chunk != nullptr; chunk = chunk->next) {
    for (int i = chunk->begin; i < chunk->end; ++i) {
      const std::string_view wire = chunk->frames[i]->wire().substr(skip);
      skip = 0;
      const size_t taken = std::min(wire.size(), room - gathered);
      std::memcpy(buffer + gathered, wire.data(), taken);
      gathered += taken;
      if (taken < wire.size()) return gathered;
    }
  }
  return gathered;
}

std::string_view Outbox::Front() const { return first_->frames[first_->begin]->wire().substr(sent_); }

bool Outbox::HasOne() const {
  return first_ != nullptr && first_ == last_ && first_->end - first_->begin == 1;
}

void Outbox::Consume(size_t sent) {
  bytes_ -= static_cast<uint32_t>(sent);
  size_t left = sent + sent_;
  while (first_ != nullptr) {
    Frame* frame = first_->frames[first_->begin];
    const size_t size = frame->wire().size();
    if (left < size) break;
    left -= size;
    FrameRef::Drop(frame);
    if (++first_->begin == first_->end) {
      FreeChunk(std::exchange(first_, first_->next));
      if (first_ == nullptr) last_ = nullptr;
    }
  }
  sent_ = static_cast<uint32_t>(left);
}

}  // namespace muster::push
