// Values as numbers modulo the prime 2^61 - 1.
//
// A signal is a linear form of the inputs; its number is that form at a random point, so equal
// numbers mean equal forms (up to accidents that the re-expansion of the finished graph would see).
#pragma once
#include <cstdint>

namespace hwgen {

using i32 = std::int32_t;
using i64 = std::int64_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u64 PRIME = (u64(1) << 61) - 1;

inline u64 mul(u64 a, u64 b) {
    unsigned __int128 wide = static_cast<unsigned __int128>(a) * b;
    u64 sum = (static_cast<u64>(wide) & PRIME) + static_cast<u64>(wide >> 61);
    return sum >= PRIME ? sum - PRIME : sum;
}

inline u64 add(u64 a, u64 b) {
    u64 sum = a + b;
    return sum >= PRIME ? sum - PRIME : sum;
}

inline u64 negative(u64 a) { return a ? PRIME - a : 0; }

inline u64 power(u64 base, u64 exponent) {
    u64 result = 1;
    for (; exponent; exponent >>= 1, base = mul(base, base))
        if (exponent & 1) result = mul(result, base);
    return result;
}

inline u64 inverse(u64 a) { return power(a, PRIME - 2); }

// xoshiro256**, seeded by splitmix64 (D. Blackman, S. Vigna, "Scrambled Linear Pseudorandom Number
// Generators", ACM TOMS 47(4), 2021).
class Random {
  public:
    explicit Random(u64 seed) {
        for (u64& word : state_) {
            seed += 0x9e3779b97f4a7c15;
            u64 z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            word = z ^ (z >> 31);
        }
    }
    u64 next() {
        const u64 result = rotate(state_[1] * 5, 7) * 9, t = state_[1] << 17;
        state_[2] ^= state_[0], state_[3] ^= state_[1], state_[1] ^= state_[2];
        state_[0] ^= state_[3], state_[2] ^= t, state_[3] = rotate(state_[3], 45);
        return result;
    }
    u32 below(u32 bound) { return static_cast<u32>(((next() >> 32) * bound) >> 32); }
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  private:
    static u64 rotate(u64 x, int k) { return (x << k) | (x >> (64 - k)); }
    u64 state_[4];
};

}  // namespace hwgen
