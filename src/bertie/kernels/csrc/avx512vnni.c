#if defined(__x86_64__) && defined(__LP64__)
#include "system.h"
#include "simd_avx512vnni.h"
#include "all_kernels.h"
#endif
