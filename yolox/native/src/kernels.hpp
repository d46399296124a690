// The kernels of one instruction set, as a table of functions. All tensors are float32, contiguous, in the order NCHW.
#pragma once

#include <cstdint>

namespace yolox {

// Sizes of a depthwise convolution: input [batch, channels, height, width], weight [channels, 1, kernel, kernel], padding
// (kernel - 1) / 2, output [batch, channels, out_height, out_width].
struct DepthwiseSizes {
  int64_t batch, channels, height, width, out_height, out_width, stride;
  int kernel;
};

// Sizes of a convolution of all channels: input [batch, in_channels, height, width], weight [out_channels, in_channels, kernel,
// kernel], padding (kernel - 1) / 2, output [batch, out_channels, out_height, out_width]; the kernel is 1
// or 3, the stride 1 or 2.
struct ConvolutionSizes {
  int64_t batch, in_channels, height, width, out_channels, out_height, out_width, stride;
  int kernel;
};

// Sizes of a batch normalisation: [batch, channels, pixels].
struct NormSizes {
  int64_t batch, channels, pixels;
};

enum class Activation { none, silu, relu, leaky_relu };

struct Kernels {
  void (*depthwise_forward)(const DepthwiseSizes &, const float *x, const float *weight, float *y);
  void (*depthwise_backward)(const DepthwiseSizes &, const float *x, const float *weight, const float *dy, float *dx,
                             float *dweight);

  void (*convolution_forward)(const ConvolutionSizes &, const float *x, const float *weight, float *y);
  void (*convolution_input_gradient)(const ConvolutionSizes &, const float *weight, const float *dy, float *dx);
  void (*convolution_weight_gradient)(const ConvolutionSizes &, const float *x, const float *dy, float *dweight);

  // y = act(gamma (x - mean) / sqrt(variance + eps) + beta) with the batch's own mean and variance, which `mean` and
  // `inv_std` [channels] keep for the backward pass; moving averages are updated in place by (1 - momentum) old + momentum new.
  void (*norm_train)(const NormSizes &, Activation, const float *x, const float *gamma, const float *beta,
                     float *moving_mean, float *moving_variance, float eps, float momentum, float *y, float *mean,
                     float *inv_std);
  // The gradients of norm_train. With `fixed`, mean and inv_std do not depend on x (frozen statistics).
  void (*norm_backward)(const NormSizes &, Activation, const float *x, const float *dy, const float *gamma,
                        const float *beta, const float *mean, const float *inv_std, bool fixed, float *dx, float *dgamma,
                        float *dbeta);
  // The same as norm_train with given statistics.
  void (*norm_infer)(const NormSizes &, Activation, const float *x, const float *gamma, const float *beta,
                     const float *moving_mean, const float *moving_variance, float eps, float *y);
};

}  // namespace yolox
