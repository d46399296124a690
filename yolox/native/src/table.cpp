// The table of the kernels of one instruction set; compiled once for each, as the files of the kernels.
#include "kernels.hpp"

namespace yolox::YOLOX_ISA {

void depthwise_forward(const DepthwiseSizes &, const float *, const float *, float *);
void depthwise_backward(const DepthwiseSizes &, const float *, const float *, const float *, float *, float *);
void convolution_forward(const ConvolutionSizes &, const float *, const float *, float *);
void convolution_input_gradient(const ConvolutionSizes &, const float *, const float *, float *);
void convolution_weight_gradient(const ConvolutionSizes &, const float *, const float *, float *);
void norm_train(const NormSizes &, Activation, const float *, const float *, const float *, float *, float *, float, float,
                float *, float *, float *);
void norm_backward(const NormSizes &, Activation, const float *, const float *, const float *, const float *,
                   const float *, const float *, bool, float *, float *, float *);
void norm_infer(const NormSizes &, Activation, const float *, const float *, const float *, const float *, const float *,
                float, float *);
void max_pool_forward(const PlaneSizes &, const float *, float *);
void max_pool_backward(const PlaneSizes &, const float *, const float *, float *);
void image_planes(const ImageSizes &, const uint8_t *, float *);
void space_to_depth(const ImageSizes &, bool, const float *, float *);
void upsample_forward(const PlaneSizes &, const float *, float *);
void upsample_backward(const PlaneSizes &, const float *, float *);
void tensor_sums(const TensorSizes &, void *const *, float *);
void sgd_update(const TensorSizes &, const SgdSettings &, void *const *, void *const *, void *const *);
void average_update(const TensorSizes &, float, void *const *, float *);

extern const Kernels kernels = {
    depthwise_forward,           depthwise_backward, convolution_forward, convolution_input_gradient,
    convolution_weight_gradient, norm_train,         norm_backward,       norm_infer,
    max_pool_forward,            max_pool_backward,  image_planes,        space_to_depth,
    upsample_forward,            upsample_backward,  tensor_sums,         sgd_update,
    average_update,
};

}  // namespace yolox::YOLOX_ISA
