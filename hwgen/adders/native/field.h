// Values as numbers modulo the prime 2^61 - 1.
//
// A signal is a linear form of the inputs; its number is that form at a random point, so equal
// numbers mean equal forms (up to accidents that the re-expansion of the finished graph would see).
// A left shift multiplies by 2, a delay by an element of small order. `Units::key` raises to the
// order of the group of all those factors and -1: forms that differ by sign, shift and delay alone
// have one key.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

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

// A place: shift, column delay and row delay in one number, so that places are added by +.
constexpr i32 SHIFT_STEP = 128, COLUMN_STEP = 512;
struct Place {
    i32 shift, column, row;
};
inline i32 packed(i32 shift, i32 column, i32 row) {
    return shift + SHIFT_STEP * (column + COLUMN_STEP * row);
}
inline Place unpacked(i32 place) {
    const i32 shift = ((place + 64) & 127) - 64, rest = (place - shift) >> 7;
    return {shift, rest & (COLUMN_STEP - 1), rest >> 9};
}

// The factors that a place stands for.
class Units {
  public:
    static constexpr i32 REACH = 30;      // shifts that are found again from a quotient

    Units(i32 rows, i32 columns) : rows_(rows), columns_(columns) {
        const u64 column_order = order(columns, 0), row_order = order(rows, column_order);
        exponent_ = 122 * column_order * row_order;      // -1 and 2 have orders 2 and 61
        top_ = 63 - __builtin_clzll(exponent_);
        const u64 z = root(column_order), w = root(row_order), half = inverse(2);
        table_.resize(static_cast<std::size_t>(rows) * columns * SHIFT_STEP);
        for (i32 r = 0; r < rows; r++)
            for (i32 c = 0; c < columns; c++) {
                const u64 delay = mul(power(z, c), power(w, r));
                for (i32 s = -64; s < 64; s++) {
                    const u64 value = mul(delay, s < 0 ? power(half, -s) : power(2, s));
                    table_[index(s, c, r)] = value;
                    if (s < -REACH || s > REACH) continue;
                    quotients_.emplace(value, 2 * packed(s, c, r));
                    quotients_.emplace(negative(value), 2 * packed(s, c, r) + 1);
                }
            }
    }
    u64 at(i32 place) const {
        const Place p = unpacked(place);
        return table_[index(p.shift, p.column, p.row)];
    }
    u64 key(u64 value) const {
        u64 result = value;
        for (int bit = top_ - 1; bit >= 0; bit--) {
            result = mul(result, result);
            if (exponent_ >> bit & 1) result = mul(result, value);
        }
        return result;
    }
    u64 key122(u64 value) const {                        // the same where nothing is delayed
        const u64 x2 = mul(value, value), x3 = mul(x2, value), x6 = mul(x3, x3);
        const u64 x7 = mul(x6, value), x15 = add(0, mul(mul(x7, x7), value));
        const u64 x30 = mul(x15, x15), x60 = mul(x30, x30), x61 = mul(x60, value);
        return mul(x61, x61);
    }
    bool undelayed() const { return exponent_ == 122; }
    // Whether a quotient is a factor; place and sign of it if so.
    bool find(u64 quotient, i32& place, i32& sign) const {
        const auto found = quotients_.find(quotient);
        if (found == quotients_.end()) return false;
        sign = found->second & 1 ? -1 : 1;
        place = (found->second - (found->second & 1)) / 2;
        return true;
    }
    i32 rows() const { return rows_; }
    i32 columns() const { return columns_; }

  private:
    // The least order, coprime to the others, that tells all delays of a kernel apart.
    static u64 order(i32 size, u64 taken) {
        if (size == 1) return 1;
        for (const u64 m : {7, 9, 11, 13, 25, 31, 41, 151, 331, 1321})
            if (m != taken && m >= 2 * static_cast<u64>(size) - 1) return m;
        return 0;
    }
    static u64 root(u64 m) {
        for (u64 x = 3;; x++) {
            const u64 z = power(x, (PRIME - 1) / m);
            u64 left = m;
            bool exact = true;
            for (u64 q = 2; left > 1; q++)
                if (left % q == 0) {
                    exact = exact && power(z, m / q) != 1;
                    while (left % q == 0) left /= q;
                }
            if (exact) return z;
        }
    }
    std::size_t index(i32 s, i32 c, i32 r) const {
        return (static_cast<std::size_t>(r) * columns_ + c) * SHIFT_STEP + s + 64;
    }
    i32 rows_, columns_;
    u64 exponent_;
    int top_;
    std::vector<u64> table_;
    std::unordered_map<u64, i32> quotients_;             // looked up only, never walked
};

}  // namespace hwgen
