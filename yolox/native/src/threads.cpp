#include "threads.hpp"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace yolox {
namespace {

// Below this many multiplications a loop takes about as long as waking a thread (some 20 microseconds).
constexpr int64_t SMALL_WORK = 100000;

class Pool {
 public:
  // Takes the loop and returns true, or returns false at once when another loop runs.
  bool run(int64_t count, int helpers, const std::function<void(int64_t)> &body) {
    std::unique_lock<std::mutex> only_one(busy_, std::try_to_lock);
    if (!only_one.owns_lock()) return false;
    start_threads(helpers);
    {
      std::lock_guard<std::mutex> guard(lock_);
      body_ = &body;
      count_ = count;
      next_.store(0);
      wanted_ = helpers;
      active_ = 0;
      ++round_;
    }
    wake_.notify_all();
    take_indices();
    // No index is left. A helper that has not woken yet must not join any more (wanted_ = 0): its `body` is about to go.
    std::unique_lock<std::mutex> guard(lock_);
    wanted_ = 0;
    done_.wait(guard, [this] { return active_ == 0; });
    body_ = nullptr;
    return true;
  }

 private:
  // Where the system gives no more threads, the caller and those that are there do the work.
  void start_threads(int helpers) {
    try {
      for (; started_ < helpers; ++started_) std::thread([this] { serve(); }).detach();
    } catch (const std::system_error &) {
    }
  }

  // The life of a helper: sleep, join a round, take indices until none is left.
  void serve() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> guard(lock_);
    for (;;) {
      wake_.wait(guard, [&] { return round_ != seen && wanted_ > 0; });
      seen = round_;
      --wanted_;
      ++active_;
      guard.unlock();
      take_indices();
      guard.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  void take_indices() {
    for (int64_t i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) (*body_)(i);
  }

  std::mutex busy_;  // held by the caller whose loop runs
  std::mutex lock_;  // guards what follows but next_
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)> *body_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  uint64_t round_ = 0;
  int wanted_ = 0;   // helpers that may still join this round
  int active_ = 0;   // helpers inside this round
  int started_ = 0;  // threads of the pool; they never end, as those of MindSpore
};

// Never freed: its threads wait in it until the process ends.
std::atomic<Pool *> pool{nullptr};
std::atomic<int> threads{1};

// A forked process has only the thread that called fork. It forgets the pool (a few hundred bytes stay behind) and
// starts threads of its own at its first loop.
void forget_pool() { pool.store(new Pool); }

Pool *the_pool() {
  static const bool registered = [] {
    pool.store(new Pool);
    pthread_atfork(nullptr, nullptr, forget_pool);
    return true;
  }();
  (void)registered;
  return pool.load();
}

}  // namespace

void set_thread_count(int count) { threads.store(count < 1 ? 1 : count); }

int thread_count() { return threads.load(); }

void parallel_for(int64_t count, int64_t work, const std::function<void(int64_t)> &body) {
  const int64_t helpers = (threads.load() < count ? threads.load() : count) - 1;
  if (helpers > 0 && work > SMALL_WORK && the_pool()->run(count, static_cast<int>(helpers), body)) return;
  for (int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace yolox
