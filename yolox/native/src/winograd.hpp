// Convolutions of 3x3 at stride 1 with 16 multiplications where the direct way has 36; see winograd.cpp.
#pragma once

#include <cstdint>

namespace yolox::YOLOX_ISA {

// A convolution of 3x3 at stride 1 with padding 1, x [batch, channels, height, width] to y [batch, results, height, width].
// The weight of result m and channel c is the nine numbers at m * result_stride + c * channel_stride, from the last to the
// first when it is turned, as the gradient of the input needs it.
struct WinogradSizes {
  int64_t batch, channels, results, height, width, result_stride, channel_stride;
  bool turned;
};

void winograd(const WinogradSizes &, const float *x, const float *weight, float *y);

}  // namespace yolox::YOLOX_ISA
