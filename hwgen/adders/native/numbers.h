// Logarithms and signed digits of numbers.
#pragma once
#include <cmath>

#include "field.h"

namespace hwgen {

// -ln(u) by basic arithmetic alone, so that every machine gives the same bits.
inline double minus_log(double u) {
    int exponent;
    const double m = std::frexp(u, &exponent);            // 0.5 <= m < 1
    const double y = (m - 1) / (m + 1), y2 = y * y;
    double series = 0;
    for (int k = 31; k > 0; k -= 2) series = series * y2 + 1.0 / k;
    return -(2 * y * series + exponent * 0.6931471805599453);
}

// Signed digits of a number: canonical, or with some other choices where `wild` says so.
template <typename Take>
void digits(i64 value, double wild, Random& random, Take take) {
    for (i32 shift = 0; value; shift++, value /= 2) {
        if (!(value & 1)) continue;
        i64 digit = 2 - (value & 3);                      // canonical: 1 or -1
        if (wild > 0 && value != 1 && value != -1 && random.unit() < wild) digit = -digit;
        take(shift, static_cast<i32>(digit));
        value -= digit;
    }
}

inline i32 digit_count(i64 value) {
    const u64 x = static_cast<u64>(value < 0 ? -value : value);
    return __builtin_popcountll((3 * x) ^ x);
}

}  // namespace hwgen
