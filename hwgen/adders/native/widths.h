// Widths of words from ranges, and about how many bits the adders of a row have.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "field.h"

namespace hwgen {

// Ends of the values of a word; double, because an estimate is enough while searching.
struct Range {
    double lo = 0, hi = 0;
};

inline i32 bits_of(double magnitude) {        // of an integer >= 0
    if (magnitude < 1) return 0;
    int exponent;
    std::frexp(magnitude, &exponent);
    return exponent;
}

inline i32 width_of(const Range& r) {
    if (r.lo >= 0) return bits_of(r.hi);
    return 1 + std::max(bits_of(-r.lo - 1), bits_of(r.hi));
}

inline i32 pair_bits(const Range& a, i32 shift_a, const Range& b, i32 shift_b) {
    const i32 low = std::min(shift_a, shift_b), high = std::max(shift_a, shift_b);
    const i32 top = std::max(width_of(a) + shift_a, width_of(b) + shift_b) + 1 - low;
    return std::max(top - (high - low), 1);
}

// The terms of a row, added the narrowest first.
class Sum {
  public:
    void clear() { words_.clear(); }
    void add(const Range& r, i32 shift, i32 sign) {
        const Range turned = sign < 0 ? Range{-r.hi, -r.lo} : r;
        words_.push_back({turned, shift, width_of(r) + shift});
    }
    double bits(const Range& whole) {
        double total = 0;
        while (words_.size() > 1) {
            const Word a = least(), b = least();
            const i32 low = std::min(a.shift, b.shift), high = std::max(a.shift, b.shift);
            const i32 up_a = a.shift - low, up_b = b.shift - low;
            const Range r = {std::ldexp(a.range.lo, up_a) + std::ldexp(b.range.lo, up_b),
                             std::ldexp(a.range.hi, up_a) + std::ldexp(b.range.hi, up_b)};
            i32 width = width_of(r);
            if (words_.empty()) width = std::min(width, width_of(whole));     // the row itself
            total += std::max(width - (high - low), 1);
            words_.push_back({r, low, width_of(r) + low});
        }
        return total;
    }

  private:
    struct Word {
        Range range;
        i32 shift, top;
    };
    Word least() {
        std::size_t best = 0;
        for (std::size_t n = 1; n < words_.size(); n++)
            if (words_[n].top < words_[best].top) best = n;
        const Word found = words_[best];
        words_[best] = words_.back();
        words_.pop_back();
        return found;
    }
    std::vector<Word> words_;
};

}  // namespace hwgen
