// Batch normalisation with its activation in one pass over memory, in training, backward and inference.
//
// One task is one channel over the whole batch: its sums are made by one thread, in one order. Memory is what these
// kernels wait for, so that nothing is stored that can be computed again: the backward pass gets the input x and computes
// the normalised value and the activation's derivative from it, twice, instead of reading three stored tensors.
#include <algorithm>
#include <cmath>

#include "kernels.hpp"
#include "lanes.hpp"
#include "threads.hpp"

namespace yolox::YOLOX_ISA {
namespace {

constexpr float LEAK = 0.1f;  // slope of the leaky ReLU below zero

// The exponential costs more than the multiplications; this is for `parallel_for` alone.
constexpr int64_t WORK = 16;

template <Activation A>
Lanes activate(Lanes z) {
  const Lanes zero{};
  if constexpr (A == Activation::silu) return z * sigmoid(z);
  if constexpr (A == Activation::relu) return z < zero ? zero : z;  // so that NaN stays NaN
  if constexpr (A == Activation::leaky_relu) return z < zero ? z * LEAK : z;
  return z;
}

// The derivative of the activation at z. At 0 it is that of the negative side for the two ReLUs, as in MindSpore.
template <Activation A>
Lanes slope(Lanes z) {
  const Lanes zero{}, one = fill(1.0f);
  if constexpr (A == Activation::silu) {
    const Lanes s = sigmoid(z);
    return s * (1.0f + z * (1.0f - s));
  }
  if constexpr (A == Activation::relu) return z > zero ? one : zero;
  if constexpr (A == Activation::leaky_relu) return z > zero ? one : fill(LEAK);
  return one;
}

// Calls body(offset, count) for each vector of a plane; the last one may have less than LANES elements.
template <class Body>
inline void for_vectors(int64_t begin, int64_t end, const Body &body) {
  int64_t i = begin;
  for (; i + LANES <= end; i += LANES) body(i, LANES);
  if (i < end) body(i, static_cast<int>(end - i));
}

inline Lanes load_vector(const float *from, int count) { return count == LANES ? load(from) : load_part(from, count); }

inline void store_vector(float *to, Lanes value, int count) {
  if (count == LANES)
    store(to, value);
  else
    store_part(to, value, count);
}

// Mean and variance of one channel, exact to float32 for any mean: blocks that stay in the first-level cache get their own
// mean and squared deviations in two passes, and blocks are joined in double (Chan, Golub, LeVeque: "Updating formulae and
// a pairwise algorithm for computing sample variances", 1979).
//
// A float32 mean of a block is off by up to 1e-7 of itself. Where the mean is many times the deviation, the distance between
// the means of two blocks would carry that into the variance. Therefore the second pass also sums the deviations, which
// gives what the mean is off by.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void add_block(const float *x, int64_t size) {
    Lanes a{}, b{}, c{}, d{};  // four sums: one would wait for each addition before it
    int64_t i = 0;
    for (; i + 4 * LANES <= size; i += 4 * LANES) {
      a += load(x + i);
      b += load(x + i + LANES);
      c += load(x + i + 2 * LANES);
      d += load(x + i + 3 * LANES);
    }
    for_vectors(i, size, [&](int64_t at, int n) { a += load_vector(x + at, n); });
    const float rounded_mean = sum((a + b) + (c + d)) / static_cast<float>(size);
    a = b = c = d = Lanes{};  // a, b: the deviations; c, d: their squares
    for (i = 0; i + 2 * LANES <= size; i += 2 * LANES) {
      const Lanes e = load(x + i) - rounded_mean, f = load(x + i + LANES) - rounded_mean;
      a += e;
      b += f;
      c += e * e;
      d += f * f;
    }
    float rest = 0, rest_squares = 0;
    for (; i < size; ++i) {
      const float e = x[i] - rounded_mean;
      rest += e;
      rest_squares += e * e;
    }
    const double deviations = sum(a + b) + rest, n = static_cast<double>(size);
    join(n, rounded_mean + deviations / n, sum(c + d) + rest_squares - deviations * deviations / n);
  }

  void join(double other_count, double other_mean, double other_squares) {
    const double total = count + other_count, step = other_mean - mean;
    mean += step * other_count / total;
    squares += other_squares + step * step * count * other_count / total;
    count = total;
  }
};

constexpr int64_t BLOCK = 4096;  // 16 KB, half of a first-level cache

Moments channel_moments(const NormSizes &s, int64_t channel, const float *x) {
  Moments moments;
  for (int64_t image = 0; image < s.batch; ++image) {
    const float *plane = x + (image * s.channels + channel) * s.pixels;
    for (int64_t i = 0; i < s.pixels; i += BLOCK) moments.add_block(plane + i, std::min(BLOCK, s.pixels - i));
  }
  return moments;
}

// y = act(scale * x + shift) for one channel.
template <Activation A>
void write_channel(const NormSizes &s, int64_t channel, const float *x, float mean, float scale, float shift, float *y) {
  for (int64_t image = 0; image < s.batch; ++image) {
    const int64_t at = (image * s.channels + channel) * s.pixels;
    for_vectors(at, at + s.pixels, [&](int64_t i, int n) {
      store_vector(y + i, activate<A>((load_vector(x + i, n) - mean) * scale + shift), n);
    });
  }
}

template <Activation A>
void train(const NormSizes &s, const float *x, const float *gamma, const float *beta, float *moving_mean,
           float *moving_variance, float eps, float momentum, float *y, float *mean, float *inv_std) {
  parallel_for(s.channels, s.batch * s.channels * s.pixels * WORK, [&](int64_t c) {
    const Moments m = channel_moments(s, c, x);
    const double variance = m.squares / m.count;
    mean[c] = static_cast<float>(m.mean);
    inv_std[c] = static_cast<float>(1.0 / std::sqrt(variance + eps));
    // The moving variance is that of the population: n - 1 in place of n. One single value has none and counts as n.
    const double unbiased = m.count > 1 ? m.squares / (m.count - 1) : variance;
    moving_mean[c] += momentum * (mean[c] - moving_mean[c]);
    moving_variance[c] += momentum * (static_cast<float>(unbiased) - moving_variance[c]);
    write_channel<A>(s, c, x, mean[c], gamma[c] * inv_std[c], beta[c], y);
  });
}

template <Activation A>
void infer(const NormSizes &s, const float *x, const float *gamma, const float *beta, const float *moving_mean,
           const float *moving_variance, float eps, float *y) {
  parallel_for(s.channels, s.batch * s.channels * s.pixels * WORK, [&](int64_t c) {
    const float inv_std = static_cast<float>(1.0 / std::sqrt(static_cast<double>(moving_variance[c]) + eps));
    write_channel<A>(s, c, x, moving_mean[c], gamma[c] * inv_std, beta[c], y);
  });
}

// With xhat = (x - mean) inv_std, z = gamma xhat + beta and dz = dy act'(z):
//   dbeta = sum dz,  dgamma = sum dz xhat,  dx = gamma inv_std (dz - dbeta / n - xhat dgamma / n)
// The two means leave dx out when mean and inv_std do not depend on x.
template <Activation A>
void backward(const NormSizes &s, const float *x, const float *dy, const float *gamma, const float *beta,
              const float *mean, const float *inv_std, bool fixed, float *dx, float *dgamma, float *dbeta) {
  parallel_for(s.channels, 2 * s.batch * s.channels * s.pixels * WORK, [&](int64_t c) {
    const float g = gamma[c], b = beta[c], m = mean[c], inv = inv_std[c];
    double total = 0, product = 0;
    for (int64_t image = 0; image < s.batch; ++image) {
      const int64_t at = (image * s.channels + c) * s.pixels;
      for (int64_t block = at; block < at + s.pixels; block += BLOCK) {  // short float sums, joined in double
        Lanes sum_dz{}, sum_dz_xhat{};
        for_vectors(block, std::min(block + BLOCK, at + s.pixels), [&](int64_t i, int n) {
          const Lanes xhat = (load_vector(x + i, n) - m) * inv;
          const Lanes dz = load_vector(dy + i, n) * slope<A>(xhat * g + b);  // zero past the end: dy reads as zero there
          sum_dz += dz;
          sum_dz_xhat += dz * xhat;
        });
        total += sum(sum_dz);
        product += sum(sum_dz_xhat);
      }
    }
    dbeta[c] = static_cast<float>(total);
    dgamma[c] = static_cast<float>(product);
    const double count = static_cast<double>(s.batch * s.pixels);
    const float mean_dz = fixed ? 0.0f : static_cast<float>(total / count);
    const float mean_dz_xhat = fixed ? 0.0f : static_cast<float>(product / count);
    const float scale = g * inv;
    for (int64_t image = 0; image < s.batch; ++image) {
      const int64_t at = (image * s.channels + c) * s.pixels;
      for_vectors(at, at + s.pixels, [&](int64_t i, int n) {
        const Lanes xhat = (load_vector(x + i, n) - m) * inv;
        const Lanes dz = load_vector(dy + i, n) * slope<A>(xhat * g + b);
        store_vector(dx + i, scale * (dz - mean_dz - xhat * mean_dz_xhat), n);
      });
    }
  });
}

// Calls the version of a template that is compiled for the activation.
#define YOLOX_BY_ACTIVATION(function, activation, ...)                                \
  switch (activation) {                                                               \
    case Activation::none: return function<Activation::none>(__VA_ARGS__);             \
    case Activation::silu: return function<Activation::silu>(__VA_ARGS__);             \
    case Activation::relu: return function<Activation::relu>(__VA_ARGS__);             \
    case Activation::leaky_relu: return function<Activation::leaky_relu>(__VA_ARGS__); \
  }

}  // namespace

void norm_train(const NormSizes &s, Activation a, const float *x, const float *gamma, const float *beta,
                float *moving_mean, float *moving_variance, float eps, float momentum, float *y, float *mean,
                float *inv_std) {
  YOLOX_BY_ACTIVATION(train, a, s, x, gamma, beta, moving_mean, moving_variance, eps, momentum, y, mean, inv_std)
}

void norm_backward(const NormSizes &s, Activation a, const float *x, const float *dy, const float *gamma,
                   const float *beta, const float *mean, const float *inv_std, bool fixed, float *dx, float *dgamma,
                   float *dbeta) {
  YOLOX_BY_ACTIVATION(backward, a, s, x, dy, gamma, beta, mean, inv_std, fixed, dx, dgamma, dbeta)
}

void norm_infer(const NormSizes &s, Activation a, const float *x, const float *gamma, const float *beta,
                const float *moving_mean, const float *moving_variance, float eps, float *y) {
  YOLOX_BY_ACTIVATION(infer, a, s, x, gamma, beta, moving_mean, moving_variance, eps, y)
}

}  // namespace yolox::YOLOX_ISA
