#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/dtype.hpp"

// Kernel bodies know the machine that runs them through an execution interface alone. A kernel is a functor that holds
// its arguments:
//
//     struct Kernel {
//       static constexpr const char* name = "Kernel";
//       Geometry geometry() const;                                       // on the host
//       template <class Exec> HACK_BODY void operator()(Exec& exec) const;  // every thread of every block
//     };
//
// On a GPU Exec is CudaExecution below; tests/simt/ runs the same bodies on the host and watches them. Exec has
//
//     block() thread() threads() lane() warp()   where this thread stands
//     sync() sync_warp()                         barriers of the block, of the warp; all of its threads take part
//     shared<T>(word)                            an array in shared memory from its word-th 4 bytes on, T of 4 bytes
//     group_sum(x, lanes) warp_max(x)            over aligned groups of 2^i lanes; every lane gets the same bits
//     shuffle_xor(x, mask)                       x, float or int, of lane ^ mask
//     publish(flag, value)                       shows what this thread has seen written, then the value, to all GPUs
//     wait_for(flag, value)                      until the flag (modulo 2^32) has come to the value
//     take_ticket(counter, all)                  counter before this thread adds 1, all to 0 at `all`; what blocks that
//                                                took earlier tickets had written, behind a barrier, can be seen
//     fresh(address) fresh_floats(address, to)   a number, or four at 16 bytes, that another GPU may have written
//     load16(address, words)                     16 bytes of weights from an address divisible by 16
//     weight(number)                             a number of weights in memory, or of their scales
//     load_floats(address, to) store_floats      four floats at 16 bytes, which this launch may write
//     read16(shared, i, to) write16(…, from)     floats i to i + 3 of an array in shared memory, at 16 bytes
//     turn(angle, cosine, sine)                  both of an angle in f32, rounded from double
//     widen(x) narrow<T>(x)                      number types, to nearest even
//     mma<T>(a, b, sums)                         sums (16, 8) += a (16, 16) b (16, 8), the fragments of mma.m16n8k16

#if defined(__CUDACC__)
#define HACK_BODY __device__ __forceinline__
#define HACK_UNROLL _Pragma("unroll")
#define HACK_NO_UNROLL _Pragma("unroll 1")
#else
#define HACK_BODY inline
#define HACK_UNROLL
#define HACK_NO_UNROLL
#endif

namespace hack::kernels::cuda {

/// Shape of a launch. `threads` is a multiple of 32.
struct Geometry {
  index_t blocks = 0;
  int threads = 0;
  int shared_words = 0;  ///< of 4 bytes
};

/// A matrix (rows, cols) in device memory, row-major.
template <class T>
struct Array {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t ld = 0;

  HACK_BODY T* row(index_t i) const { return data + i * ld; }
};

constexpr index_t divide_up(index_t n, index_t by) { return (n + by - 1) / by; }

#if defined(__CUDACC__)

constexpr unsigned whole_warp = 0xffffffffu;

class CudaExecution {
 public:
  __device__ explicit CudaExecution(std::uint32_t* shared) : shared_(shared) {}

  __device__ index_t block() const { return blockIdx.x; }
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ int lane() const { return thread() % 32; }
  __device__ int warp() const { return thread() / 32; }
  __device__ void sync() const { __syncthreads(); }
  __device__ void sync_warp() const { __syncwarp(); }

  template <class T>
  __device__ T* shared(int word) const {
    static_assert(sizeof(T) == 4);
    return reinterpret_cast<T*>(shared_ + word);
  }

  template <class T>
  __device__ T group_sum(T x, int lanes) const {
    for (int offset = lanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(whole_warp, x, offset);
    return x;
  }
  __device__ float warp_max(float x) const {
    for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(whole_warp, x, offset));
    return x;
  }
  template <class T>
  __device__ T shuffle_xor(T x, int mask) const {
    return __shfl_xor_sync(whole_warp, x, mask);
  }

  __device__ void publish(std::uint32_t* flag, std::uint32_t value) const {
    // A release orders what the block's barrier has ordered before it, too.
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
  }
  __device__ void wait_for(const std::uint32_t* flag, std::uint32_t value) const {
    std::uint32_t seen;
    do {
      asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory");
    } while (static_cast<std::int32_t>(seen - value) < 0);
  }
  __device__ std::uint32_t take_ticket(std::uint32_t* counter, std::uint32_t all) const {
    std::uint32_t before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(counter), "r"(all - 1)
                 : "memory");
    return before;
  }
  __device__ float fresh(const float* address) const { return __ldcv(address); }
  __device__ void fresh_floats(const float* address, float (&to)[4]) const {
    const float4 read = __ldcv(reinterpret_cast<const float4*>(address));
    to[0] = read.x;
    to[1] = read.y;
    to[2] = read.z;
    to[3] = read.w;
  }

  template <class T>
  __device__ T weight(const T& number) const {
    return number;
  }
  __device__ void load16(const void* address, std::uint32_t (&words)[4]) const {
    const uint4 loaded = __ldg(static_cast<const uint4*>(address));
    words[0] = loaded.x;
    words[1] = loaded.y;
    words[2] = loaded.z;
    words[3] = loaded.w;
  }

  __device__ void load_floats(const float* address, float (&to)[4]) const {
    const float4 read = *reinterpret_cast<const float4*>(address);
    to[0] = read.x;
    to[1] = read.y;
    to[2] = read.z;
    to[3] = read.w;
  }
  __device__ void store_floats(float* address, const float (&from)[4]) const {
    *reinterpret_cast<float4*>(address) = make_float4(from[0], from[1], from[2], from[3]);
  }
  __device__ void read16(const float* shared, int i, float (&to)[4]) const { load_floats(shared + i, to); }
  __device__ void write16(float* shared, int i, const float (&from)[4]) const { store_floats(shared + i, from); }

  // In double and halves of turns: what reduces large angles in f32 would take local memory.
  __device__ void turn(float angle, float& cosine, float& sine) const {
    double c, s;
    sincospi(static_cast<double>(angle) * 0.31830988618379067154, &s, &c);
    cosine = static_cast<float>(c);
    sine = static_cast<float>(s);
  }

  __device__ float widen(float x) const { return x; }
  __device__ float widen(bf16 x) const { return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16); }
  __device__ float widen(f16 x) const {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
  }

  template <class T>
  __device__ T narrow(float x) const {
    T out;
    if constexpr (std::is_same_v<T, bf16>) {
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
    } else {
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
    }
    return out;
  }

  template <class T>
  __device__ void mma(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&sums)[4]) const {
    if constexpr (std::is_same_v<T, bf16>) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
  }

 private:
  std::uint32_t* shared_;
};

#endif

/// Sum over the block, the same bits in every thread. `scratch`: 32 words of shared memory from this word on, free for
/// other use after the next barrier.
template <class Exec>
HACK_BODY float block_sum(Exec& exec, float x, int scratch) {
  const auto parts = exec.template shared<float>(scratch);
  x = exec.group_sum(x, 32);
  if (exec.lane() == 0) parts[exec.warp()] = x;
  exec.sync();
  x = exec.lane() < exec.threads() / 32 ? static_cast<float>(parts[exec.lane()]) : 0.0f;
  return exec.group_sum(x, 32);
}

/// Maximum over the block; as block_sum.
template <class Exec>
HACK_BODY float block_max(Exec& exec, float x, int scratch) {
  const auto parts = exec.template shared<float>(scratch);
  x = exec.warp_max(x);
  if (exec.lane() == 0) parts[exec.warp()] = x;
  exec.sync();
  x = exec.lane() < exec.threads() / 32 ? static_cast<float>(parts[exec.lane()]) : -INFINITY;
  return exec.warp_max(x);
}

}  // namespace hack::kernels::cuda
