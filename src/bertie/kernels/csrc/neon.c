#if defined(__aarch64__) && defined(__LP64__)
#include "system.h"
#include "simd_neon.h"
#include "all_kernels.h"
#endif
