// Coroutines that run on one Loop. A Task starts when it is awaited (or spawned) and belongs to whoever
// awaits it.
//
// One `co_await` a statement, its arguments named on the lines above: GCC 12 destroys a braced temporary, or
// a lambda turned into a std::function, inside a co_await expression twice.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace muster::net {

template <class T>
class Task;

namespace internal {

struct FinalAwaiter {
  bool await_ready() noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) noexcept {
    const std::coroutine_handle<> next = done.promise().continuation;
    return next ? next : std::noop_coroutine();
  }
  void await_resume() noexcept {}
};

struct PromiseBase {
  std::coroutine_handle<> continuation;
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() { std::terminate(); }  // muster reports errors as values.
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T Take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void Take() {}
};

}  // namespace internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    handle_.promise().continuation = awaiting;
    return handle_;
  }
  T await_resume() { return handle_.promise().Take(); }

 private:
  Handle handle_;
};

namespace internal {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// The coroutines of this thread that nobody awaits and that haven't ended. Whoever waits for what never comes
// would otherwise be forgotten with all that it holds.
class Roots {
 public:
  class Root {
   public:
    Root() : next_(Roots::first_), before_(&Roots::first_) {
      if (next_) next_->before_ = &next_;
      Roots::first_ = this;
    }
    ~Root() {
      *before_ = next_;
      if (next_) next_->before_ = before_;
    }
    Root(const Root&) = delete;
    virtual void Destroy() = 0;

   private:
    Root* next_;
    Root** before_;
  };
  static Root* first() { return first_; }

 private:
  static inline thread_local Root* first_ = nullptr;
};

// A coroutine nobody awaits: it frees itself at its end.
struct Detached {
  struct promise_type final : Roots::Root {
    void Destroy() override { std::coroutine_handle<promise_type>::from_promise(*this).destroy(); }
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

}  // namespace internal

// A value that somebody else delivers later. Copies share it. Set once, awaited by one task, on one loop.
// Setting it before or after the await both work; the awaiting task goes on inside `Set`.
template <class T>
class Promised {
 public:
  bool set() const { return state_->value.has_value(); }
  void Set(T value) const {
    if (state_->value) return;  // The first answer counts: an answer races with its deadline.
    state_->value.emplace(std::move(value));
    if (auto waiting = std::exchange(state_->waiting, nullptr)) waiting.resume();
  }

  auto operator co_await() const noexcept { return Awaiter(state_.get()); }

 private:
  struct State {
    std::optional<T> value;
    std::coroutine_handle<> waiting;
  };
  class Awaiter {
   public:
    explicit Awaiter(State* state) : state_(state) {}
    Awaiter(const Awaiter&) = delete;
    // A task that is ended while it waits isn't resumed by who delivers later.
    ~Awaiter() {
      if (waits_) state_->waiting = nullptr;
    }
    bool await_ready() const noexcept { return state_->value.has_value(); }
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
      waits_ = true;
      state_->waiting = waiting;
    }
    T await_resume() {
      waits_ = false;
      return std::move(*state_->value);
    }

   private:
    State* state_;  // kept by the Promised that is awaited
    bool waits_ = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Starts `task` at once, on the caller's loop; it runs until its first wait before this returns.
inline void Spawn(Task<void> task) {
  [](Task<void> owned) -> internal::Detached { co_await owned; }(std::move(task));
}

// The same, and hands the outcome to `then`.
template <class T, class Then>
void SpawnThen(Task<T> task, Then then) {
  [](Task<T> owned, Then owned_then) -> internal::Detached {
    T value = co_await owned;
    owned_then(std::move(value));
  }(std::move(task), std::move(then));
}

}  // namespace muster::net
