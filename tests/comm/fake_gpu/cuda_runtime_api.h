#pragma once

// As much of CUDA's header as collectives need. Memory of this "GPU" is the host's, streams are always done.

struct CUstream_st;
using cudaStream_t = CUstream_st*;
