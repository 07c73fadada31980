// What libtorch's CPU half does in several passes over memory, in one: single precision only. Each function returns as
// those of shim.cpp do. The threads are libtorch's own: its iterator shares the work out.

#include "lanes.h"
#include "said.h"

#include <cmath>
#include <cstdint>

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>

namespace {

constexpr int64_t kLanes = 16;

// x / (1 + exp(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which is x (1 + tanh(u)) / 2 (Hendrycks and Gimpel 2016).
EASEL_EVERY_WIDTH void gelu_row(const float* x, float* out, int64_t count) {
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float v = x[i];
    out[i] = v / (1.0f + exponential(v * (-1.5957691216057308f - 0.07135481627159876f * v * v)));
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
