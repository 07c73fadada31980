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

// What a channel goes through to be normed: (x + offset) * scale + shift. The mean is taken away first: the product of a
// channel that is far from zero would be rounded where it is large, and the difference is small.
struct Terms {
  float offset;
  float scale;
  float shift;
};

EASEL_EVERY_WIDTH void plain_channel(const float* x, Terms terms, float* out, int64_t count) {
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    out[i] = (x[i] + terms.offset) * terms.scale + terms.shift;
  }
}

EASEL_EVERY_WIDTH void silu_channel(const float* x, Terms terms, float* out, int64_t count) {
  EASEL_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float v = (x[i] + terms.offset) * terms.scale + terms.shift;
    out[i] = v / (1.0f + exponential(-v));
  }
}

void channel(bool silu, const float* x, Terms terms, float* out, int64_t count) {
  (silu ? silu_channel : plain_channel)(x, terms, out, count);
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

// Groups of channels of a picture, (batch, channels, pixels), whole in memory, with time, (batch, channels), added where
// there is one.
struct Groups {
  const float* from;
  const float* times;
  const float* weights;
  const float* biases;
  int64_t batch;
  int64_t channels;
  int64_t pixels;
  int64_t groups;
  double eps;

  Groups(
      const at::Tensor& x,
      const at::Tensor* time,
      const at::Tensor& weight,
      const at::Tensor& bias,
      int64_t groups,
      double eps)
      : times(nullptr), groups(groups), eps(eps) {
    check(x, "x");
    check(weight, "weight");
    check(bias, "bias");
    TORCH_CHECK(x.dim() == 3 && x.is_contiguous(), "x has no three dimensions or is not whole in memory");
    batch = x.size(0);
    channels = x.size(1);
    pixels = x.size(2);
    TORCH_CHECK(groups > 0 && channels % groups == 0 && pixels > 0, groups, " groups do not divide ", channels, " channels");
    for (const at::Tensor* tensor : {&weight, &bias}) {
      TORCH_CHECK(tensor->sizes() == at::IntArrayRef({channels}) && tensor->is_contiguous(), "not one weight a channel");
    }
    if (time != nullptr) {
      check(*time, "time");
      TORCH_CHECK(
          time->sizes() == at::IntArrayRef({batch, channels}) && time->is_contiguous(), "time is not of all channels");
      times = time->const_data_ptr<float>();
    }
    from = x.const_data_ptr<float>();
    weights = weight.const_data_ptr<float>();
    biases = bias.const_data_ptr<float>();
  }

  // The terms of each channel of each picture.
  template <typename F>
  void each(const F& with) const {
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
        const double offset = static_cast<double>(added(channel)) - mean;
        const double scale = factor * static_cast<double>(weights[channel % channels]);
        const auto rounded = static_cast<float>(offset);
        const double shift =
            (offset - static_cast<double>(rounded)) * scale + static_cast<double>(biases[channel % channels]);
        with(channel, Terms{rounded, static_cast<float>(scale), static_cast<float>(shift)});
      }
    });
  }
};

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
    const Groups norm(*x, time, *weight, *bias, groups, eps);
    check(*out, "out");
    TORCH_CHECK(x->sizes() == out->sizes() && out->is_contiguous(), "out is not of the shape of x or not whole in memory");
    float* to = out->data_ptr<float>();
    norm.each([&](int64_t at, Terms terms) {
      channel(silu, norm.from + at * norm.pixels, terms, to + at * norm.pixels, norm.pixels);
    });
  });
}

// The terms of each channel, (batch, channels, 3), for easel_shim_group_normed.
char* easel_shim_group_norm_terms(
    const at::Tensor* x,
    const at::Tensor* weight,
    const at::Tensor* bias,
    int64_t groups,
    double eps,
    const at::Tensor* terms) {
  return guarded([&] {
    const Groups norm(*x, nullptr, *weight, *bias, groups, eps);
    check(*terms, "terms");
    TORCH_CHECK(
        terms->sizes() == at::IntArrayRef({norm.batch, norm.channels, 3}) && terms->is_contiguous(),
        "terms are not three of each channel");
    float* to = terms->data_ptr<float>();
    norm.each([&](int64_t at, Terms of) {
      to[3 * at] = of.offset;
      to[3 * at + 1] = of.scale;
      to[3 * at + 2] = of.shift;
    });
  });
}

// A part of the pixels of a picture whose terms are known, (batch, channels, pixels), each channel's side by side, to the
// same shape, whole in memory.
char* easel_shim_group_normed(const at::Tensor* x, const at::Tensor* terms, bool silu, const at::Tensor* out) {
  return guarded([&] {
    check(*x, "x");
    check(*terms, "terms");
    check(*out, "out");
    TORCH_CHECK(
        x->dim() == 3 && x->sizes() == out->sizes() && out->is_contiguous(),
        "x has no three dimensions, or out is not of its shape or not whole in memory");
    const int64_t channels = x->size(1);
    const int64_t pixels = x->size(2);
    TORCH_CHECK(pixels == 1 || x->stride(2) == 1, "the pixels of a channel are not side by side");
    TORCH_CHECK(
        terms->sizes() == at::IntArrayRef({x->size(0), channels, 3}) && terms->is_contiguous(),
        "terms are not three of each channel");
    const float* from = x->const_data_ptr<float>();
    const float* of = terms->const_data_ptr<float>();
    float* to = out->data_ptr<float>();
    const int64_t batch_stride = x->stride(0);
    const int64_t channel_stride = x->stride(1);
    share_out(x->size(0) * channels, at::internal::GRAIN_SIZE / (pixels + 1) + 1, [&](int64_t at) {
      channel(
          silu,
          from + at / channels * batch_stride + at % channels * channel_stride,
          Terms{of[3 * at], of[3 * at + 1], of[3 * at + 2]},
          to + at * pixels,
          pixels);
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
