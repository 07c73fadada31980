// What a UNet does with large pictures between its products, in one pass over memory: single precision on the CPU. Each
// function returns as those of shim.cpp do.

#include "lanes.h"
#include "said.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>

namespace {

constexpr int64_t kLanes = 16;
// Numbers summed up in single precision before they are added in double.
constexpr int64_t kBlock = 1024;

// The sum of x + offset, or of its square.
template <bool kSquared>
inline __attribute__((always_inline)) double sum(const float* x, float offset, int64_t count) {
  double whole = 0.0;
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t end = std::min(first + kBlock, count);
    float sums[kLanes] = {};
    int64_t i = first;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const float v = x[i + lane] + offset;
        sums[lane] += kSquared ? v * v : v;
      }
    }
    for (; i < end; ++i) {
      const float v = x[i] + offset;
      sums[i % kLanes] += kSquared ? v * v : v;
    }
    double block = 0.0;
    for (const float lane : sums) {
      block += lane;
    }
    whole += block;
  }
  return whole;
}

EASEL_EVERY_WIDTH double plain_sum(const float* x, int64_t count) { return sum<false>(x, 0.0f, count); }

EASEL_EVERY_WIDTH double squared_sum(const float* x, float offset, int64_t count) {
  return sum<true>(x, offset, count);
}

EASEL_EVERY_WIDTH void scale_shift(const float* x, float scale, float shift, float* out, int64_t count) {
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    out[i] = x[i] * scale + shift;
  }
}

EASEL_EVERY_WIDTH void scale_shift_silu(const float* x, float scale, float shift, float* out, int64_t count) {
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float v = x[i] * scale + shift;
    out[i] = v / (1.0f + exponential(-v));
  }
}

// x times gelu of the gate in its exact form. The error function is that of Abramowitz and Stegun 7.1.26, of which libtorch
// makes its own; here the small side is not made of a difference.
EASEL_EVERY_WIDTH void gated_row(const float* x, const float* gate, float* out, int64_t count) {
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float v = gate[i];
    const float far = v < 0.0f ? -v : v;
    const float t = 1.0f / (1.0f + 0.3275911f * 0.70710678118654752f * far);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const float beyond = 0.5f * p * t * exponential(-0.5f * v * v);
    out[i] = x[i] * ((v < 0.0f ? 0.0f : v) - far * beyond);
  }
}

}  // namespace

extern "C" {

// (batch, channels, pixels) to the same shape, both whole in memory: groups of channels normed, after `time`, (batch,
// channels), was added where there is one; then SiLU if `silu`. `weight` and `bias` are (channels).
char* easel_shim_group_norm(
    const at::Tensor* x,
    const at::Tensor* time,
    const at::Tensor* weight,
    const at::Tensor* bias,
    int64_t groups,
    double eps,
    bool silu,
    const at::Tensor* out) {
  return guarded([&] {
    check(*x, "x");
    check(*weight, "weight");
    check(*bias, "bias");
    check(*out, "out");
    TORCH_CHECK(x->dim() == 3 && x->sizes() == out->sizes(), "x and out are not of one shape with three dimensions");
    TORCH_CHECK(x->is_contiguous() && out->is_contiguous(), "x or out is not whole in memory");
    const int64_t batch = x->size(0);
    const int64_t channels = x->size(1);
    const int64_t pixels = x->size(2);
    TORCH_CHECK(groups > 0 && channels % groups == 0 && pixels > 0, groups, " groups do not divide ", channels, " channels");
    for (const at::Tensor* tensor : {weight, bias}) {
      TORCH_CHECK(tensor->sizes() == at::IntArrayRef({channels}) && tensor->is_contiguous(), "not one weight a channel");
    }
    const float* times = nullptr;
    if (time != nullptr) {
      check(*time, "time");
      TORCH_CHECK(
          time->sizes() == at::IntArrayRef({batch, channels}) && time->is_contiguous(), "time is not of all channels");
      times = time->const_data_ptr<float>();
    }
    const float* from = x->const_data_ptr<float>();
    const float* weights = weight->const_data_ptr<float>();
    const float* biases = bias->const_data_ptr<float>();
    float* to = out->data_ptr<float>();
    const int64_t width = channels / groups;
    const auto numbers = static_cast<double>(width * pixels);
    share_out(batch * groups, at::internal::GRAIN_SIZE / (width * pixels) + 1, [&](int64_t group) {
      const int64_t first = group * width;
      const auto added = [&](int64_t channel) { return times == nullptr ? 0.0f : times[channel]; };
      double mean = 0.0;
      for (int64_t channel = first; channel < first + width; ++channel) {
        mean += plain_sum(from + channel * pixels, pixels) + static_cast<double>(added(channel)) * static_cast<double>(pixels);
      }
      mean /= numbers;
      double variance = 0.0;
      for (int64_t channel = first; channel < first + width; ++channel) {
        const auto offset = static_cast<float>(static_cast<double>(added(channel)) - mean);
        variance += squared_sum(from + channel * pixels, offset, pixels);
      }
      const double factor = 1.0 / std::sqrt(variance / numbers + eps);
      for (int64_t channel = first; channel < first + width; ++channel) {
        const double scale = factor * static_cast<double>(weights[channel % channels]);
        const double shift =
            (static_cast<double>(added(channel)) - mean) * scale + static_cast<double>(biases[channel % channels]);
        (silu ? scale_shift_silu : scale_shift)(
            from + channel * pixels, static_cast<float>(scale), static_cast<float>(shift), to + channel * pixels, pixels);
      }
    });
  });
}

// Rows (rows, 2 width) to (rows, width): the first half times gelu of the second.
char* easel_shim_gated_gelu(const at::Tensor* x, const at::Tensor* out) {
  return guarded([&] {
    check(*x, "x");
    check(*out, "out");
    TORCH_CHECK(x->dim() == 2 && out->dim() == 2 && x->size(0) == out->size(0), "x and out are not as many rows");
    const int64_t width = out->size(1);
    TORCH_CHECK(x->size(1) == 2 * width, "x is not twice as wide as out");
    TORCH_CHECK(x->is_contiguous() && out->is_contiguous(), "x or out is not whole in memory");
    const float* from = x->const_data_ptr<float>();
    float* to = out->data_ptr<float>();
    share_out(x->size(0), at::internal::GRAIN_SIZE / (width + 1) + 1, [&](int64_t row) {
      gated_row(from + row * 2 * width, from + row * 2 * width + width, to + row * width, width);
    });
  });
}

}  // extern "C"
