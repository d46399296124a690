// What MindSpore and Python call: C functions that check the tensors and hand them to the kernels of this processor.
//
// MindSpore's `ops.Custom(func_type="aot")` calls f(number of tensors, their data, ranks, shapes, dtype names, stream,
// extra): inputs first, then outputs, all contiguous. A result other than 0 makes MindSpore raise an error with the number.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.hpp"
#include "threads.hpp"

#define YOLOX_EXPORT extern "C" __attribute__((visibility("default")))

namespace yolox {

// Defined in table.cpp, in one namespace for each instruction set that was compiled.
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#else
namespace generic {
extern const Kernels kernels;
}
#endif

namespace {

struct Choice {
  const char *name;
  const Kernels *kernels;  // nullptr: no kernel runs on this processor
};

// The widest instruction set that this processor has (and no wider than `limit`, when it is "avx2").
Choice choose(const char *limit) {
#if defined(__x86_64__)
  const bool narrow = limit != nullptr && std::strcmp(limit, "avx2") == 0;
  if (!narrow && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return {"avx512", &avx512::kernels};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {"avx2", &avx2::kernels};
  return {"", nullptr};
#else
  (void)limit;
  return {"generic", &generic::kernels};
#endif
}

Choice choice = {"", nullptr};

// Errors that MindSpore shows as a number.
enum Status { done = 0, wrong_count = 1, wrong_type = 2, wrong_shape = 3, no_kernels = 4 };

// The tensors of one call.
struct Call {
  int count;
  void **data;
  int *ranks;
  int64_t **shapes;
  const char **types;

  float *at(int i) const { return static_cast<float *>(data[i]); }

  Status check(int expected) const {
    if (choice.kernels == nullptr) return no_kernels;
    if (count != expected) return wrong_count;
    for (int i = 0; i < count; ++i)
      if (std::strcmp(types[i], "float32") != 0) return wrong_type;
    return done;
  }

  int64_t size(int i) const {
    int64_t product = 1;
    for (int j = 0; j < ranks[i]; ++j) product *= shapes[i][j];
    return product;
  }

  bool has_size(int i, int64_t wanted) const { return size(i) == wanted; }
};

// Sizes from input [B,C,H,W], weight [C,1,K,K] and output [B,C,OH,OW]; false where no kernel is for them.
bool depthwise_sizes(const Call &call, int x, int weight, int y, int64_t stride, DepthwiseSizes &s) {
  if (call.ranks[x] != 4 || call.ranks[weight] != 4 || call.ranks[y] != 4) return false;
  const int64_t *in = call.shapes[x], *w = call.shapes[weight], *out = call.shapes[y];
  s = {in[0], in[1], in[2], in[3], out[2], out[3], stride, static_cast<int>(w[2])};
  if (w[0] != in[1] || w[1] != 1 || w[2] != w[3] || (w[2] != 3 && w[2] != 5)) return false;
  return out[0] == in[0] && out[1] == in[1] && out[2] == (in[2] - 1) / stride + 1 && out[3] == (in[3] - 1) / stride + 1;
}

// x, weight -> y
Status depthwise_forward(const Call &call, int64_t stride) {
  DepthwiseSizes s;
  if (const Status status = call.check(3)) return status;
  if (!depthwise_sizes(call, 0, 1, 2, stride, s)) return wrong_shape;
  choice.kernels->depthwise_forward(s, call.at(0), call.at(1), call.at(2));
  return done;
}

// x, weight, dy -> dx, dweight
Status depthwise_backward(const Call &call, int64_t stride) {
  DepthwiseSizes s;
  if (const Status status = call.check(5)) return status;
  if (!depthwise_sizes(call, 0, 1, 2, stride, s)) return wrong_shape;
  if (!call.has_size(3, s.batch * s.channels * s.height * s.width)) return wrong_shape;
  if (!call.has_size(4, s.channels * s.kernel * s.kernel)) return wrong_shape;
  choice.kernels->depthwise_backward(s, call.at(0), call.at(1), call.at(2), call.at(3), call.at(4));
  return done;
}

// Sizes from input [B,C,H,W], weight [O,C,K,K] and output [B,O,OH,OW]; false where no kernel is for them.
bool convolution_sizes(const Call &call, int x, int weight, int y, int64_t stride, ConvolutionSizes &s) {
  if (call.ranks[x] != 4 || call.ranks[weight] != 4 || call.ranks[y] != 4) return false;
  const int64_t *in = call.shapes[x], *w = call.shapes[weight], *out = call.shapes[y];
  s = {in[0], in[1], in[2], in[3], out[1], out[2], out[3], stride, static_cast<int>(w[2])};
  if (w[0] != out[1] || w[1] != in[1] || w[2] != w[3] || (w[2] != 1 && w[2] != 3)) return false;
  return out[0] == in[0] && out[2] == (in[2] - 1) / stride + 1 && out[3] == (in[3] - 1) / stride + 1;
}

// x, weight -> y
Status convolution_forward(const Call &call, int64_t stride) {
  ConvolutionSizes s;
  if (const Status status = call.check(3)) return status;
  if (!convolution_sizes(call, 0, 1, 2, stride, s)) return wrong_shape;
  choice.kernels->convolution_forward(s, call.at(0), call.at(1), call.at(2));
  return done;
}

// Sizes of x, weight, dy -> the gradient of x (like = 0) or weight (like = 1).
Status convolution_gradient_sizes(const Call &call, int like, int64_t stride, ConvolutionSizes &s) {
  if (const Status status = call.check(4)) return status;
  if (!convolution_sizes(call, 0, 1, 2, stride, s)) return wrong_shape;
  const int64_t kernel = s.out_channels * s.in_channels * s.kernel * s.kernel;
  return call.has_size(3, like == 0 ? s.batch * s.in_channels * s.height * s.width : kernel) ? done : wrong_shape;
}

// x, weight, dy -> dx; of x only the shape counts
Status convolution_input_gradient(const Call &call, int64_t stride) {
  ConvolutionSizes s;
  if (const Status status = convolution_gradient_sizes(call, 0, stride, s)) return status;
  choice.kernels->convolution_input_gradient(s, call.at(1), call.at(2), call.at(3));
  return done;
}

// x, weight, dy -> dweight; of weight only the shape counts
Status convolution_weight_gradient(const Call &call, int64_t stride) {
  ConvolutionSizes s;
  if (const Status status = convolution_gradient_sizes(call, 1, stride, s)) return status;
  choice.kernels->convolution_weight_gradient(s, call.at(0), call.at(2), call.at(3));
  return done;
}

// Sizes from [B,C,H,W], with tensors `from` to `to` of C elements.
bool norm_sizes(const Call &call, int x, int from, int to, NormSizes &s) {
  if (call.ranks[x] != 4) return false;
  const int64_t *shape = call.shapes[x];
  s = {shape[0], shape[1], shape[2] * shape[3]};
  for (int i = from; i <= to; ++i)
    if (!call.has_size(i, s.channels)) return false;
  return true;
}

// x, gamma, beta, moving mean, moving variance, [eps, momentum] -> y, mean, inv_std
Status norm_train(const Call &call, Activation activation) {
  NormSizes s;
  if (const Status status = call.check(9)) return status;
  if (!norm_sizes(call, 0, 1, 4, s) || !call.has_size(5, 2)) return wrong_shape;
  choice.kernels->norm_train(s, activation, call.at(0), call.at(1), call.at(2), call.at(3), call.at(4), call.at(5)[0],
                             call.at(5)[1], call.at(6), call.at(7), call.at(8));
  return done;
}

// x, dy, gamma, beta, mean, inv_std -> dx, dgamma, dbeta
Status norm_backward(const Call &call, Activation activation, bool fixed) {
  NormSizes s;
  if (const Status status = call.check(9)) return status;
  if (!norm_sizes(call, 0, 2, 5, s) || !call.has_size(1, s.batch * s.channels * s.pixels)) return wrong_shape;
  choice.kernels->norm_backward(s, activation, call.at(0), call.at(1), call.at(2), call.at(3), call.at(4), call.at(5),
                                fixed, call.at(6), call.at(7), call.at(8));
  return done;
}

// x, gamma, beta, moving mean, moving variance, [eps, momentum] -> y
Status norm_infer(const Call &call, Activation activation) {
  NormSizes s;
  if (const Status status = call.check(7)) return status;
  if (!norm_sizes(call, 0, 1, 4, s) || !call.has_size(5, 2)) return wrong_shape;
  choice.kernels->norm_infer(s, activation, call.at(0), call.at(1), call.at(2), call.at(3), call.at(4), call.at(5)[0],
                             call.at(6));
  return done;
}

// Sizes from [B,C,H,W].
bool plane_sizes(const Call &call, int x, PlaneSizes &s) {
  if (call.ranks[x] != 4) return false;
  const int64_t *shape = call.shapes[x];
  s = {shape[0] * shape[1], shape[2], shape[3]};
  return true;
}

// x -> y
Status max_pool_forward(const Call &call) {
  PlaneSizes s;
  if (const Status status = call.check(2)) return status;
  if (!plane_sizes(call, 0, s) || !call.has_size(1, call.size(0))) return wrong_shape;
  choice.kernels->max_pool_forward(s, call.at(0), call.at(1));
  return done;
}

// x, dy -> dx
Status max_pool_backward(const Call &call) {
  PlaneSizes s;
  if (const Status status = call.check(3)) return status;
  if (!plane_sizes(call, 0, s) || !call.has_size(1, call.size(0)) || !call.has_size(2, call.size(0))) return wrong_shape;
  choice.kernels->max_pool_backward(s, call.at(0), call.at(1), call.at(2));
  return done;
}

// bytes [B,H,W,C] -> [B,C,H,W]
Status image_planes(const Call &call) {
  if (choice.kernels == nullptr) return no_kernels;
  if (call.count != 2) return wrong_count;
  if (std::strcmp(call.types[0], "uint8") != 0 || std::strcmp(call.types[1], "float32") != 0) return wrong_type;
  const int64_t *shape = call.shapes[0];
  if (call.ranks[0] != 4 || !call.has_size(1, call.size(0))) return wrong_shape;
  choice.kernels->image_planes({shape[0], shape[3], shape[1], shape[2]}, static_cast<const uint8_t *>(call.data[0]),
                               call.at(1));
  return done;
}

// [B,C,H,W] -> [B,4C,H/2,W/2], or the other way
Status space_to_depth(const Call &call, bool back) {
  if (const Status status = call.check(2)) return status;
  const int wide = back ? 1 : 0;
  const int64_t *shape = call.shapes[wide];
  if (call.ranks[wide] != 4 || shape[2] % 2 != 0 || shape[3] % 2 != 0 || call.size(0) != call.size(1)) return wrong_shape;
  choice.kernels->space_to_depth({shape[0], shape[1], shape[2], shape[3]}, back, call.at(0), call.at(1));
  return done;
}

// x -> y of twice the height and width
Status upsample_forward(const Call &call) {
  PlaneSizes s;
  if (const Status status = call.check(2)) return status;
  if (!plane_sizes(call, 0, s) || !call.has_size(1, 4 * call.size(0))) return wrong_shape;
  choice.kernels->upsample_forward(s, call.at(0), call.at(1));
  return done;
}

// dy -> dx
Status upsample_backward(const Call &call) {
  PlaneSizes s;
  if (const Status status = call.check(2)) return status;
  if (!plane_sizes(call, 1, s) || !call.has_size(0, 4 * call.size(1))) return wrong_shape;
  choice.kernels->upsample_backward(s, call.at(0), call.at(1));
  return done;
}

// The sizes of `count` tensors of a call.
struct Group {
  std::vector<int64_t> elements;
  TensorSizes sizes;
  int64_t total = 0;

  Group(const Group &) = delete;  // `sizes` points into `elements`
  Group(const Call &call, int first, int count) {
    for (int i = first; i < first + count; ++i) elements.push_back(call.size(i)), total += elements.back();
    sizes = {count, elements.data(), call.ranks + first};
  }
};

// tensors -> [their number]
Status tensor_sums(const Call &call) {
  if (const Status status = call.check(call.count)) return status;
  const int count = call.count - 1;
  if (count < 1) return wrong_count;
  if (!call.has_size(count, count)) return wrong_shape;
  choice.kernels->tensor_sums(Group(call, 0, count).sizes, call.data, call.at(count));
  return done;
}

// [rate, momentum, decay, whether it is applied], parameters, momenta, gradients -> [1]: whether it was applied
Status sgd_update(const Call &call) {
  if (const Status status = call.check(call.count)) return status;
  const int count = (call.count - 2) / 3;
  if (count < 1 || call.count != 3 * count + 2) return wrong_count;
  if (!call.has_size(0, 4) || !call.has_size(call.count - 1, 1)) return wrong_shape;
  for (int i = 1; i <= 2 * count; ++i)
    if (call.size(i) != call.size(i + count)) return wrong_shape;
  const float *settings = call.at(0);
  const Group group(call, 1, count);
  if (settings[3] != 0.0f)
    choice.kernels->sgd_update(group.sizes, {settings[0], settings[1], settings[2]}, call.data + 1, call.data + 1 + count,
                               call.data + 1 + 2 * count);
  *call.at(call.count - 1) = settings[3];
  return done;
}

// [decay, whether it is applied], average [all elements], copies [elements of the last tensors], tensors -> [1] as above.
// Where it is applied the average moves, and the copies become what the last tensors are.
Status average_update(const Call &call) {
  if (const Status status = call.check(call.count)) return status;
  const int count = call.count - 4;
  if (count < 1) return wrong_count;
  const Group group(call, 3, count);
  if (!call.has_size(0, 2) || !call.has_size(1, group.total) || !call.has_size(call.count - 1, 1)) return wrong_shape;
  int first = count;
  int64_t copied = 0;
  while (first > 0 && copied < call.size(2)) copied += group.elements[--first];
  if (copied != call.size(2)) return wrong_shape;
  const float *settings = call.at(0);
  *call.at(call.count - 1) = settings[1];
  if (settings[1] == 0.0f) return done;
  choice.kernels->average_update(group.sizes, settings[0], call.data + 3, call.at(1));
  float *to = call.at(2);
  for (int i = first; i < count; ++i) to = std::copy_n(call.at(3 + i), group.elements[i], to);
  return done;
}

}  // namespace
}  // namespace yolox

using namespace yolox;

// Called once after the library is loaded; returns the name of the instruction set, "" when this processor has none.
YOLOX_EXPORT const char *yolox_start(int threads, const char *limit) {
  set_thread_count(threads);
  choice = choose(limit);
  return choice.name;
}

YOLOX_EXPORT void yolox_set_threads(int threads) { set_thread_count(threads); }

// Exports a C function `name` that hands its tensors to one of the functions above, with further arguments.
#define YOLOX_FUNCTION(name, function, ...)                                                                    \
  YOLOX_EXPORT int name(int n, void **data, int *ranks, int64_t **shapes, const char **types, void *, void *) { \
    return function({n, data, ranks, shapes, types} __VA_OPT__(, ) __VA_ARGS__);                                \
  }

// One function for each stride and activation: the name is all that tells operators apart. MindSpore's eager mode keeps one
// kernel for operators of the same name and the same input shapes, with the output shapes of the first.
#define YOLOX_STRIDED(name) YOLOX_FUNCTION(name##_1, name, 1) YOLOX_FUNCTION(name##_2, name, 2)

YOLOX_STRIDED(depthwise_forward)
YOLOX_STRIDED(depthwise_backward)
YOLOX_STRIDED(convolution_forward)
YOLOX_STRIDED(convolution_input_gradient)
YOLOX_STRIDED(convolution_weight_gradient)

#define YOLOX_NORM(act)                                                                  \
  YOLOX_FUNCTION(norm_train_##act, norm_train, Activation::act)                          \
  YOLOX_FUNCTION(norm_infer_##act, norm_infer, Activation::act)                          \
  YOLOX_FUNCTION(norm_train_backward_##act, norm_backward, Activation::act, false)       \
  YOLOX_FUNCTION(norm_infer_backward_##act, norm_backward, Activation::act, true)

YOLOX_NORM(none)
YOLOX_NORM(silu)
YOLOX_NORM(relu)
YOLOX_NORM(leaky_relu)

YOLOX_FUNCTION(max_pool_forward_5, max_pool_forward)
YOLOX_FUNCTION(max_pool_backward_5, max_pool_backward)
YOLOX_FUNCTION(upsample_forward_2, upsample_forward)
YOLOX_FUNCTION(upsample_backward_2, upsample_backward)
YOLOX_FUNCTION(space_to_depth, space_to_depth, false)
YOLOX_FUNCTION(depth_to_space, space_to_depth, true)
YOLOX_FUNCTION(image_planes, image_planes)
YOLOX_FUNCTION(tensor_sums, tensor_sums)
YOLOX_FUNCTION(sgd_update, sgd_update)
YOLOX_FUNCTION(average_update, average_update)
