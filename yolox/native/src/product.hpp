// What the dense convolutions share: padded planes, and the inner loop of their matrix products.
#pragma once

#include <algorithm>

#include "kernels.hpp"
#include "lanes.hpp"
#include "threads.hpp"

namespace yolox::YOLOX_ISA {

// 16 sums of AVX-512 or NEON (32 registers), 12 of AVX2 (16 registers): enough to hide the latency of a multiplication, few
// enough to leave registers for what is multiplied.
constexpr bool MANY_REGISTERS = LANES != 8;
constexpr int MR = MANY_REGISTERS ? 8 : 4;
constexpr int NV = MANY_REGISTERS ? 2 : 3;
constexpr int NR = NV * LANES;

inline int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Planes to be read by taps. Part (r, q) of a plane has the padded rows r, r + stride, ... and columns q, q + stride, ...
struct Planes {
  const float *data;
  int64_t row, plane, image, end;  // floats of a row, a plane and an image; where the readable memory ends, from `data`
};

// Sizes of padded planes: `rows` and `row` of each of the stride * stride parts.
struct Padding {
  int64_t before, stride, rows, row;
  int64_t plane() const { return stride * stride * rows * row; }
};

// Copies `count` planes of height x width, of which `channels` make an image, with `before` zeros above and to the left.
// The result lies in `scratch(slot)`. NR zeros stand behind it, as a tile reads NR columns from any column of the last
// plane.
inline Planes pad(const float *from, int64_t count, int64_t channels, int64_t height, int64_t width, const Padding &p,
                  int slot) {
  const int64_t plane = p.plane(), slack = NR;
  float *memory = scratch(slot, count * plane + slack);
  std::fill(memory + count * plane, memory + count * plane + slack, 0.0f);
  parallel_for(count, count * plane, [&](int64_t i) {
    float *to = memory + i * plane;
    std::fill(to, to + plane, 0.0f);
    for (int64_t y = 0; y < std::min(height, p.rows * p.stride - p.before); ++y) {
      const float *line = from + (i * height + y) * width;
      const int64_t Y = y + p.before, columns = std::min(width, p.row * p.stride - p.before);
      float *row = to + (Y % p.stride * p.stride) * p.rows * p.row + Y / p.stride * p.row;
      if (p.stride == 1)
        std::copy(line, line + columns, row + p.before);
      else
        for (int64_t q = 0; q < 2; ++q) {
          const int64_t first = (p.before + q) % 2, count = (columns - first + 1) / 2;
          float *part = row + q * p.rows * p.row + (first + p.before) / 2;
          for (int64_t k = 0; k < count; ++k) part[k] = line[first + 2 * k];
        }
    }
  });
  return {memory, p.row, plane, channels * plane, count * plane + slack};
}

// MR results of NR columns, into rows of `to`, which hold the sums of earlier channels or nothing yet (`fresh`). The sums
// stay in registers; each step reads NV vectors and MR weights.
inline void product_tile(const float *source, int64_t plane, int64_t channels, const int64_t *offset, int taps,
                         const float *weights, bool fresh, float *to, int64_t row) {
  Lanes total[MR][NV];
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) total[i][j] = fresh ? Lanes{} : load(to + i * row + j * LANES);
  for (int64_t c = 0; c < channels; ++c, source += plane)
    for (int t = 0; t < taps; ++t, weights += MR) {
      const float *from = source + offset[t];
      Lanes x[NV];
      for (int j = 0; j < NV; ++j) x[j] = load(from + j * LANES);
      for (int i = 0; i < MR; ++i)
        for (int j = 0; j < NV; ++j) total[i][j] += weights[i] * x[j];
    }
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) store(to + i * row + j * LANES, total[i][j]);
}

}  // namespace yolox::YOLOX_ISA
