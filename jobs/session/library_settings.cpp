#include "jobs/session/library_settings.hpp"

#include <unistd.h>

#include <cstdlib>

extern "C" char* openblas_get_corename(void);

namespace hack::jobs {
namespace {

/// OpenBLAS's name for kernels that use what this CPU has, as far as x86-64 goes; empty elsewhere.
std::string kernels_of_this_cpu() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) return "SkylakeX";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
  return {};
}

/// Kernels without AVX2, to which OpenBLAS falls back where it does not know a CPU.
bool is_fallback(const std::string& core) {
  for (const char* name : {"Prescott", "Core2", "Penryn", "Nehalem", "Atom", "Sandybridge", "generic"}) {
    if (core == name) return true;
  }
  return false;
}

}  // namespace

std::string outdated_blas_core() {
  const std::string core = openblas_get_corename();
  const std::string wanted = kernels_of_this_cpu();
  const bool misses_avx512 = wanted == "SkylakeX" && core == "Haswell";
  return !wanted.empty() && (is_fallback(core) || misses_avx512) ? core : std::string();
}

void apply_library_settings(char** argv) {
  constexpr const char* done = "HACK_LIBRARY_SETTINGS";
  if (std::getenv(done) != nullptr) return;
  constexpr int keep_users = 0;
  if (!outdated_blas_core().empty()) setenv("OPENBLAS_CORETYPE", kernels_of_this_cpu().c_str(), keep_users);
  setenv("GOMP_SPINCOUNT", "2000", keep_users);
  setenv(done, "1", keep_users);
  execv("/proc/self/exe", argv);  // comes back only where /proc is missing: then the defaults have to do
}

}  // namespace hack::jobs
