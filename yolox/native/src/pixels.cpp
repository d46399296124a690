// Pixels that only move: images to planes, 2x2 pixels to channels and back, and maps of twice the size and their gradient.
//
// MindSpore's transpositions, broadcasts and sums of many dimensions take several times as long, and its conversion of bytes to
// floats writes the image twice. One task is one row of one plane (or of one image).
#include <algorithm>

#include "kernels.hpp"
#include "threads.hpp"

namespace yolox::YOLOX_ISA {

void image_planes(const ImageSizes &s, const uint8_t *images, float *planes) {
  parallel_for(s.batch * s.height, s.batch * s.height * s.width * s.channels, [&](int64_t task) {
    const int64_t image = task / s.height, y = task % s.height;
    const uint8_t *from = images + task * s.width * s.channels;
    for (int64_t c = 0; c < s.channels; ++c) {
      float *to = planes + ((image * s.channels + c) * s.height + y) * s.width;
      for (int64_t x = 0; x < s.width; ++x) to[x] = from[x * s.channels + c];
    }
  });
}

// Channel (2 * column + row) * C + c of the result holds pixel (row, column) of each 2x2 cell of channel c, as space_to_depth in
// yolox/nn/functional.py.
void space_to_depth(const ImageSizes &s, bool back, const float *from, float *to) {
  const int64_t height = s.height / 2, width = s.width / 2;
  parallel_for(s.batch * s.channels * s.height, s.batch * s.channels * s.height * s.width, [&](int64_t task) {
    const int64_t plane = task / s.height, y = task % s.height, image = plane / s.channels, c = plane % s.channels;
    for (int64_t column = 0; column < 2; ++column) {
      const int64_t channel = (2 * column + y % 2) * s.channels + c;
      const int64_t wide = task * s.width + column;
      const int64_t deep = ((image * 4 * s.channels + channel) * height + y / 2) * width;
      if (back)
        for (int64_t x = 0; x < width; ++x) to[wide + 2 * x] = from[deep + x];
      else
        for (int64_t x = 0; x < width; ++x) to[deep + x] = from[wide + 2 * x];
    }
  });
}

void upsample_forward(const PlaneSizes &s, const float *x, float *y) {
  parallel_for(s.planes * s.height, 4 * s.planes * s.height * s.width, [&](int64_t task) {
    const float *from = x + task * s.width;
    float *to = y + 4 * task * s.width;
    for (int64_t i = 0; i < s.width; ++i) to[2 * i] = to[2 * i + 1] = from[i];
    std::copy_n(to, 2 * s.width, to + 2 * s.width);
  });
}

void upsample_backward(const PlaneSizes &s, const float *dy, float *dx) {
  parallel_for(s.planes * s.height, 4 * s.planes * s.height * s.width, [&](int64_t task) {
    const float *upper = dy + 4 * task * s.width, *lower = upper + 2 * s.width;
    float *to = dx + task * s.width;
    for (int64_t i = 0; i < s.width; ++i) to[i] = (upper[2 * i] + upper[2 * i + 1]) + (lower[2 * i] + lower[2 * i + 1]);
  });
}

}  // namespace yolox::YOLOX_ISA
