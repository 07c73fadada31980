// What the kernels share: how their loops become vectors, and how their work is shared out.

#pragma once

#include <cstdint>
#include <cstring>

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>

// Compiled for several widths of vectors; the loader takes the widest that the processor has.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define EASEL_EVERY_WIDTH __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EASEL_EVERY_WIDTH
#endif

// A loop whose input and output may be the same memory, but not overlap otherwise.
#if defined(__clang__)
#define EASEL_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define EASEL_INDEPENDENT _Pragma("GCC ivdep")
#else
#define EASEL_INDEPENDENT
#endif

// Of Cephes (Moshier 1989): 2^n times a polynomial of what is left. What is beyond 87 counts as 87.
inline __attribute__((always_inline)) float exponential(float z) {
  constexpr float kRound = 12582912.0f;
  int32_t round_bits;
  std::memcpy(&round_bits, &kRound, sizeof(round_bits));
  z = z > 87.0f ? 87.0f : z;
  z = z < -87.0f ? -87.0f : z;
  const float shifted = z * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (z - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits - round_bits + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

inline void check(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat, name, " is not in single precision on the CPU");
}

inline at::TensorIteratorConfig into(const at::Tensor& out) {
  at::TensorIteratorConfig config;
  config.resize_outputs(false).add_output(out);
  return config;
}

// Calls `piece` with every number below `pieces` on libtorch's own threads, at least `grain` on each.
template <typename Piece>
void share_out(int64_t pieces, int64_t grain, const Piece& piece) {
  const at::Tensor numbers = at::arange(pieces, at::kLong);
  const auto loop = [&](char** data, const int64_t* strides, int64_t inner, int64_t outer) {
    for (int64_t row = 0; row < outer; ++row) {
      for (int64_t i = 0; i < inner; ++i) {
        piece(*reinterpret_cast<const int64_t*>(data[0] + i * strides[0] + row * strides[1]));
      }
    }
  };
  into(numbers).check_all_same_dtype(false).build().for_each(loop, grain);
}
