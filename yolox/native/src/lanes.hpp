// A vector of floats as wide as the processor's registers, and the functions on it that the kernels share.
//
// The type is the compilers' own (GCC, Clang): + - * / and comparisons work elementwise, and the same text becomes AVX2,
// AVX-512 or NEON instructions. Each kernel file is compiled once for each instruction set, inside a namespace named after
// it (YOLOX_ISA), so that the linker never mixes two versions of an inline function.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace yolox::YOLOX_ISA {

#if defined(YOLOX_LANES)  // the tests build the widths of other processors; the compiler splits or narrows the vectors
constexpr int LANES = YOLOX_LANES;
#elif defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t IntLanes __attribute__((vector_size(LANES * sizeof(int32_t))));

// Scratch memory of the calling thread, shared by all kernels, kept from call to call and freed with the thread. A kernel
// may hand the pointers to other threads, whose own slots are other memory. The memory of a slot is valid until the next
// call with the same slot on the same thread, so that no kernel calls another one while it uses a slot. Dense convolutions
// use 0 for padded planes and 1 for weights (or the turned gradient), both of the thread that calls the kernel, and 2
// within a task; depthwise ones use all three within a task.
inline float *scratch(int slot, int64_t size) {
  static thread_local std::vector<float> memory[3];
#if defined(YOLOX_EXACT_SCRATCH)  // for AddressSanitizer: exactly what was asked for, and NaN where nothing was written yet
  memory[slot] = std::vector<float>(size, std::numeric_limits<float>::quiet_NaN());
#else
  if (static_cast<int64_t>(memory[slot].size()) < size) memory[slot].resize(size);
#endif
  return memory[slot].data();
}

inline Lanes fill(float value) { return Lanes{} + value; }

// Reads and writes at any address: memcpy of a known size becomes one unaligned instruction.
inline Lanes load(const float *from) {
  Lanes value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float *to, Lanes value) { std::memcpy(to, &value, sizeof value); }

// The first `count` < LANES elements; the others read as zero and are not written.
inline Lanes load_part(const float *from, int64_t count) {
  Lanes value{};
  std::memcpy(&value, from, count * sizeof(float));
  return value;
}

inline void store_part(float *to, Lanes value, int64_t count) { std::memcpy(to, &value, count * sizeof(float)); }

// The sum of the elements, always in the order of the lanes.
inline float sum(Lanes value) {
  float total = 0;
  for (int i = 0; i < LANES; ++i) total += value[i];
  return total;
}

// e^x within 2 units in the last place; NaN stays NaN. x is held in [-87, 88], where the result is a normal float.
// x = n ln 2 + r with |r| <= ln 2 / 2, and e^r is a polynomial (its Taylor series to r^7 is exact enough for a float).
inline Lanes exp(Lanes x) {
  x = x < fill(-87.0f) ? fill(-87.0f) : x;
  x = x > fill(88.0f) ? fill(88.0f) : x;
  // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the float.
  const Lanes shifter = fill(12582912.0f);
  const Lanes shifted = x * 1.44269504f + shifter;
  const Lanes n = shifted - shifter;
  const Lanes r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts: n times the first one is exact
  Lanes p = fill(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const IntLanes bits = ((IntLanes)shifted - (IntLanes)shifter + 127) << 23;  // the float 2^n
  return p * (Lanes)bits;
}

inline Lanes sigmoid(Lanes x) { return 1.0f / (1.0f + exp(-x)); }

}  // namespace yolox::YOLOX_ISA
