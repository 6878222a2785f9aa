#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include "simd_avx2.h"
#include "vector_math.h"
#include "activations.h"
#include "microkernel.h"
#include "gemm.h"
#include "gemm_unpacked.h"
#include "gemm_int8.h"
#include "packing.h"
#include "linear.h"
#include "layer_norm.h"
#include "dropout.h"
#include "attention.h"
#include "attention_backward.h"
#include "encoder.h"
#include "embeddings.h"
#include "abi.h"
#endif
