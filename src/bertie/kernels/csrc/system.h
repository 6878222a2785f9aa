/* What every file uses of the system: the C library, threads if there is OpenMP, aligned memory. */

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else /* the pragmas are ignored, and the calling thread computes alone */
static inline int omp_get_thread_num(void) { return 0; }
#endif

/* memory aligned to a cache line, or null; release it with ``free`` */
static inline void *aligned_memory(long bytes)
{
    void *memory;
    return posix_memalign(&memory, 64, bytes) ? 0 : memory;
}
