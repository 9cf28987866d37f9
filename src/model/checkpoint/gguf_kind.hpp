#pragma once

#include <cstdint>

namespace hack::model {

/// The kinds of metadata values, as numbered in GGUF files.
struct GgufKind {
  enum Number : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, flag, text, array, u64, i64, f64 };
};

}  // namespace hack::model
