// Places, the factors that they stand for, and the keys that forget these factors.
//
// A left shift multiplies by 2, a delay by an element of small order. `Units::key` raises to the
// order of the group of all those factors and -1: forms that differ by sign, shift and delay alone
// have one key.
#pragma once
#include <unordered_map>
#include <vector>

#include "keys.h"

namespace hwgen {

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
        if (exponent_ == 122) {                          // nothing is delayed
            const u64 x3 = mul(mul(value, value), value), x6 = mul(x3, x3);
            const u64 x15 = mul(mul(x6, x6), x3), x30 = mul(x15, x15);
            const u64 x61 = mul(mul(x30, x30), value);
            return mul(x61, x61);
        }
        u64 result = value;
        for (int bit = top_ - 1; bit >= 0; bit--) {
            result = mul(result, result);
            if (exponent_ >> bit & 1) result = mul(result, value);
        }
        return result;
    }
    // The keys of many values in their place; there is room for a multiple of WIDE.
    void keys(u64* values, std::size_t count) const {
        if (wide_ && count > 2) return powers_wide(values, count, exponent_, top_);
        for (std::size_t n = 0; n < count; n++) values[n] = key(values[n]);
    }
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
    bool wide_ = has_wide();
    std::vector<u64> table_;
    std::unordered_map<u64, i32> quotients_;             // looked up only, never walked
};

}  // namespace hwgen
