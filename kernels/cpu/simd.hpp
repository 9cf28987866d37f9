#pragma once

// To be included before anything of Highway: which instruction sets the kernels are compiled for. Vectors of scalable
// sets cannot be kept in arrays, as the register tiles are; such CPUs (Grace, Graviton) run the NEON code.
#define HACK_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// A source of AVX2's own instructions is not compiled again for the sets after it, which have smaller numbers.
#if defined(HACK_SIMD_UP_TO_AVX2) && !defined(HACK_SIMD_TARGET)
#define HWY_DISABLED_TARGETS (HACK_DISABLED_TARGETS | (HWY_AVX2 - 1))
#else
#define HWY_DISABLED_TARGETS HACK_DISABLED_TARGETS
#endif

// In a build for one machine (HACK_SIMD_OF_THIS_MACHINE) the set that would be chosen there, and no other.
#ifdef HACK_SIMD_TARGET
#define HWY_BASELINE_TARGETS HACK_SIMD_TARGET
#define HWY_COMPILE_ONLY_STATIC
#endif
