# The CUDA compiler and libraries. HACK_WITH_CUDA=AUTO goes on without where they are not found, ON stops.
find_package(CUDAToolkit QUIET)
find_path(HACK_NCCL_INCLUDE NAMES nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} $ENV{NCCL_HOME}/include)
find_library(HACK_NCCL_LIBRARY NAMES nccl HINTS ${CUDAToolkit_LIBRARY_DIR} $ENV{NCCL_HOME}/lib)
if(CUDAToolkit_FOUND AND HACK_NCCL_INCLUDE AND HACK_NCCL_LIBRARY)
  set(HACK_CUDA_ENABLED 1)
elseif(HACK_WITH_CUDA STREQUAL "ON")
  message(FATAL_ERROR "HACK_WITH_CUDA=ON needs the CUDA Toolkit (found: ${CUDAToolkit_FOUND}) and NCCL "
    "(nccl.h: ${HACK_NCCL_INCLUDE}, library: ${HACK_NCCL_LIBRARY}). Name them by CUDAToolkit_ROOT and NCCL_HOME.")
endif()
