/* Every kernel, for the instruction set whose simd header was included before. */

#include "vector_math.h"
#include "bfloat16.h"
#include "activations.h"
#include "microkernel.h"
#include "gemm.h"
#include "gemm_unpacked.h"
#include "gemm_int8.h"
#ifdef HAS_TILES
#include "gemm_tiles.h"
#include "weight_gradient.h"
#include "slices.h"
#include "gemm_slices.h"
#endif
#include "packing.h"
#include "matmul.h"
#ifdef HAS_TILES
#include "matmul_slices.h"
#endif
#include "matmul_dispatch.h"
#include "linear.h"
#include "layer_norm.h"
#include "dropout.h"
#include "column_sums.h"
#include "bias_gelu.h"
#include "residual_norm.h"
#include "cross_entropy.h"
#include "attention.h"
#include "attention_backward.h"
#ifdef HAS_TILES
#include "attention_tiles.h"
#endif
#include "attention_dispatch.h"
#include "encoder.h"
#include "embeddings.h"
#include "abi.h"
