// What a training step does with all parameters at once: sums of the gradients, the update of SGD, and moving averages.
//
// One call has the tensors of the whole detector, because hundreds of small operators take longer to compile and to start
// than to compute. These loops wait for memory: each reads and writes every number once.
#include <algorithm>
#include <vector>

#include "kernels.hpp"
#include "lanes.hpp"
#include "threads.hpp"

namespace yolox::YOLOX_ISA {
namespace {

constexpr int64_t CHUNK = 16384;  // elements of one task of an update: 64 KB of each tensor
constexpr int64_t BLOCK = 4096;   // elements that are summed in float before they are joined in double

// Calls body(tensor, begin, end, offset) for pieces of all tensors, on all threads; `offset` is where the piece begins when the
// tensors lie end to end.
template <class Body>
void for_chunks(const TensorSizes &sizes, const Body &body) {
  struct Chunk {
    int tensor;
    int64_t begin, end, offset;
  };
  std::vector<Chunk> chunks;
  int64_t offset = 0;
  for (int t = 0; t < sizes.count; ++t) {
    for (int64_t begin = 0; begin < sizes.elements[t]; begin += CHUNK)
      chunks.push_back({t, begin, std::min(begin + CHUNK, sizes.elements[t]), offset + begin});
    offset += sizes.elements[t];
  }
  parallel_for(static_cast<int64_t>(chunks.size()), 4 * offset, [&](int64_t i) {
    const Chunk &c = chunks[i];
    body(c.tensor, c.begin, c.end, c.offset);
  });
}

}  // namespace

// A sum that is not finite shows that an element is not. One task is a whole tensor: one thread makes its sum, in one order.
void tensor_sums(const TensorSizes &sizes, void *const *tensors, float *sums) {
  int64_t all = 0;
  for (int t = 0; t < sizes.count; ++t) all += sizes.elements[t];
  parallel_for(sizes.count, all, [&](int64_t t) {
    const float *x = static_cast<const float *>(tensors[t]);
    double total = 0;
    for (int64_t begin = 0; begin < sizes.elements[t]; begin += BLOCK) {
      const int64_t end = std::min(begin + BLOCK, sizes.elements[t]);
      Lanes a{}, b{}, c{}, d{};  // four sums: one would wait for each addition before it
      int64_t i = begin;
      for (; i + 4 * LANES <= end; i += 4 * LANES) {
        a += load(x + i);
        b += load(x + i + LANES);
        c += load(x + i + 2 * LANES);
        d += load(x + i + 3 * LANES);
      }
      float rest = 0;
      for (; i < end; ++i) rest += x[i];
      total += sum((a + b) + (c + d)) + rest;
    }
    sums[t] = static_cast<float>(total);
  });
}

void sgd_update(const TensorSizes &sizes, const SgdSettings &s, void *const *params, void *const *momenta,
                void *const *gradients) {
  for_chunks(sizes, [&](int t, int64_t begin, int64_t end, int64_t) {
    float *p = static_cast<float *>(params[t]), *v = static_cast<float *>(momenta[t]);
    const float *g = static_cast<const float *>(gradients[t]);
    const float decay = sizes.ranks[t] == 4 ? s.decay : 0.0f;  // weights of convolutions only, as `has_weight_decay`
    const float rate = s.rate, momentum = s.momentum;
    for (int64_t i = begin; i < end; ++i) {
      const float decayed = g[i] + decay * p[i];
      v[i] = momentum * v[i] + decayed;
      p[i] -= rate * (decayed + momentum * v[i]);
    }
  });
}

// Written as a difference, so that equal numbers stay equal, from the nearer end, so that it is exact at decay 0 and 1.
void average_update(const TensorSizes &sizes, float decay, void *const *tensors, float *average) {
  for_chunks(sizes, [&](int t, int64_t begin, int64_t end, int64_t offset) {
    const float *x = static_cast<const float *>(tensors[t]) + begin;
    float *to = average + offset;
    const float kept = decay, share = 1.0f - decay;
    if (share < 0.5f)
      for (int64_t i = 0; i < end - begin; ++i) to[i] += share * (x[i] - to[i]);
    else
      for (int64_t i = 0; i < end - begin; ++i) to[i] = x[i] - kept * (x[i] - to[i]);
  });
}

}  // namespace yolox::YOLOX_ISA
