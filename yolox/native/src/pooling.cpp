// Maxima over 5x5 windows at stride 1, whose border counts as minus infinity, and their gradient.
//
// The maximum of a window is that of its rows' maxima. One task is one plane. The place of a maximum is not stored but searched
// again in the backward pass, as reading it from memory would take as long. Of equal numbers the first one in the order of
// rows gets the gradient, as in MindSpore and torch.
#include <algorithm>
#include <vector>

#include "kernels.hpp"
#include "threads.hpp"

namespace yolox::YOLOX_ISA {
namespace {

constexpr int64_t REACH = 2;  // pixels on each side

// NaN is larger than every number, so that it is not lost.
inline bool larger(float a, float b) { return a > b || a != a; }

// For each pixel the column of the first maximum of its part of the row.
void row_maxima(const float *row, int64_t width, int32_t *columns) {
  for (int64_t x = 0; x < width; ++x) {
    int64_t best = std::max<int64_t>(x - REACH, 0);
    const int64_t end = std::min(x + REACH + 1, width);
    for (int64_t i = best + 1; i < end; ++i)
      if (larger(row[i], row[best])) best = i;
    columns[x] = static_cast<int32_t>(best);
  }
}

// Calls body(pixel, place of its maximum) for each pixel of a plane, in order.
template <class Body>
void for_maxima(int64_t height, int64_t width, const float *plane, const Body &body) {
  std::vector<int32_t> columns(height * width);
  for (int64_t y = 0; y < height; ++y) row_maxima(plane + y * width, width, columns.data() + y * width);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t first = std::max<int64_t>(y - REACH, 0), end = std::min(y + REACH + 1, height);
    for (int64_t x = 0; x < width; ++x) {
      int64_t best = first * width + columns[first * width + x];
      for (int64_t row = first + 1; row < end; ++row) {
        const int64_t place = row * width + columns[row * width + x];
        if (larger(plane[place], plane[best])) best = place;
      }
      body(y * width + x, best);
    }
  }
}

}  // namespace

void max_pool_forward(const PlaneSizes &s, const float *x, float *y) {
  const int64_t size = s.height * s.width;
  parallel_for(s.planes, 10 * s.planes * size, [&](int64_t p) {
    const float *from = x + p * size;
    float *to = y + p * size;
    for_maxima(s.height, s.width, from, [&](int64_t pixel, int64_t place) { to[pixel] = from[place]; });
  });
}

void max_pool_backward(const PlaneSizes &s, const float *x, const float *dy, float *dx) {
  const int64_t size = s.height * s.width;
  parallel_for(s.planes, 10 * s.planes * size, [&](int64_t p) {
    const float *gradient = dy + p * size;
    float *to = dx + p * size;
    std::fill(to, to + size, 0.0f);
    for_maxima(s.height, s.width, x + p * size, [&](int64_t pixel, int64_t place) { to[place] += gradient[pixel]; });
  });
}

}  // namespace yolox::YOLOX_ISA
