// Convolutions of 3x3 at stride 1 by Winograd's F(2x2, 3x3) (Lavin and Gray, "Fast algorithms for convolutional neural
// networks", 2016): with tiles d of 4x4 pixels, which overlap by two, and 2x2 results each,
//
//   y = A' [ sum over channels of (G g G') * (B' d B) ] A        * is the product of elements, ' the transpose
//
//        1  0 -1  0          1   0   0          1  0
//   B' = 0  1  1  0     G =  1/2 1/2 1/2    A = 1  1
//        0 -1  1  0          1/2 -1/2 1/2       1 -1
//        0  1  0 -1          0   0   1          0 -1
//
// Each of the 16 places of a tile is then a matrix product of its own over channels. Rounding is a few times that of the
// direct sum, as B and A only add and subtract, and the factors of G are exact.
//
// The planes are padded and sorted by parity of row and column (`pad` with stride 2), so that pixel (i, j) of neighbouring
// tiles lies in neighbouring memory. Tiles are counted along whole rows of these planes ("columns", as in convolution.cpp);
// those beyond the width are computed and not stored.
//
// One task is a group of columns of one image with all results. It transforms the pixels of all channels once, and one call
// of `product_tile` makes the sum over channels of a place and a tile, in order: no sum is shared between threads, and one
// thread runs the tasks one after the other, to the same bits. A number that is not finite spreads over the 2x2 results of
// its tiles.
//
// The forward pass and the gradient of the input take this way. The gradient of the weight was tried, too: its transforms
// took what the products saved.
#include "winograd.hpp"

#include "product.hpp"

namespace yolox::YOLOX_ISA {
namespace {

constexpr int PLACES = 16;

struct Tiles {
  int64_t rows, width, row;  // tiles of a column and a row of the result, and of a row of the padded plane
  Padding padding;
  explicit Tiles(const WinogradSizes &s) : rows(divide_up(s.height, 2)), width(divide_up(s.width, 2)), row(width + 1) {
    padding = {1, 2, rows + 1, row};
  }
  int64_t columns() const { return (rows - 1) * row + width; }
  // Where pixel (i, j) of the first tile lies in a padded plane.
  int64_t pixel(int i, int j) const { return (i % 2 * 2 + j % 2) * padding.rows * row + i / 2 * row + j / 2; }
};

constexpr int64_t CACHED = 1 << 18;  // floats: 1 MB, half of a second-level cache of 2 MB
constexpr int64_t TOGETHER = 4;      // tiles that read the same weights one after the other, as in convolution.cpp

// Tiles of NR columns of one task: as many as keep the transformed pixels of all channels in the second-level cache, but
// not so many that a thread has no task.
int64_t tiles_together(const WinogradSizes &s, int64_t count) {
  const int64_t fit = std::min(CACHED / (PLACES * NR * s.channels), s.batch * count / (2 * thread_count()));
  return std::clamp<int64_t>(fit, 1, TOGETHER);
}

// Writes B' d B of NR columns of one channel: place p goes to to[p * step].
void transform_pixels(const Tiles &tiles, const float *plane, float *to, int64_t step) {
  for (int v = 0; v < NR; v += LANES) {
    Lanes d[4][4], t[4][4];
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) d[i][j] = load(plane + tiles.pixel(i, j) + v);
    for (int j = 0; j < 4; ++j) {
      t[0][j] = d[0][j] - d[2][j];
      t[1][j] = d[1][j] + d[2][j];
      t[2][j] = d[2][j] - d[1][j];
      t[3][j] = d[1][j] - d[3][j];
    }
    for (int i = 0; i < 4; ++i) {
      float *place = to + 4 * i * step + v;
      store(place, t[i][0] - t[i][2]);
      store(place + step, t[i][1] + t[i][2]);
      store(place + 2 * step, t[i][2] - t[i][1]);
      store(place + 3 * step, t[i][1] - t[i][3]);
    }
  }
}

// Weights G g G' in the order in which tiles read them: [blocks of MR results][PLACES][channels][MR], zeros past the last
// result.
const float *transform_weights(const WinogradSizes &s, const float *weight, int slot) {
  const int64_t blocks = divide_up(s.results, MR);
  float *packed = scratch(slot, blocks * PLACES * s.channels * MR);
  parallel_for(blocks, blocks * PLACES * s.channels * MR, [&](int64_t block) {
    float *to = packed + block * PLACES * s.channels * MR;
    for (int64_t c = 0; c < s.channels; ++c) {
      float g[3][3][MR], t[4][3][MR];
      for (int i = 0; i < MR; ++i) {
        const int64_t m = block * MR + i;
        const float *from = weight + m * s.result_stride + c * s.channel_stride;
        for (int k = 0; k < 9; ++k) g[k / 3][k % 3][i] = m < s.results ? from[s.turned ? 8 - k : k] : 0.0f;
      }
      for (int k = 0; k < 3; ++k)
        for (int i = 0; i < MR; ++i) {
          t[0][k][i] = g[0][k][i];
          t[1][k][i] = 0.5f * (g[0][k][i] + g[1][k][i] + g[2][k][i]);
          t[2][k][i] = 0.5f * (g[0][k][i] - g[1][k][i] + g[2][k][i]);
          t[3][k][i] = g[2][k][i];
        }
      for (int k = 0; k < 4; ++k) {
        float *place = to + (4 * k * s.channels + c) * MR;
        for (int i = 0; i < MR; ++i) {
          place[i] = t[k][0][i];
          place[s.channels * MR + i] = 0.5f * (t[k][0][i] + t[k][1][i] + t[k][2][i]);
          place[2 * s.channels * MR + i] = 0.5f * (t[k][0][i] - t[k][1][i] + t[k][2][i]);
          place[3 * s.channels * MR + i] = t[k][2][i];
        }
      }
    }
  });
  return packed;
}

// A' m A of LANES columns, each place `step` after the one before, into rows[a][2 * column + b].
void transform_results(const float *sums, int64_t step, float (*rows)[2 * NR], int at) {
  Lanes t[2][4];
  for (int j = 0; j < 4; ++j) {
    const Lanes m0 = load(sums + j * step), m1 = load(sums + (4 + j) * step);
    const Lanes m2 = load(sums + (8 + j) * step), m3 = load(sums + (12 + j) * step);
    t[0][j] = m0 + m1 + m2;
    t[1][j] = m1 - m2 - m3;
  }
  for (int a = 0; a < 2; ++a) {
    const Lanes even = t[a][0] + t[a][1] + t[a][2], odd = t[a][1] - t[a][2] - t[a][3];
    for (int k = 0; k < LANES; ++k) {
      rows[a][2 * (at + k)] = even[k];
      rows[a][2 * (at + k) + 1] = odd[k];
    }
  }
}

// Puts the results of the columns [first, first + NR) into the plane and drops those past its height and width.
void store_results(const WinogradSizes &s, const Tiles &tiles, int64_t first, const float (*rows)[2 * NR], float *plane) {
  const int64_t last = std::min(first + NR, tiles.columns());
  for (int64_t n = first; n < last;) {
    const int64_t y = n / tiles.row, x = n % tiles.row, next = std::min(last, n - x + tiles.row);
    const int64_t count = std::min(2 * (next - n), s.width - 2 * x);
    for (int64_t a = 0; a < 2 && count > 0 && 2 * y + a < s.height; ++a)
      std::copy_n(rows[a] + 2 * (n - first), count, plane + (2 * y + a) * s.width + 2 * x);
    n = next;
  }
}

}  // namespace

void winograd(const WinogradSizes &s, const float *x, const float *weight, float *y) {
  const Tiles tiles(s);
  const Planes planes = pad(x, s.batch * s.channels, s.channels, s.height, s.width, tiles.padding, 0);
  const float *packed = transform_weights(s, weight, 1);
  const int64_t blocks = divide_up(s.results, MR), count = divide_up(tiles.columns(), NR), pixels = s.height * s.width;
  const int64_t together = std::min(tiles_together(s, count), count), groups = divide_up(count, together);
  const int64_t pixel_step = together * s.channels * NR, sum_step = together * MR * NR, no_offset[1] = {0};
  parallel_for(s.batch * groups, s.batch * count * NR * PLACES * s.channels * s.results, [&](int64_t task) {
    const int64_t image = task / groups, start = task % groups * together, used = std::min(together, count - start);
    float *transformed = scratch(2, PLACES * (pixel_step + sum_step)), *sums = transformed + PLACES * pixel_step;
    for (int64_t k = 0; k < used; ++k)
      for (int64_t c = 0; c < s.channels; ++c)
        transform_pixels(tiles, planes.data + image * planes.image + c * planes.plane + (start + k) * NR,
                         transformed + (k * s.channels + c) * NR, pixel_step);
    for (int64_t m = 0; m < blocks; ++m) {
      for (int p = 0; p < PLACES; ++p)
        for (int64_t k = 0; k < used; ++k)
          product_tile(transformed + p * pixel_step + k * s.channels * NR, NR, s.channels, no_offset, 1,
                       packed + (m * PLACES + p) * s.channels * MR, true, sums + p * sum_step + k * MR * NR, NR);
      for (int64_t k = 0; k < used; ++k)
        for (int64_t i = 0; i < std::min<int64_t>(MR, s.results - m * MR); ++i) {
          float rows[2][2 * NR];
          for (int v = 0; v < NR; v += LANES) transform_results(sums + (k * MR + i) * NR + v, sum_step, rows, v);
          store_results(s, tiles, (start + k) * NR, rows, y + ((image * s.results + m * MR + i) * pixels));
        }
    }
  });
}

}  // namespace yolox::YOLOX_ISA
