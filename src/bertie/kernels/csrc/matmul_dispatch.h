/* The entry point of products of unpacked matrices: allocates memory, starts threads, chooses between AMX and vectors. */

static int matmul_of_floats(const Matmul *m, int threads)
{
    const long depth = at_most(m->depth, BLOCK_DEPTH), right = upto(at_most(m->columns, BLOCK_SIDE), NR) * depth;
    const long left = m->a_is_transposed ? upto(at_most(m->rows, BLOCK_SIDE), MR) * depth : 0;
    float *memory = aligned_memory((left + right + 16) * sizeof(float));
    if (!memory)
        return NO_MEMORY;
#pragma omp parallel num_threads(threads) if (threads > 1)
    matmul_by_blocks(m, memory + right, memory);
    free(memory);
    return OK;
}

/* the order of summation does not depend on the number of threads */
int NAME(matmul)(const Matmul *m, int threads)
{
#ifdef HAS_TILES
    if (bertie_has_tiles)
        return matmul_of_slices(m, threads);
#endif
    return matmul_of_floats(m, threads);
}
