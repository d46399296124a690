// Dense convolution, forward and backward, for kernels of 1x1 and 3x3 at stride 1 and 2.
//
// Every one of the three computations is a matrix product whose large matrix is never written out. The planes of the source
// (one channel of one image) are copied with zeros around them, sorted by row and column modulo the stride:
//
//   stride 2:  x00 x01 x02 x03     x00 x02 | x01 x03
//              x10 x11 x12 x13 ->  --------+--------
//                                  x10 x12 | x11 x13
//
// Then a tap of the kernel is an offset into the plane, the same for every output, and neighbouring outputs read neighbouring
// memory. Outputs are counted along whole rows of the padded plane ("columns" below), so that a vector may cross the end of a
// row; the columns beyond the width of the result are computed and not stored. A 1x1 kernel at stride 1 needs no copy.
//
// Forward, and the gradient of the input (a forward convolution of the gradient with turned weights), hold MR results by
// NV vectors of columns in registers and run through all channels and taps (`product_tile`); 3x3 at stride 1 with many channels
// goes to winograd.cpp instead. The gradient of a 3x3 weight
// holds nine taps by NV vectors of output channels and runs through all columns (`add_taps`); that of a 1x1 weight is a
// table of dot products of planes (`add_dots`). No sum is shared between threads.
#include <vector>

#include "product.hpp"
#include "winograd.hpp"

namespace yolox::YOLOX_ISA {
namespace {

constexpr int TILES = 4;                    // tiles of columns that read the same weights one after the other
constexpr int WV = MANY_REGISTERS ? 2 : 1;  // vectors of output channels in `add_taps`
constexpr int WIDTH = WV * LANES;
constexpr int DOT_OUT = MANY_REGISTERS ? 4 : 3, DOT_IN = MANY_REGISTERS ? 5 : 3;
constexpr int64_t CHUNK = 256;              // columns whose gradient stays in the first-level cache
constexpr int MAX_TAPS = 9;

// Channels whose planes stay in the first-level cache (32 KB and more) while all results of TILES tiles read them: a tap needs
// TILES * NR floats of a channel; the taps of a row share theirs.
int64_t channels_together(int taps) { return taps == 1 ? 48 : 16; }

// A matrix product: result m of column n is the sum over channels c and taps t of weights[m][c][t] * source[c][n + offset[t]].
// Column n = y * source.row + x is stored at row y * step + top and column x * step + left of plane m.
struct Product {
  Planes source;
  int64_t channels, results;
  int taps;
  int64_t offset[MAX_TAPS];
  int64_t rows, width;  // of the columns that are stored
  float *to;
  int64_t to_row, to_plane, step, top, left;
  int64_t columns() const { return (rows - 1) * source.row + width; }
  // Full tiles of whole rows go to their place at once.
  bool plain() const { return step == 1 && to_row == width && source.row == width; }
};

// Weights in the order in which tiles read them: for each block of channels, for each MR results, [channels * taps][MR], with
// zeros past the last result.
template <typename Weight>
const float *pack_weights(const Product &p, int slot, Weight weight) {
  const int64_t blocks = divide_up(p.results, MR), together = channels_together(p.taps);
  float *packed = scratch(slot, blocks * MR * p.channels * p.taps);
  parallel_for(blocks, blocks * MR * p.channels * p.taps, [&](int64_t block) {
    for (int64_t first = 0; first < p.channels; first += together) {
      const int64_t last = std::min(first + together, p.channels);
      float *to = packed + (first * blocks + (last - first) * block) * p.taps * MR;
      for (int64_t c = first; c < last; ++c)
        for (int t = 0; t < p.taps; ++t)
          for (int i = 0; i < MR; ++i, ++to) {
            const int64_t m = block * MR + i;
            *to = m < p.results ? weight(m, c, t) : 0.0f;
          }
    }
  });
  return packed;
}

// Puts the columns [first, first + NR) of some results where they belong and drops those past the width.
void store_columns(const Product &p, int64_t first, int64_t results, const float *tile, float *to) {
  const int64_t last = std::min(first + NR, p.columns());
  for (int64_t n = first; n < last;) {
    const int64_t y = n / p.source.row, x = n % p.source.row;
    const int64_t count = std::min(last - n, std::max<int64_t>(p.width - x, 0));
    for (int64_t i = 0; i < results && count > 0; ++i) {
      float *row = to + i * p.to_plane + (y * p.step + p.top) * p.to_row + x * p.step + p.left;
      const float *from = tile + i * NR + (n - first);
      if (p.step == 1)
        std::copy(from, from + count, row);
      else
        for (int64_t k = 0; k < count; ++k) row[k * p.step] = from[k];
    }
    n += std::max<int64_t>(std::min(last - n, p.source.row - x), 1);
  }
}

// One task is a few tiles of columns of one image, with all results, block of channels after block of channels.
void multiply(const Product &p, const float *packed, int64_t batch) {
  const int64_t tiles = divide_up(p.columns(), NR), blocks = divide_up(p.results, MR), block = channels_together(p.taps);
  const int64_t together = std::clamp<int64_t>(batch * tiles / (4 * thread_count()), 1, TILES);
  const int64_t groups = divide_up(tiles, together);
  parallel_for(batch * groups, batch * tiles * NR * p.channels * p.taps * p.results, [&](int64_t task) {
    const int64_t image = task / groups, start = task % groups * together, stop = std::min(start + together, tiles);
    const float *source = p.source.data + image * p.source.image;
    float *result = p.to + image * p.results * p.to_plane;
    float *sums = scratch(2, TILES * blocks * MR * NR);
    std::vector<float> tail;  // the last columns of a 1x1 source, which has nothing behind it that may be read
    const int64_t read = (p.channels - 1) * p.source.plane + p.offset[p.taps - 1] + stop * NR;
    if (image * p.source.image + read > p.source.end) {
      const int64_t first = (stop - 1) * NR, left = p.columns() - first;
      tail.resize(p.channels * NR);
      for (int64_t c = 0; c < p.channels; ++c)
        std::copy_n(source + c * p.source.plane + first, left, tail.data() + c * NR);
    }
    for (int64_t c = 0; c < p.channels; c += block) {
      const int64_t channels = std::min(block, p.channels - c);
      for (int64_t m = 0; m < blocks; ++m)
        for (int64_t k = start; k < stop; ++k) {
          const float *weights = packed + (c * blocks + channels * m) * p.taps * MR;
          const bool in_tail = !tail.empty() && k == stop - 1;
          const int64_t plane = in_tail ? NR : p.source.plane;
          const float *from = (in_tail ? tail.data() : source + k * NR) + c * plane;
          // A full tile of whole rows grows where it belongs, any other one in scratch memory.
          const bool there = p.plain() && (k + 1) * NR <= p.columns() && (m + 1) * MR <= p.results;
          float *to = there ? result + m * MR * p.to_plane + k * NR : sums + ((k - start) * blocks + m) * MR * NR;
          product_tile(from, plane, channels, p.offset, p.taps, weights, c == 0, to, there ? p.to_plane : NR);
          if (!there && c + channels == p.channels)
            store_columns(p, k * NR, std::min<int64_t>(MR, p.results - m * MR), to, result + m * MR * p.to_plane);
        }
    }
  });
}

// Offsets of all taps of a kernel into planes that are padded for it.
void set_taps(const Padding &p, int kernel, int64_t (&offset)[MAX_TAPS]) {
  for (int ky = 0; ky < kernel; ++ky)
    for (int kx = 0; kx < kernel; ++kx) {
      const int64_t part = ky % p.stride * p.stride + kx % p.stride;
      offset[ky * kernel + kx] = part * p.rows * p.row + ky / p.stride * p.row + kx / p.stride;
    }
}

// The source of the forward pass, as all taps read it.
Planes input_planes(const ConvolutionSizes &s, const Padding &p, const float *x, int slot) {
  const int64_t plane = s.height * s.width, planes = s.batch * s.in_channels;
  if (s.kernel == 1 && s.stride == 1) return {x, s.width, plane, s.in_channels * plane, planes * plane};
  return pad(x, planes, s.in_channels, s.height, s.width, p, slot);
}

Padding input_padding(const ConvolutionSizes &s) {
  const int64_t reach = (s.kernel - 1) / s.stride;
  return {(s.kernel - 1) / 2, s.stride, s.out_height + reach, s.out_width + reach};
}

// dy as a matrix of columns, output channels in the rows: [panels][batch][columns][WIDTH], zeros where there is no output.
float *transpose_gradient(const ConvolutionSizes &s, int64_t row, const float *dy, int slot) {
  const int64_t panels = divide_up(s.out_channels, WIDTH), columns = s.out_height * row, out = s.out_height * s.out_width;
  float *turned = scratch(slot, panels * s.batch * columns * WIDTH);
  parallel_for(panels * s.batch * s.out_height, panels * s.batch * columns * WIDTH, [&](int64_t i) {
    const int64_t panel = i / (s.batch * s.out_height), image = i / s.out_height % s.batch, y = i % s.out_height;
    float *to = turned + ((panel * s.batch + image) * columns + y * row) * WIDTH;
    const int64_t channels = std::min<int64_t>(WIDTH, s.out_channels - panel * WIDTH);
    const float *from = dy + (image * s.out_channels + panel * WIDTH) * out + y * s.out_width;
    std::fill(to, to + row * WIDTH, 0.0f);
    for (int64_t x = 0; x < s.out_width; x += LANES)  // a block of columns at a time, so that it stays in the first-level cache
      for (int64_t o = 0; o < channels; ++o)
        for (int64_t k = x; k < std::min<int64_t>(x + LANES, s.out_width); ++k) to[k * WIDTH + o] = from[o * out + k];
  });
  return turned;
}

// total[tap][o] += sum over columns of source[column + offset[tap]] * gradient[column][o]
template <int TAPS>
void add_taps(const float *source, const int64_t *offset, const float *gradient, int64_t columns, float *total) {
  Lanes sums[TAPS][WV] = {};
  const float *from[TAPS];
  for (int t = 0; t < TAPS; ++t) from[t] = source + offset[t];
  for (int64_t n = 0; n < columns; ++n, gradient += WIDTH) {
    Lanes d[WV];
    for (int j = 0; j < WV; ++j) d[j] = load(gradient + j * LANES);
    for (int t = 0; t < TAPS; ++t)
      for (int j = 0; j < WV; ++j) sums[t][j] += from[t][n] * d[j];
  }
  for (int t = 0; t < TAPS; ++t)
    for (int j = 0; j < WV; ++j) {
      float *to = total + t * WIDTH + j * LANES;
      store(to, load(to) + sums[t][j]);
    }
}

// One task is some input channels with one panel of output channels; each sum starts anew in each chunk of columns, which
// keeps rounding small.
template <int TAPS>
void weight_gradient_by_taps(const ConvolutionSizes &s, const float *x, const float *dy, float *dweight) {
  constexpr int64_t BLOCK = 8;
  const Padding padding = input_padding(s);
  const Planes planes = input_planes(s, padding, x, 0);
  int64_t offset[MAX_TAPS];
  set_taps(padding, s.kernel, offset);
  const int64_t columns = s.out_height * planes.row, used = columns - planes.row + s.out_width;
  const float *turned = transpose_gradient(s, planes.row, dy, 1);
  const int64_t blocks = divide_up(s.in_channels, BLOCK), panels = divide_up(s.out_channels, WIDTH);
  parallel_for(blocks * panels, s.batch * columns * s.in_channels * s.out_channels * TAPS, [&](int64_t task) {
    const int64_t panel = task / blocks, first = task % blocks * BLOCK, last = std::min(first + BLOCK, s.in_channels);
    float total[BLOCK * TAPS * WIDTH] = {};
    for (int64_t image = 0; image < s.batch; ++image)
      for (int64_t n = 0; n < used; n += CHUNK)
        for (int64_t c = first; c < last; ++c)
          add_taps<TAPS>(planes.data + image * planes.image + c * planes.plane + n, offset,
                         turned + ((panel * s.batch + image) * columns + n) * WIDTH, std::min(CHUNK, used - n),
                         total + (c - first) * TAPS * WIDTH);
    for (int64_t o = 0; o < std::min<int64_t>(WIDTH, s.out_channels - panel * WIDTH); ++o)
      for (int64_t c = first; c < last; ++c)
        for (int t = 0; t < TAPS; ++t)
          dweight[((panel * WIDTH + o) * s.in_channels + c) * TAPS + t] = total[((c - first) * TAPS + t) * WIDTH + o];
  });
}

// sums[o][c] += products of dy[o][column] and x[c][column], for DOT_OUT by DOT_IN planes; each lane sums its own columns.
void add_dots(const float *const *dy, const float *const *x, int64_t columns, Lanes (*sums)[DOT_IN]) {
  Lanes total[DOT_OUT][DOT_IN];
  for (int i = 0; i < DOT_OUT; ++i)
    for (int j = 0; j < DOT_IN; ++j) total[i][j] = sums[i][j];
  for (int64_t n = 0; n < columns; n += LANES) {
    const int64_t left = columns - n;
    Lanes d[DOT_OUT];
    for (int i = 0; i < DOT_OUT; ++i) d[i] = left < LANES ? load_part(dy[i] + n, left) : load(dy[i] + n);
    for (int j = 0; j < DOT_IN; ++j) {
      const Lanes v = left < LANES ? load_part(x[j] + n, left) : load(x[j] + n);
      for (int i = 0; i < DOT_OUT; ++i) total[i][j] += d[i] * v;
    }
  }
  for (int i = 0; i < DOT_OUT; ++i)
    for (int j = 0; j < DOT_IN; ++j) sums[i][j] = total[i][j];
}

// For 1x1 at stride 1. One task is a block of output channels by a block of input channels; a block that is not full computes
// its last channel several times.
void weight_gradient_by_dots(const ConvolutionSizes &s, const float *x, const float *dy, float *dweight) {
  constexpr int64_t OUT = 4 * DOT_OUT, IN = 4 * DOT_IN;
  const int64_t pixels = s.height * s.width, outs = divide_up(s.out_channels, OUT), ins = divide_up(s.in_channels, IN);
  parallel_for(outs * ins, s.batch * pixels * s.in_channels * s.out_channels, [&](int64_t task) {
    Lanes sums[OUT / DOT_OUT][IN / DOT_IN][DOT_OUT][DOT_IN] = {};
    const int64_t o0 = task / ins * OUT, c0 = task % ins * IN;
    const int64_t o1 = std::min(o0 + OUT, s.out_channels), c1 = std::min(c0 + IN, s.in_channels);
    for (int64_t image = 0; image < s.batch; ++image)
      for (int64_t n = 0; n < pixels; n += CHUNK)
        for (int64_t o = o0; o < o1; o += DOT_OUT)
          for (int64_t c = c0; c < c1; c += DOT_IN) {
            const float *d[DOT_OUT], *v[DOT_IN];
            for (int i = 0; i < DOT_OUT; ++i) d[i] = dy + (image * s.out_channels + std::min(o + i, o1 - 1)) * pixels + n;
            for (int j = 0; j < DOT_IN; ++j) v[j] = x + (image * s.in_channels + std::min(c + j, c1 - 1)) * pixels + n;
            add_dots(d, v, std::min(CHUNK, pixels - n), sums[(o - o0) / DOT_OUT][(c - c0) / DOT_IN]);
          }
    for (int64_t o = o0; o < o1; ++o)
      for (int64_t c = c0; c < c1; ++c) {
        const int64_t i = o - o0, j = c - c0;
        dweight[o * s.in_channels + c] = sum(sums[i / DOT_OUT][j / DOT_IN][i % DOT_OUT][j % DOT_IN]);
      }
  });
}

// Few channels do not pay for the transforms: 12 to 32 channels at 320x320 took as long both ways.
bool winograd_is_faster(const ConvolutionSizes &s) {
  return s.kernel == 3 && s.stride == 1 && s.in_channels >= 16 && s.out_channels >= 16;
}

// The taps of input rows (or columns) y = step * y' + phase: those k with y = step * oy + k - margin for a whole oy, which is
// y' + shift.
struct Taps {
  int count = 0, k[3];
  int64_t shift[3];
  Taps(int kernel, int64_t stride, int64_t phase) {
    const int64_t margin = (kernel - 1) / 2;
    for (int i = 0; i < kernel; ++i)
      if ((phase + margin - i) % stride == 0) {
        shift[count] = (phase + margin - i) / stride;
        k[count++] = i;
      }
  }
};

}  // namespace

void convolution_forward(const ConvolutionSizes &s, const float *x, const float *weight, float *y) {
  const int taps = s.kernel * s.kernel;
  if (winograd_is_faster(s))
    return winograd({s.batch, s.in_channels, s.out_channels, s.height, s.width, s.in_channels * taps, taps, false}, x, weight, y);
  const Padding padding = input_padding(s);
  Product p{input_planes(s, padding, x, 0), s.in_channels, s.out_channels, taps, {}, s.out_height, s.out_width,
            y, s.out_width, s.out_height * s.out_width, 1, 0, 0};
  set_taps(padding, s.kernel, p.offset);
  const auto at = [&](int64_t o, int64_t c, int t) { return weight[(o * s.in_channels + c) * taps + t]; };
  multiply(p, pack_weights(p, 1, at), s.batch);
}

// Input pixels of the same remainder modulo the stride have the same taps: one product for each.
void convolution_input_gradient(const ConvolutionSizes &s, const float *weight, const float *dy, float *dx) {
  const int taps = s.kernel * s.kernel;
  if (winograd_is_faster(s))
    return winograd({s.batch, s.out_channels, s.in_channels, s.height, s.width, taps, s.in_channels * taps, true}, dy,
                    weight, dx);
  const int64_t before = s.stride == 1 ? (s.kernel - 1) / 2 : 0, after = s.kernel / 2;
  const Padding padding{before, 1, s.out_height + before + after, s.out_width + before + after};
  const int64_t out = s.out_height * s.out_width, planes = s.batch * s.out_channels;
  const Planes source = s.kernel == 1 ? Planes{dy, s.out_width, out, s.out_channels * out, planes * out}
                                      : pad(dy, planes, s.out_channels, s.out_height, s.out_width, padding, 0);
  if (s.kernel < s.stride) std::fill(dx, dx + s.batch * s.in_channels * s.height * s.width, 0.0f);
  for (int64_t top = 0; top < std::min(s.stride, s.height); ++top)
    for (int64_t left = 0; left < std::min(s.stride, s.width); ++left) {
      const Taps rows(s.kernel, s.stride, top), columns(s.kernel, s.stride, left);
      Product p{source, s.out_channels, s.in_channels, rows.count * columns.count, {},
                divide_up(s.height - top, s.stride), divide_up(s.width - left, s.stride), dx, s.width,
                s.height * s.width, s.stride, top, left};
      if (p.taps == 0) continue;
      // From the last tap to the first, so that the offsets rise.
      int tap[MAX_TAPS];
      for (int t = 0; t < p.taps; ++t) {
        const int i = rows.count - 1 - t / columns.count, j = columns.count - 1 - t % columns.count;
        p.offset[t] = (rows.shift[i] + before) * source.row + columns.shift[j] + before;
        tap[t] = rows.k[i] * s.kernel + columns.k[j];
      }
      const auto at = [&](int64_t c, int64_t o, int t) { return weight[(o * s.in_channels + c) * taps + tap[t]]; };
      multiply(p, pack_weights(p, 1, at), s.batch);
    }
}

void convolution_weight_gradient(const ConvolutionSizes &s, const float *x, const float *dy, float *dweight) {
  if (s.kernel == 1 && s.stride == 1)
    weight_gradient_by_dots(s, x, dy, dweight);
  else if (s.kernel == 1)
    weight_gradient_by_taps<1>(s, x, dy, dweight);
  else
    weight_gradient_by_taps<9>(s, x, dy, dweight);
}

}  // namespace yolox::YOLOX_ISA
