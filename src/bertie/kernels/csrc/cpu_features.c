/* Which of the library's instruction sets the processor can run: none where `long` has 32 bits, as on Windows. */
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__) && defined(__LP64__)
const void *bertie_avx2_abi(void);
const void *bertie_abi(void) { return bertie_avx2_abi(); }

int bertie_has_tiles = 0, bertie_has_bfloat16_tiles = 0;

/* detect AMX for 8-bit integers and for bfloat16; Linux grants its large registers only to processes that request them */
static void detect_tiles(void)
{
#if defined(__linux__)
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_TILE) || syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA))
        return;
    bertie_has_tiles = (d & AMX_INT8) != 0;
    bertie_has_bfloat16_tiles = (d & AMX_BF16) != 0;
#endif
}

/* the names of the instruction sets that the processor can run, fastest first */
const char *bertie_instruction_sets(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return "";
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return "avx2";
    if (!__builtin_cpu_supports("avx512vnni"))
        return "avx512 avx2";
    detect_tiles();
    return "avx512vnni avx512 avx2";
}

#elif defined(__aarch64__) && defined(__LP64__)
const void *bertie_neon_abi(void);
const void *bertie_abi(void) { return bertie_neon_abi(); }

static int has_sdot(void)
{
#if defined(__linux__)
    return (getauxval(AT_HWCAP) >> 20 & 1) != 0; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__)
    int has = 0;
    unsigned long size = sizeof(has);
    return !sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, 0, 0) && has;
#else
    return 0;
#endif
}

const char *bertie_instruction_sets(void) { return has_sdot() ? "neondot neon" : "neon"; }

#else
const void *bertie_abi(void) { return 0; }

const char *bertie_instruction_sets(void) { return ""; }
#endif
