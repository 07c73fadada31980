// How functions of the shim say what went wrong: null, or a text that is given back to easel_shim_free_text. No
// exception leaves them.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>

#include <c10/util/Exception.h>

// Said when there is no memory for what should be said; never freed.
inline char easel_no_memory[] = "out of memory";

inline char* text(const char* said) {
  const size_t length = std::strlen(said) + 1;
  auto* copy = static_cast<char*>(std::malloc(length));
  return copy == nullptr ? easel_no_memory : static_cast<char*>(std::memcpy(copy, said, length));
}

template <typename F>
char* guarded(F&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    // Without the trace of the stack that what() would add.
    return text(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return text(error.what());
  } catch (...) {
    return text("libtorch threw something that is no exception");
  }
}
