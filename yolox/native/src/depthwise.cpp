// Depthwise convolution, forward and backward, for kernels of 3x3 and 5x5 at stride 1 and 2.
//
// One task is one channel. It copies each plane (one channel of one image) into memory of the thread with zeros around it,
// so that the inner loops have no borders to test, and sorts the columns of each row by their remainder modulo the stride:
//
//   stride 2:  x0 x1 x2 x3 x4 x5  ->  x0 x2 x4 | x1 x3 x5
//
// Then neighbouring outputs read neighbouring memory at either stride, and one loop serves both. A plane of 208x208 takes
// 170 KB and stays in the second-level cache while the nine or 25 taps read it.
#include <algorithm>

#include "kernels.hpp"
#include "lanes.hpp"
#include "threads.hpp"

namespace yolox::YOLOX_ISA {
namespace {

int64_t round_up(int64_t value) { return (value + LANES - 1) / LANES * LANES; }

// The padded input plane. Row Y holds `stride` parts of `part` floats; part r has the padded columns r, r + stride, ...
struct Padded {
  int64_t rows, part, row;  // row = stride * part
  explicit Padded(const DepthwiseSizes &s) {
    rows = (s.out_height - 1) * s.stride + s.kernel;
    part = round_up(s.out_width) + s.kernel;  // a tap of the last vector reads up to (kernel - 1) / stride floats further
    row = s.stride * part;
  }
  int64_t size() const { return rows * row; }
};

void pad_plane(const DepthwiseSizes &s, const Padded &to, const float *x, float *padded) {
  const int64_t margin = (s.kernel - 1) / 2;
  std::fill(padded, padded + to.size(), 0.0f);
  for (int64_t Y = margin; Y < std::min(to.rows, s.height + margin); ++Y) {
    const float *from = x + (Y - margin) * s.width;
    float *row = padded + Y * to.row;
    if (s.stride == 1) {
      std::copy(from, from + s.width, row + margin);
      continue;
    }
    for (int64_t r = 0; r < 2; ++r) {
      // Columns X = 2j + r of the padded row are columns X - margin of the plane.
      const int64_t first = (margin - r + 1) / 2;
      const int64_t last = std::min((s.width + margin - r + 1) / 2, to.part);
      const float *shifted = from + r - margin;
      float *part = row + r * to.part;
      for (int64_t j = first; j < last; ++j) part[j] = shifted[2 * j];
    }
  }
}

// y[oy][ox] = sum over ky, kx of w[ky][kx] * padded[oy * stride + ky][part kx % stride][ox + kx / stride]
template <int K, int S>
void forward_plane(const DepthwiseSizes &s, const Padded &p, const float *padded, const float *w, float *y) {
  for (int64_t oy = 0; oy < s.out_height; ++oy) {
    const float *rows = padded + oy * S * p.row;
    for (int64_t ox = 0; ox < s.out_width; ox += LANES) {
      Lanes total{};
      for (int ky = 0; ky < K; ++ky)
        for (int kx = 0; kx < K; ++kx)
          total += w[ky * K + kx] * load(rows + ky * p.row + (kx % S) * p.part + ox + kx / S);
      const int64_t left = s.out_width - ox;
      if (left >= LANES)
        store(y + oy * s.out_width + ox, total);
      else
        store_part(y + oy * s.out_width + ox, total, left);
    }
  }
}

// The gradient of the output with zeros around it: before each row and plane as many as a kernel reaches back.
struct PaddedGradient {
  int64_t before, rows, row;
  explicit PaddedGradient(const DepthwiseSizes &s) {
    before = s.kernel - 1;
    rows = before + (s.height + 2 * s.kernel);
    row = before + round_up(s.width + s.kernel) + LANES;
  }
  int64_t size() const { return rows * row; }
};

void pad_gradient(const DepthwiseSizes &s, const PaddedGradient &to, const float *dy, float *padded) {
  std::fill(padded, padded + to.size(), 0.0f);
  for (int64_t oy = 0; oy < s.out_height; ++oy)
    std::copy(dy + oy * s.out_width, dy + (oy + 1) * s.out_width, padded + (oy + to.before) * to.row + to.before);
}

// dweight[ky][kx] += sum over oy, ox of dy[oy][ox] * padded[oy * stride + ky][part kx % stride][ox + kx / stride]
// `total` holds K * K vectors; each lane sums its own columns in the order of the rows. Past the width dy is zero.
template <int K, int S>
void add_weight_gradient(const DepthwiseSizes &s, const Padded &p, const float *padded, const PaddedGradient &g,
                         const float *gradient, double *dweight) {
  // Nine sums fit the registers of AVX2; of 25 only one row at a time.
  constexpr int ROWS = K == 3 ? 3 : 1;
  for (int ky = 0; ky < K; ky += ROWS) {
    Lanes total[ROWS][K] = {};
    for (int64_t oy = 0; oy < s.out_height; ++oy) {
      const float *rows = padded + (oy * S + ky) * p.row;
      const float *dy = gradient + (oy + g.before) * g.row + g.before;
      for (int64_t ox = 0; ox < s.out_width; ox += LANES) {
        const Lanes d = load(dy + ox);
        for (int i = 0; i < ROWS; ++i)
          for (int kx = 0; kx < K; ++kx)
            total[i][kx] += d * load(rows + i * p.row + (kx % S) * p.part + ox + kx / S);
      }
    }
    for (int i = 0; i < ROWS; ++i)
      for (int kx = 0; kx < K; ++kx) dweight[(ky + i) * K + kx] += sum(total[i][kx]);
  }
}

// The gradient of padded row Y, part r, column j collects every output that read it: those of the taps
// ky = Y mod S, + S, ... and kx = r, r + S, ..., at oy = (Y - ky) / S and ox = j - (kx - r) / S.
template <int K, int S>
void input_gradient_plane(const DepthwiseSizes &s, const PaddedGradient &g, const float *gradient, const float *w,
                          float *part, float *dx) {
  const int64_t margin = (K - 1) / 2;
  for (int64_t y = 0; y < s.height; ++y) {
    const int64_t Y = y + margin;
    float *row = dx + y * s.width;
    for (int r = 0; r < S; ++r) {
      const int64_t first = (margin - r + S - 1) / S, last = (s.width + margin - r + S - 1) / S;
      for (int64_t j = first; j < last; j += LANES) {
        Lanes total{};
        for (int ky = Y % S; ky < K; ky += S) {
          const float *dy = gradient + ((Y - ky) / S + g.before) * g.row + g.before + j;
          for (int kx = r; kx < K; kx += S) total += w[ky * K + kx] * load(dy - (kx - r) / S);
        }
        const int64_t left = last - j;
        if (S > 1)
          store(part + j, total);
        else if (left >= LANES)
          store(row + j - margin, total);
        else
          store_part(row + j - margin, total, left);
      }
      for (int64_t j = first; S > 1 && j < last; ++j) row[j * S + r - margin] = part[j];
    }
  }
}

template <int K, int S>
void forward(const DepthwiseSizes &s, const float *x, const float *weight, float *y) {
  const Padded p(s);
  const int64_t planes = s.batch * s.channels, out = s.out_height * s.out_width;
  parallel_for(planes, planes * out * K * K, [&](int64_t plane) {
    float *padded = scratch(0, p.size());
    pad_plane(s, p, x + plane * s.height * s.width, padded);
    float w[K * K];
    std::copy_n(weight + plane % s.channels * K * K, K * K, w);
    forward_plane<K, S>(s, p, padded, w, y + plane * out);
  });
}

// One task is a channel over the whole batch: the gradient of its weight is summed by one thread, image after image.
template <int K, int S>
void backward(const DepthwiseSizes &s, const float *x, const float *weight, const float *dy, float *dx, float *dweight) {
  const Padded p(s);
  const PaddedGradient g(s);
  const int64_t in = s.height * s.width, out = s.out_height * s.out_width;
  parallel_for(s.channels, 2 * s.batch * s.channels * out * K * K, [&](int64_t channel) {
    float *padded = scratch(0, p.size()), *gradient = scratch(1, g.size()), *part = scratch(2, g.row);
    float w[K * K];
    std::copy_n(weight + channel * K * K, K * K, w);
    double dw[K * K] = {};
    for (int64_t image = 0; image < s.batch; ++image) {
      const int64_t plane = image * s.channels + channel;
      pad_plane(s, p, x + plane * in, padded);
      pad_gradient(s, g, dy + plane * out, gradient);
      add_weight_gradient<K, S>(s, p, padded, g, gradient, dw);
      input_gradient_plane<K, S>(s, g, gradient, w, part, dx + plane * in);
    }
    for (int i = 0; i < K * K; ++i) dweight[channel * K * K + i] = static_cast<float>(dw[i]);
  });
}

}  // namespace

void depthwise_forward(const DepthwiseSizes &s, const float *x, const float *weight, float *y) {
  const auto run = s.kernel == 3 ? (s.stride == 1 ? forward<3, 1> : forward<3, 2>)
                                 : (s.stride == 1 ? forward<5, 1> : forward<5, 2>);
  run(s, x, weight, y);
}

void depthwise_backward(const DepthwiseSizes &s, const float *x, const float *weight, const float *dy, float *dx,
                        float *dweight) {
  const auto run = s.kernel == 3 ? (s.stride == 1 ? backward<3, 1> : backward<3, 2>)
                                 : (s.stride == 1 ? backward<5, 1> : backward<5, 2>);
  run(s, x, weight, dy, dx, dweight);
}

}  // namespace yolox::YOLOX_ISA
