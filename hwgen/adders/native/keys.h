// Many numbers modulo 2^61 - 1 raised to one power: eight at a time where the processor can.
#pragma once
#include <cstddef>

#include "field.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define HWGEN_WIDE __attribute__((target("avx2")))
#endif

namespace hwgen {

constexpr std::size_t WIDE = 8;       // numbers at a time; arrays are filled up to a multiple of it

#if defined(__x86_64__)

// A product of limbs of 31 and 30 bits. The result, as the factors may be, is below 2^61 + 8.
HWGEN_WIDE inline __m256i product(__m256i a, __m256i b) {
    const __m256i mask = _mm256_set1_epi64x((i64(1) << 31) - 1);
    const __m256i rest = _mm256_set1_epi64x((i64(1) << 30) - 1);
    const __m256i prime = _mm256_set1_epi64x(static_cast<i64>(PRIME));
    const __m256i a0 = _mm256_and_si256(a, mask), a1 = _mm256_srli_epi64(a, 31);
    const __m256i b0 = _mm256_and_si256(b, mask), b1 = _mm256_srli_epi64(b, 31);
    const __m256i cross = _mm256_add_epi64(_mm256_mul_epu32(a1, b0), _mm256_mul_epu32(a0, b1));
    __m256i sum = _mm256_add_epi64(_mm256_mul_epu32(a0, b0),
                                   _mm256_slli_epi64(_mm256_mul_epu32(a1, b1), 1));
    sum = _mm256_add_epi64(sum, _mm256_srli_epi64(cross, 30));
    sum = _mm256_add_epi64(sum, _mm256_slli_epi64(_mm256_and_si256(cross, rest), 31));
    return _mm256_add_epi64(_mm256_and_si256(sum, prime), _mm256_srli_epi64(sum, 61));
}

HWGEN_WIDE inline void powers_wide(u64* numbers, std::size_t count, u64 exponent, int top) {
    const __m256i prime = _mm256_set1_epi64x(static_cast<i64>(PRIME));
    const __m256i largest = _mm256_set1_epi64x(static_cast<i64>(PRIME - 1));
    for (std::size_t n = 0; n < count; n += WIDE) {
        __m256i* at = reinterpret_cast<__m256i*>(numbers + n);
        for (int half = 0; half < 2; half++) {
            const __m256i v = _mm256_loadu_si256(at + half);
            __m256i r = v;
            if (exponent == 122) {
                const __m256i v3 = product(product(v, v), v), v6 = product(v3, v3);
                const __m256i v15 = product(product(v6, v6), v3), v30 = product(v15, v15);
                const __m256i v61 = product(product(v30, v30), v);
                r = product(v61, v61);
            } else {
                for (int bit = top - 1; bit >= 0; bit--) {
                    r = product(r, r);
                    if (exponent >> bit & 1) r = product(r, v);
                }
            }
            const __m256i over = _mm256_cmpgt_epi64(r, largest);
            _mm256_storeu_si256(at + half, _mm256_sub_epi64(r, _mm256_and_si256(over, prime)));
        }
    }
}

inline bool has_wide() { return __builtin_cpu_supports("avx2"); }

#else

inline void powers_wide(u64*, std::size_t, u64, int) {}
inline bool has_wide() { return false; }

#endif

}  // namespace hwgen
