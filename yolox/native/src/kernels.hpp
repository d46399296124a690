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

// Sizes of a convolution of all channels: input [batch, in_channels, height, width], weight [out_channels, in_channels,
// kernel, kernel], padding (kernel - 1) / 2, output [batch, out_channels, out_height, out_width]; the kernel is 1 or 3, the
// stride 1 or 2.
struct ConvolutionSizes {
  int64_t batch, in_channels, height, width, out_channels, out_height, out_width, stride;
  int kernel;
};

// Sizes of a batch normalisation: [batch, channels, pixels].
struct NormSizes {
  int64_t batch, channels, pixels;
};

// Sizes of planes of pixels: [planes, height, width].
struct PlaneSizes {
  int64_t planes, height, width;
};

// Sizes of images or maps: [batch, height, width, channels] or [batch, channels, height, width].
struct ImageSizes {
  int64_t batch, channels, height, width;
};

// Sizes of the tensors of a detector.
struct TensorSizes {
  int count;
  const int64_t *elements;  // [count]
  const int *ranks;         // [count]
};

struct SgdSettings {
  float rate, momentum, decay;
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
  // `inv_std` [channels] keep for the backward pass; moving averages are updated in place by (1 - momentum) old + momentum
  // new.
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

  void (*max_pool_forward)(const PlaneSizes &, const float *x, float *y);
  void (*max_pool_backward)(const PlaneSizes &, const float *x, const float *dy, float *dx);

  // [B,H,W,C] bytes to [B,C,H,W] floats.
  void (*image_planes)(const ImageSizes &, const uint8_t *images, float *planes);
  // [B,C,H,W] to [B,4C,H/2,W/2], or back; H and W are even.
  void (*space_to_depth)(const ImageSizes &, bool back, const float *from, float *to);
  // Each pixel of x four times, and the sum of each four pixels of dy.
  void (*upsample_forward)(const PlaneSizes &, const float *x, float *y);
  void (*upsample_backward)(const PlaneSizes &, const float *dy, float *dx);

  // sums[i] = the sum of the elements of tensors[i]. Here and below the tensors are floats; their pointers are as MindSpore
  // has them.
  void (*tensor_sums)(const TensorSizes &, void *const *tensors, float *sums);
  // In place, with g = gradient + decay p for tensors of four dimensions, else gradient: v = momentum v + g and
  // p = p - rate (g + momentum v).
  void (*sgd_update)(const TensorSizes &, const SgdSettings &, void *const *params, void *const *momenta,
                     void *const *gradients);
  // average = decay average + (1 - decay) x in place, of all tensors end to end.
  void (*average_update)(const TensorSizes &, float decay, void *const *tensors, float *average);
};

}  // namespace yolox
