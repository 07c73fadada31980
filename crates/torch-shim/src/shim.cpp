// The few calls into libtorch that tch does not offer, as plain C. Each one returns null, or a text that says what
// went wrong and is given back to easel_shim_free_text; no exception leaves this file. Tensors are pointers to
// at::Tensor on the heap, as tch holds them. Nothing here needs a GPU or a symbol of libtorch's CUDA half.

#include "said.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/impl/alloc_cpu.h>

namespace {

// The memory formats as the Rust side numbers them.
at::MemoryFormat format_of(int32_t format) {
  TORCH_CHECK(format == 0 || format == 1, "memory format ", format, " is not known");
  return format == 0 ? at::MemoryFormat::Contiguous : at::MemoryFormat::ChannelsLast;
}

#ifdef __linux__

// The memory of tensors on the CPU. A network frees and asks for the same large blocks at every step; malloc gives each
// back to the kernel, which then clears every page anew. Here freed blocks stay and are used again, cut to size and put
// together with their neighbours as need be, yet never so many that much more is held than was in use at once at some time
// before, and they are made of huge pages where the kernel has them. Small blocks are malloc's, as in libtorch's own allocator.
class Blocks final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes < kLarge ? c10::alloc_cpu(bytes) : take(bytes);
    return {data, data, &Blocks::give, at::Device(at::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Blocks::give; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  void stats(uint64_t* in_use, uint64_t* idle, uint64_t* peak, bool reset_peak) {
    const std::lock_guard<std::mutex> lock(mutex_);
    *in_use = used_;
    *idle = idle_bytes_;
    *peak = peak_;
    if (reset_peak) {
      peak_ = used_;
    }
  }

  void release_idle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    release_until(SIZE_MAX);
    ceiling_ = used_;
  }

  // Never destroyed: tensors may outlive everything else.
  static Blocks& self() {
    static auto* blocks = new Blocks();
    return *blocks;
  }

 private:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kHugePage = size_t{2} << 20;
  static constexpr size_t kLarge = size_t{1} << 20;
  static constexpr size_t kSlack = size_t{32} << 20;

  // A run of idle pages, which may be of several blocks that lay side by side.
  struct Idle {
    size_t size;
    // When the last of it was freed.
    uint64_t since;
  };

  void* take(size_t bytes) {
    TORCH_CHECK(bytes < SIZE_MAX / 2, "can't allocate memory: you tried to allocate ", bytes, " bytes");
    const size_t size = (bytes + kPage - 1) / kPage * kPage;
    const std::lock_guard<std::mutex> lock(mutex_);
    char* data = reuse(size);
    if (data == nullptr) {
      // What is kept adds little to the most that was in use at once.
      const size_t allowed = ceiling_ + kSlack;
      if (used_ + size + idle_bytes_ > allowed) {
        release_until(used_ + size + idle_bytes_ - allowed);
      }
      data = map(size);
      if (data == nullptr) {
        release_until(SIZE_MAX);
        data = map(size);
      }
      TORCH_CHECK(data != nullptr, "can't allocate memory: you tried to allocate ", bytes, " bytes");
    }
    try {
      live_.emplace(data, size);
    } catch (...) {
      munmap(data, size);
      throw;
    }
    used_ += size;
    ceiling_ = std::max(ceiling_, used_);
    peak_ = std::max(peak_, used_);
    return data;
  }

  // The beginning of the smallest idle run that is large enough; the rest of it stays idle.
  char* reuse(size_t size) {
    auto best = idle_.end();
    for (auto it = idle_.begin(); it != idle_.end(); ++it) {
      if (it->second.size >= size && (best == idle_.end() || it->second.size < best->second.size)) {
        best = it;
      }
    }
    if (best == idle_.end()) {
      return nullptr;
    }
    char* data = best->first;
    auto node = idle_.extract(best);
    idle_bytes_ -= size;
    if (node.mapped().size > size) {
      node.key() = data + size;
      node.mapped().size -= size;
      idle_.insert(std::move(node));
    }
    return data;
  }

  // Gives idle pages back to the kernel, those first that have been so the longest, until this many bytes went.
  void release_until(size_t bytes) {
    while (bytes > 0 && !idle_.empty()) {
      const auto oldest = std::min_element(
          idle_.begin(), idle_.end(), [](const auto& a, const auto& b) { return a.second.since < b.second.since; });
      auto [data, idle] = *oldest;
      const size_t part = std::min(idle.size, bytes > SIZE_MAX - kPage ? bytes : (bytes + kPage - 1) / kPage * kPage);
      // From the end, so that what stays begins where a huge page does.
      munmap(data + (idle.size - part), part);
      idle_bytes_ -= part;
      if (part == idle.size) {
        idle_.erase(oldest);
      } else {
        oldest->second.size -= part;
      }
      bytes -= std::min(bytes, part);
    }
  }

  static char* map(size_t size) {
    const bool huge = size >= kHugePage;
    const size_t whole = huge ? size + kHugePage : size;
    void* found = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) {
      return nullptr;
    }
    auto* start = static_cast<char*>(found);
    if (!huge) {
      return start;
    }
    // From the first boundary of a huge page on; what lies before and behind is given back.
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
    if (before > 0) {
      munmap(start, before);
    }
    munmap(start + before + size, whole - before - size);
    // A wish; without it the block is only slower.
    (void)madvise(start + before, size, MADV_HUGEPAGE);
    return start + before;
  }

  static void give(void* data) noexcept {
    // Large blocks begin at a page; few others do.
    if (reinterpret_cast<uintptr_t>(data) % kPage == 0 && data != nullptr && self().keep(data)) {
      return;
    }
    c10::free_cpu(data);
  }

  bool keep(void* data) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = live_.find(data);
    if (found == live_.end()) {
      return false;
    }
    const size_t size = found->second;
    live_.erase(found);
    used_ -= size;
    try {
      auto at = idle_.emplace(static_cast<char*>(data), Idle{size, ++freed_}).first;
      idle_bytes_ += size;
      // With what lies right behind it and right before it.
      const auto next = std::next(at);
      if (next != idle_.end() && at->first + at->second.size == next->first) {
        at->second.size += next->second.size;
        idle_.erase(next);
      }
      if (at != idle_.begin()) {
        const auto before = std::prev(at);
        if (before->first + before->second.size == at->first) {
          before->second = Idle{before->second.size + at->second.size, at->second.since};
          idle_.erase(at);
        }
      }
    } catch (...) {
      munmap(data, size);
    }
    return true;
  }

  std::mutex mutex_;
  std::unordered_map<void*, size_t> live_;
  // By where they lie; no two touch.
  std::map<char*, Idle> idle_;
  uint64_t freed_ = 0;
  size_t used_ = 0;
  size_t idle_bytes_ = 0;
  size_t ceiling_ = 0;
  size_t peak_ = 0;
};

#endif

}  // namespace

extern "C" {

// From now on tensors on the CPU lie in Blocks. Any number of times; memory that was had before stays what it is.
char* easel_shim_memory_install() {
#ifdef __linux__
  return guarded([] { c10::SetCPUAllocator(&Blocks::self(), /*priority=*/1); });
#else
  return nullptr;
#endif
}

char* easel_shim_memory_stats(uint64_t* in_use, uint64_t* idle, uint64_t* peak, bool reset_peak) {
#ifdef __linux__
  return guarded([&] { Blocks::self().stats(in_use, idle, peak, reset_peak); });
#else
  (void)reset_peak;
  *in_use = *idle = *peak = 0;
  return nullptr;
#endif
}

char* easel_shim_memory_release_idle() {
#ifdef __linux__
  return guarded([] { Blocks::self().release_idle(); });
#else
  return nullptr;
#endif
}

void easel_shim_free_text(char* said) {
  if (said != easel_no_memory) {
    std::free(said);
  }
}

char* easel_shim_generator_new(uint64_t seed, at::Generator** out) {
  return guarded([&] { *out = new at::Generator(at::detail::createCPUGenerator(seed)); });
}

void easel_shim_generator_free(at::Generator* generator) { delete generator; }

// Unit noise in single precision on the CPU; advances the generator.
char* easel_shim_generator_randn(at::Generator* generator, const int64_t* shape, size_t dimensions, at::Tensor** out) {
  return guarded([&] {
    const auto options = at::TensorOptions().dtype(at::kFloat).device(at::kCPU);
    *out = new at::Tensor(at::randn(at::IntArrayRef(shape, dimensions), *generator, options));
  });
}

// The tensor in this memory format: itself where it is already, else a copy.
char* easel_shim_contiguous(const at::Tensor* tensor, int32_t format, at::Tensor** out) {
  return guarded([&] { *out = new at::Tensor(tensor->contiguous(format_of(format))); });
}

// Whether the tensor is dense in this memory format.
char* easel_shim_is_contiguous(const at::Tensor* tensor, int32_t format, bool* out) {
  return guarded([&] { *out = tensor->is_contiguous(format_of(format)); });
}

// Roots, exponentials, exponentials less one or logarithms of `count` numbers, each in its place.
char* easel_shim_rounded(int64_t function, float* numbers, int64_t count) {
  return guarded([&] {
    at::Tensor tensor = at::from_blob(numbers, {count}, at::kFloat);
    switch (function) {
      case 0:
        tensor.sqrt_();
        break;
      case 1:
        tensor.exp_();
        break;
      case 2:
        tensor.expm1_();
        break;
      case 3:
        tensor.log_();
        break;
      default:
        TORCH_CHECK(false, "there is no function ", function);
    }
  });
}

// Which kernels attention may choose from, for the whole process.
char* easel_shim_set_attention(bool flash, bool math) {
  return guarded([&] {
    at::globalContext().setSDPUseFlash(flash);
    at::globalContext().setSDPUseMath(math);
  });
}

char* easel_shim_attention(bool* flash, bool* math) {
  return guarded([&] {
    *flash = at::globalContext().userEnabledFlashSDP();
    *math = at::globalContext().userEnabledMathSDP();
  });
}

}  // extern "C"
