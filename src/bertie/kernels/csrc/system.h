/* What the system and its compiler give every file: the C library, threads where there is OpenMP, aligned memory. */

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else /* the pragmas say nothing then: who calls computes alone */
static inline int omp_get_thread_num(void) { return 0; }
#endif

/* memory from a line of the cache on, or null; ``free`` gives it back */
static inline void *aligned_memory(long bytes)
{
    void *memory;
    return posix_memalign(&memory, 64, bytes) ? 0 : memory;
}
