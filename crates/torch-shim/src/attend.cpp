// Attention in single precision on processors with vectors of sixteen numbers. It returns as the functions of shim.cpp do.
//
// As in FlashAttention (Dao et al. 2022, arXiv 2205.14135) scores are never held as a whole: a few queries go past all keys,
// and what they have gathered is scaled down when a larger score comes up. Queries lie in the lanes of vectors, so that
// their softmax needs nothing across lanes and no width of a head wastes any.

#include "lanes.h"
#include "said.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define EASEL_HAS_WIDE 1
#if !defined(__clang__)
// gcc 12 takes what its own intrinsics leave open for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#define EASEL_WIDE __attribute__((target("avx512f")))
#endif

namespace {

#ifdef EASEL_HAS_WIDE

constexpr int64_t kLanes = 16;
// Vectors that hold the queries of a piece. With eight rows they fill 24 of the 32 registers.
constexpr int64_t kVectors = 3;
constexpr int64_t kQueries = kVectors * kLanes;
// Keys between two looks at the largest score: their scores stay in the nearest cache.
constexpr int64_t kKeys = 64;
// Less than any score, and no infinity: the first scaling multiplies zeros by zero.
constexpr float kLeast = -1e30f;

// 2^x; the polynomial is that of Cephes (Moshier 1989).
EASEL_WIDE inline __attribute__((always_inline)) __m512 power_of_two(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.535336188319500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.339887440266574e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.618437357674640e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550332471162809e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402264791363012e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931472028550421e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

// Scores of `kRows` keys, (kRows, kQueries), and the largest of each query. `queries` is (width, kQueries).
template <int kRows>
EASEL_WIDE inline __attribute__((always_inline)) void score(
    const float* queries, const float* keys, int64_t width, float* scores, __m512* largest) {
  __m512 sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      sums[row][vector] = _mm512_setzero_ps();
    }
  }
  for (int64_t i = 0; i < width; ++i) {
    __m512 query[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      query[vector] = _mm512_load_ps(queries + i * kQueries + vector * kLanes);
    }
    for (int row = 0; row < kRows; ++row) {
      const __m512 key = _mm512_set1_ps(keys[row * width + i]);
      for (int vector = 0; vector < kVectors; ++vector) {
        sums[row][vector] = _mm512_fmadd_ps(key, query[vector], sums[row][vector]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      _mm512_store_ps(scores + row * kQueries + vector * kLanes, sums[row][vector]);
      largest[vector] = _mm512_max_ps(largest[vector], sums[row][vector]);
    }
  }
}

// Scales `kRows` columns of what was gathered, (kRows, kQueries), and adds the values of `count` keys by their weights. These
// are summed up by themselves first: in a sum of many thousand, each would be rounded to the places of all before.
template <int kRows>
EASEL_WIDE inline __attribute__((always_inline)) void gather(
    const float* weights, const float* values, int64_t count, int64_t width, const __m512* factors, float* gathered) {
  __m512 sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      sums[row][vector] = _mm512_setzero_ps();
    }
  }
  for (int64_t key = 0; key < count; ++key) {
    __m512 weight[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      weight[vector] = _mm512_load_ps(weights + key * kQueries + vector * kLanes);
    }
    for (int row = 0; row < kRows; ++row) {
      const __m512 value = _mm512_set1_ps(values[key * width + row]);
      for (int vector = 0; vector < kVectors; ++vector) {
        sums[row][vector] = _mm512_fmadd_ps(value, weight[vector], sums[row][vector]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      float* place = gathered + row * kQueries + vector * kLanes;
      _mm512_store_ps(place, _mm512_fmadd_ps(_mm512_load_ps(place), factors[vector], sums[row][vector]));
    }
  }
}

// One piece: `queries` and `gathered` are (width, kQueries), the former scaled for powers of two, the latter written whole;
// `keys` and `values` are (count, width); `scores` has room for (kKeys, kQueries).
EASEL_WIDE void attend_piece(
    const float* queries,
    const float* keys,
    const float* values,
    int64_t count,
    int64_t width,
    float* scores,
    float* gathered) {
  __m512 most[kVectors];
  __m512 total[kVectors];
  for (int vector = 0; vector < kVectors; ++vector) {
    most[vector] = _mm512_set1_ps(kLeast);
    total[vector] = _mm512_setzero_ps();
  }
  std::fill(gathered, gathered + width * kQueries, 0.0f);
  for (int64_t first = 0; first < count; first += kKeys) {
    const int64_t here = std::min(kKeys, count - first);
    const float* key = keys + first * width;
    __m512 largest[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      largest[vector] = most[vector];
    }
    int64_t row = 0;
    for (; row + 8 <= here; row += 8) {
      score<8>(queries, key + row * width, width, scores + row * kQueries, largest);
    }
    for (; row + 4 <= here; row += 4) {
      score<4>(queries, key + row * width, width, scores + row * kQueries, largest);
    }
    for (; row < here; ++row) {
      score<1>(queries, key + row * width, width, scores + row * kQueries, largest);
    }
    __m512 factors[kVectors];
    __m512 weights[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      factors[vector] = power_of_two(_mm512_sub_ps(most[vector], largest[vector]));
      weights[vector] = _mm512_setzero_ps();
      most[vector] = largest[vector];
    }
    for (row = 0; row < here; ++row) {
      for (int vector = 0; vector < kVectors; ++vector) {
        float* place = scores + row * kQueries + vector * kLanes;
        const __m512 weight = power_of_two(_mm512_sub_ps(_mm512_load_ps(place), most[vector]));
        weights[vector] = _mm512_add_ps(weights[vector], weight);
        _mm512_store_ps(place, weight);
      }
    }
    for (int vector = 0; vector < kVectors; ++vector) {
      total[vector] = _mm512_fmadd_ps(total[vector], factors[vector], weights[vector]);
    }
    const float* value = values + first * width;
    int64_t column = 0;
    for (; column + 8 <= width; column += 8) {
      gather<8>(scores, value + column, here, width, factors, gathered + column * kQueries);
    }
    for (; column + 4 <= width; column += 4) {
      gather<4>(scores, value + column, here, width, factors, gathered + column * kQueries);
    }
    for (; column < width; ++column) {
      gather<1>(scores, value + column, here, width, factors, gathered + column * kQueries);
    }
  }
  for (int vector = 0; vector < kVectors; ++vector) {
    const __m512 share = _mm512_div_ps(_mm512_set1_ps(1.0f), total[vector]);
    for (int64_t column = 0; column < width; ++column) {
      float* place = gathered + column * kQueries + vector * kLanes;
      _mm512_store_ps(place, _mm512_mul_ps(_mm512_load_ps(place), share));
    }
  }
}

void attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& out) {
  const int64_t heads = query.size(1);
  const int64_t tokens = query.size(2);
  const int64_t width = query.size(3);
  const int64_t count = key.size(2);
  const int64_t pieces = (tokens + kQueries - 1) / kQueries;
  const float scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(width)));
  // Every piece reads all keys: side by side they come at once.
  const at::Tensor keys = key.contiguous();
  const at::Tensor values = value.contiguous();
  const float* from = query.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  share_out(query.size(0) * heads * pieces, 1, [&](int64_t number) {
    const int64_t head = number / pieces;
    const int64_t first = number % pieces * kQueries;
    const int64_t here = std::min(kQueries, tokens - first);
    std::vector<float> room((2 * width + kKeys) * kQueries + kLanes);
    void* begin = room.data();
    std::size_t space = room.size() * sizeof(float);
    auto* queries = static_cast<float*>(std::align(kLanes * sizeof(float), kLanes * sizeof(float), begin, space));
    float* gathered = queries + width * kQueries;
    float* scores = gathered + width * kQueries;
    const float* source = from + head / heads * query.stride(0) + head % heads * query.stride(1);
    for (int64_t i = 0; i < here; ++i) {
      for (int64_t column = 0; column < width; ++column) {
        queries[column * kQueries + i] = source[(first + i) * query.stride(2) + column] * scale;
      }
    }
    const int64_t matrix = head * count * width;
    attend_piece(
        queries, keys.const_data_ptr<float>() + matrix, values.const_data_ptr<float>() + matrix, count, width, scores, gathered);
    float* target = to + head / heads * out.stride(0) + head % heads * out.stride(1);
    for (int64_t i = 0; i < here; ++i) {
      for (int64_t column = 0; column < width; ++column) {
        target[(first + i) * out.stride(2) + column] = gathered[column * kQueries + i];
      }
    }
  });
}

#endif

}  // namespace

extern "C" {

// Whether the processor and this build have what `easel_shim_attend` is made of.
bool easel_shim_can_attend() {
#ifdef EASEL_HAS_WIDE
  return __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

// (batch, heads, tokens, width) of queries to the same shape; keys and values are (batch, heads, count, width). The numbers of
// a head lie side by side in `query` and `out`.
char* easel_shim_attend(const at::Tensor* query, const at::Tensor* key, const at::Tensor* value, const at::Tensor* out) {
  return guarded([&] {
    check(*query, "query");
    check(*key, "key");
    check(*value, "value");
    check(*out, "out");
    TORCH_CHECK(query->dim() == 4 && query->sizes() == out->sizes(), "query and out are not of one shape with four dimensions");
    TORCH_CHECK(key->dim() == 4 && key->sizes() == value->sizes(), "key and value are not of one shape with four dimensions");
    for (const int64_t dimension : {0, 1, 3}) {
      TORCH_CHECK(query->size(dimension) == key->size(dimension), "query and key differ in more than their tokens");
    }
    TORCH_CHECK(query->size(3) > 0 && key->size(2) > 0, "there is nothing to look at");
    for (const at::Tensor* tensor : {query, out}) {
      TORCH_CHECK(tensor->stride(-1) == 1, "the numbers of a head do not lie side by side");
    }
    TORCH_CHECK(easel_shim_can_attend(), "the processor has no vectors of sixteen numbers");
#ifdef EASEL_HAS_WIDE
    attend(*query, *key, *value, *out);
#endif
  });
}

}  // extern "C"
