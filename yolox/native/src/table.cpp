// The table of the kernels of one instruction set; compiled once for each, as depthwise.cpp and batch_norm.cpp.
#include "kernels.hpp"

namespace yolox::YOLOX_ISA {

void depthwise_forward(const DepthwiseSizes &, const float *, const float *, float *);
void depthwise_backward(const DepthwiseSizes &, const float *, const float *, const float *, float *, float *);
void norm_train(const NormSizes &, Activation, const float *, const float *, const float *, float *, float *, float, float,
                float *, float *, float *);
void norm_backward(const NormSizes &, Activation, const float *, const float *, const float *, const float *,
                   const float *, const float *, bool, float *, float *, float *);
void norm_infer(const NormSizes &, Activation, const float *, const float *, const float *, const float *, const float *,
                float, float *);

extern const Kernels kernels = {depthwise_forward, depthwise_backward, norm_train, norm_backward, norm_infer};

}  // namespace yolox::YOLOX_ISA
