// A small pool of threads that sleep until there is work.
//
// Why not OpenMP: its threads spin after each loop, which takes the processor from MindSpore's own threads, and a process
// forked after its first loop (a data worker) hangs at the next one.
#pragma once

#include <cstdint>
#include <functional>

namespace yolox {

// Sets how many threads `parallel_for` uses, the calling one included. Takes effect at the next call.
void set_thread_count(int count);
int thread_count();

// Calls body(i) once for each i in [0, count), on this thread and those of the pool, and returns when all are done.
// Which thread takes which i is not fixed. Results are the same bits nevertheless, and for any number of threads, because
// each i writes memory of its own and sums in an order of its own: there is no reduction across threads in this library.
// `work` estimates the multiplications of the whole loop: a small loop stays on the calling thread, which is faster than
// waking another. A call from two threads at once is correct: the second one runs its loop alone.
void parallel_for(int64_t count, int64_t work, const std::function<void(int64_t)> &body);

}  // namespace yolox
