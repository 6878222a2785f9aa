/* What the processor can run of this library: 0 nothing, 1 AVX2, 2 AVX-512, 3 AVX-512 with VNNI. */

int bertie_instruction_sets(void)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return 1;
    return __builtin_cpu_supports("avx512vnni") ? 3 : 2;
#else
    return 0;
#endif
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
const void *bertie_avx2_abi(void);
const void *bertie_abi(void) { return bertie_avx2_abi(); }
#else
const void *bertie_abi(void) { return 0; }
#endif
