// What libtorch's CPU half does in several passes over memory, in one: single precision only. Each function returns as
// those of shim.cpp do. The threads are libtorch's own: its iterator shares the work out.

#include "said.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>

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

namespace {

constexpr int64_t kLanes = 16;

// x / (1 + exp(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x (1 + tanh(u)) / 2 (Hendrycks and Gimpel 2016). The
// exponential is that of Cephes (Moshier 1989): 2^n times a polynomial of what is left.
EASEL_EVERY_WIDTH void gelu_row(const float* x, float* out, int64_t count) {
  constexpr float kRound = 12582912.0f;
  int32_t round_bits;
  std::memcpy(&round_bits, &kRound, sizeof(round_bits));
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float v = x[i];
    float z = v * (-1.5957691216057308f - 0.07135481627159876f * v * v);
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
    out[i] = v / (1.0f + p * power);
  }
}

// A head: scaled to a mean square of one and by its weights, then pairs of neighbours turned. `turns` has the cosines of
// all pairs, then the sines.
EASEL_EVERY_WIDTH void norm_turn_head(
    const float* x, const float* weight, const float* turns, float eps, float* out, int64_t width) {
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += x[i + lane] * x[i + lane];
    }
  }
  for (; i < width; ++i) {
    sums[i % kLanes] += x[i] * x[i];
  }
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) {
      sums[lane] += sums[lane + half];
    }
  }
  const float scale = 1.0f / std::sqrt(sums[0] / static_cast<float>(width) + eps);
  const int64_t pairs = width / 2;
  const float* sines = turns + pairs;
  EASEL_INDEPENDENT
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const float a = x[2 * pair] * scale * weight[2 * pair];
    const float b = x[2 * pair + 1] * scale * weight[2 * pair + 1];
    out[2 * pair] = a * turns[pair] - b * sines[pair];
    out[2 * pair + 1] = b * turns[pair] + a * sines[pair];
  }
}

void check(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat, name, " is not in single precision on the CPU");
}

at::TensorIteratorConfig into(const at::Tensor& out) {
  at::TensorIteratorConfig config;
  config.resize_outputs(false).add_output(out);
  return config;
}

}  // namespace

extern "C" {

// Gelu in its form with a hyperbolic tangent, from one tensor to another of its shape, which may be the same.
char* easel_shim_gelu_tanh(const at::Tensor* x, const at::Tensor* out) {
  return guarded([&] {
    check(*x, "x");
    check(*out, "out");
    TORCH_CHECK(x->sizes() == out->sizes(), "x and out differ in shape");
    auto iterator = into(*out).add_const_input(*x).build();
    iterator.for_each([](char** data, const int64_t* strides, int64_t inner, int64_t outer) {
      constexpr int64_t kSize = sizeof(float);
      for (int64_t row = 0; row < outer; ++row) {
        char* to = data[0] + row * strides[2];
        const char* from = data[1] + row * strides[3];
        if (strides[0] == kSize && strides[1] == kSize) {
          gelu_row(reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to), inner);
          continue;
        }
        for (int64_t i = 0; i < inner; ++i) {
          gelu_row(
              reinterpret_cast<const float*>(from + i * strides[1]), reinterpret_cast<float*>(to + i * strides[0]), 1);
        }
      }
    });
  });
}

// (batch, tokens, heads, width) to the same shape: every head normed and turned. `weight` is (width), `turns` is (tokens,
// width): cosines of the pairs, then sines. The numbers of a head lie side by side.
char* easel_shim_norm_turn(
    const at::Tensor* x, const at::Tensor* weight, const at::Tensor* turns, double eps, const at::Tensor* out) {
  return guarded([&] {
    check(*x, "x");
    check(*weight, "weight");
    check(*turns, "turns");
    check(*out, "out");
    TORCH_CHECK(x->dim() == 4 && x->sizes() == out->sizes(), "x and out are not of one shape with four dimensions");
    const int64_t tokens = x->size(1);
    const int64_t width = x->size(3);
    TORCH_CHECK(width > 0 && width % 2 == 0, "a head of width ", width, " has no pairs");
    TORCH_CHECK(weight->sizes() == at::IntArrayRef({width}), "weight is not as wide as a head");
    TORCH_CHECK(turns->sizes() == at::IntArrayRef({tokens, width}), "turns is not of all tokens");
    for (const at::Tensor* tensor : {x, weight, turns, out}) {
      TORCH_CHECK(tensor->stride(-1) == 1, "the numbers of a head do not lie side by side");
    }
    const float* weights = weight->const_data_ptr<float>();
    const auto angles = turns->select(1, 0).view({1, tokens, 1}).expand({x->size(0), tokens, x->size(2)});
    // A head is told by where it begins.
    const auto from = x->select(3, 0);
    const auto to = out->select(3, 0);
    auto iterator = into(to).add_const_input(from).add_const_input(angles).build();
    const auto loop = [&](char** data, const int64_t* strides, int64_t inner, int64_t outer) {
      for (int64_t row = 0; row < outer; ++row) {
        for (int64_t i = 0; i < inner; ++i) {
          norm_turn_head(
              reinterpret_cast<const float*>(data[1] + i * strides[1] + row * strides[4]),
              weights,
              reinterpret_cast<const float*>(data[2] + i * strides[2] + row * strides[5]),
              static_cast<float>(eps),
              reinterpret_cast<float*>(data[0] + i * strides[0] + row * strides[3]),
              width);
        }
      }
    };
    iterator.for_each(loop, at::internal::GRAIN_SIZE / width + 1);
  });
}

}  // extern "C"
