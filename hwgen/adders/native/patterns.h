// Every pair of terms of a row, by the value of its sum; and the values that exist as signals.
//
// A pattern keeps its number as long as a pair, a signal or the log of this step may name it.
#pragma once
#include <utility>
#include <vector>

#include "units.h"

namespace hwgen {

constexpr i32 NONE = -1;

struct Pattern {
    u64 key = 0;          // 0: the number is free
    i32 chain = NONE;     // the next one of the same hash, or the next free number
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
    Patterns() : heads_(1 << 10, NONE) {}

    Pattern& operator[](i32 slot) { return patterns_[slot]; }
    const Pair& pair(i32 at) const { return pairs_[at]; }

    void expect(u64 key) const { __builtin_prefetch(&heads_[home(key)]); }
    i32 find(u64 key) const {
        i32 at = heads_[home(key)];
        while (at != NONE && patterns_[at].key != key) at = patterns_[at].chain;
        return at;
    }
    i32 insert(u64 key) {
        i32 at = find(key);
        if (at != NONE) return at;
        if (++used_ > heads_.size()) grow();
        if (free_ != NONE) {
            at = free_;
            free_ = patterns_[at].chain;
        } else {
            at = static_cast<i32>(patterns_.size());
            patterns_.emplace_back();
        }
        patterns_[at].key = key;
        enter(at);
        return at;
    }

    // To be looked at in the next sweep: nothing may be left of it.
    void fade(i32 slot) { fading_.push_back(slot); }
    // Free the patterns that are neither counted nor signals. Nothing may name them after this.
    void sweep() {
        for (const i32 slot : fading_) {
            Pattern& p = patterns_[slot];
            if (!p.key || p.count || p.signal != NONE) continue;
            i32* at = &heads_[home(p.key)];
            while (*at != slot) at = &patterns_[*at].chain;
            *at = p.chain;
            p = Pattern{};
            p.chain = free_;
            free_ = slot;
            used_--;
        }
        fading_.clear();
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
        pairs_[at] = {first, second, patterns_[slot].head};
        patterns_[slot].head = at;
        patterns_[slot].count++;
    }
    void unlink(i32 slot, i32 first, i32 second) {
        Pattern& pattern = patterns_[slot];
        i32* at = &pattern.head;
        while (pairs_[*at].first != first || pairs_[*at].second != second) at = &pairs_[*at].next;
        const i32 gone = *at;
        *at = pairs_[gone].next;
        pairs_[gone].next = spare_;
        spare_ = gone;
        if (--pattern.count == 0) fade(slot);
    }

  private:
    std::size_t home(u64 key) const {
        return static_cast<std::size_t>(key * 0x9e3779b97f4a7c15 >> 20) & (heads_.size() - 1);
    }
    void enter(i32 at) {
        i32& head = heads_[home(patterns_[at].key)];
        patterns_[at].chain = head;
        head = at;
    }
    void grow() {
        heads_.assign(heads_.size() * 4, NONE);
        for (std::size_t at = 0; at < patterns_.size(); at++)
            if (patterns_[at].key) enter(static_cast<i32>(at));
    }

    std::vector<i32> heads_;
    std::vector<Pattern> patterns_;
    std::vector<Pair> pairs_;
    std::vector<i32> fading_;
    std::size_t used_ = 0;
    i32 free_ = NONE, spare_ = NONE;
};

}  // namespace hwgen
