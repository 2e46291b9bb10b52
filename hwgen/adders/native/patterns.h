// Every pair of terms of a row, by the value of its sum; and the values that exist as signals.
#pragma once
#include <utility>
#include <vector>

#include "field.h"

namespace hwgen {

constexpr i32 NONE = -1;

struct Pattern {
    u64 key = 0;
    i32 signal = NONE;    // the signal that has this value
    i32 count = 0;        // pairs
    i32 head = NONE;      // of the list of pairs
    i32 queued = 0;       // the level at which it waits; 0: not at all
};

struct Pair {
    i32 first, second, next;
};

class Patterns {
  public:
    Patterns() : slots_(1 << 14) {}

    Pattern& operator[](i32 slot) { return slots_[slot]; }
    const Pair& pair(i32 at) const { return pairs_[at]; }

    void expect(u64 key) const { __builtin_prefetch(&slots_[mixed(key) & (slots_.size() - 1)]); }
    i32 find(u64 key) const {
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = mixed(key) & mask;; at = (at + 1) & mask) {
            if (slots_[at].key == key) return static_cast<i32>(at);
            if (!slots_[at].key) return NONE;
        }
    }
    i32 insert(u64 key) {
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = mixed(key) & mask;; at = (at + 1) & mask) {
            if (slots_[at].key == key) return static_cast<i32>(at);
            if (!slots_[at].key) {
                slots_[at].key = key;
                used_++;
                return static_cast<i32>(at);
            }
        }
    }
    bool crowded() const { return used_ * 8 > slots_.size() * 5; }
    // Most keys are of patterns that are gone. A table that holds few of them stays in the caches.
    bool littered() const { return used_ * 8 > slots_.size() * 3; }

    // Make room. Patterns that are neither counted nor signals are dropped if `purge`. Returns the
    // new slot of each old one.
    std::vector<i32> rehash(bool purge) {
        std::size_t kept = 0;
        for (const Pattern& p : slots_)
            kept += p.key && (!purge || p.count || p.signal != NONE);
        std::size_t size = 1 << 14;
        while (size < 8 * kept) size *= 2;
        std::vector<Pattern> old(size);
        old.swap(slots_);
        used_ = 0;
        std::vector<i32> moved(old.size(), NONE);
        for (std::size_t at = 0; at < old.size(); at++) {
            const Pattern& p = old[at];
            if (!p.key || (purge && !p.count && p.signal == NONE)) continue;
            moved[at] = insert(p.key);
            slots_[moved[at]] = p;
        }
        return moved;
    }
    void link(i32 slot, i32 first, i32 second) {
        i32 at;
        if (spare_ != NONE) {
            at = spare_;
            spare_ = pairs_[at].next;
        } else {
            at = static_cast<i32>(pairs_.size());
            pairs_.emplace_back();
        }
        pairs_[at] = {first, second, slots_[slot].head};
        slots_[slot].head = at;
        slots_[slot].count++;
    }
    void unlink(i32 slot, i32 first, i32 second) {
        i32* at = &slots_[slot].head;
        while (pairs_[*at].first != first || pairs_[*at].second != second) at = &pairs_[*at].next;
        const i32 gone = *at;
        *at = pairs_[gone].next;
        pairs_[gone].next = spare_;
        spare_ = gone;
        slots_[slot].count--;
    }
    std::size_t size() const { return slots_.size(); }

  private:
    static std::size_t mixed(u64 key) {
        return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15 >> 20);
    }
    std::vector<Pattern> slots_;
    std::vector<Pair> pairs_;
    std::size_t used_ = 0;
    i32 spare_ = NONE;
};

}  // namespace hwgen
