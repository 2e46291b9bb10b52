// Greedy elimination until no pair of terms is worth an adder of its own, and what each step of the
// search does to a state before that.
#pragma once
#include "state.h"

namespace hwgen {

class Closure {
  public:
    explicit Closure(State& state) : s(state) {}

    double noise = 0;      // how often a pattern that is not the best one is taken

    void run() {
        // Each pattern taken saves an adder, so this ends; the limit is for a mistake in that.
        for (std::size_t limit = 10000 + 50 * s.terms.size(); limit; limit--) {
            std::vector<i32>& lonely = s.lonely();
            while (!lonely.empty()) {
                const i32 n = lonely.back();
                lonely.pop_back();
                if (s.signals[n].kind == Kind::NODE && s.signals[n].uses.size() <= 1) dissolve(n);
            }
            const i32 slot = next();
            if (slot == NONE) {
                if (lonely.empty()) return;
                continue;
            }
            take(slot);
        }
    }

    // Put the terms of a row in the place of each use of it; a node then is gone.
    void dissolve(i32 n) {
        const std::vector<i32> uses = s.signals[n].uses;
        for (const i32 t : uses) inline_term(t);
        if (s.signals[n].kind == Kind::NODE) remove_row(n);
    }

    void inline_term(i32 t) {
        if (!s.terms[t].alive) return;        // it merged with another one meanwhile
        const Term use = s.terms[t];
        body_.clear();
        for (const i32 e : s.signals[use.signal].terms) body_.push_back(s.terms[e]);
        const std::vector<Term> body = body_;
        s.remove_term(t);
        for (const Term& e : body)
            s.add_term(use.row, e.signal, e.place + use.place, e.sign * use.sign);
    }

    void remove_row(i32 n) {
        while (!s.signals[n].terms.empty()) s.remove_term(s.signals[n].terms.back());
        s.free_row(n);
    }

    // A new node of two terms, not yet the owner of its value.
    i32 new_node(i32 a, i32 place_a, i32 sign_a, i32 b, i32 place_b, i32 sign_b) {
        const i32 n = s.new_row(Kind::NODE);
        Signal& node = s.signals[n];
        const u64 va = mul(s.units.at(place_a), s.signals[a].value);
        const u64 vb = mul(s.units.at(place_b), s.signals[b].value);
        node.value = add(sign_a < 0 ? negative(va) : va, sign_b < 0 ? negative(vb) : vb);
        describe(n, {{a, place_a, sign_a}, {b, place_b, sign_b}});
        return n;
    }

    struct Part {
        i32 signal, place, sign;
    };

    // Delays, form and range of a row from its parts. Parts may be fractions, only their sum is
    // none: the form is summed as many times as large as they need, and divided at the end.
    void describe(i32 n, const std::vector<Part>& parts) {
        Signal& row = s.signals[n];
        Range sum;
        i32 low = 0;
        for (const Part& part : parts) low = std::min(low, unpacked(part.place).shift);
        for (const Part& part : parts) {
            const Signal& from = s.signals[part.signal];
            const Place p = unpacked(part.place);
            row.reach_row = std::max(row.reach_row, p.row + from.reach_row);
            row.reach_column = std::max(row.reach_column, p.column + from.reach_column);
            const double lo = std::ldexp(from.range.lo, p.shift);
            const double hi = std::ldexp(from.range.hi, p.shift);
            sum.lo += part.sign < 0 ? -hi : lo;
            sum.hi += part.sign < 0 ? -lo : hi;
            if (s.has_forms)
                accumulate(n, part.signal, {p.shift - low, p.column, p.row}, part.sign);
        }
        if (s.has_forms && low < 0)
            for (std::size_t k = 0; k < s.problem.taps(); k++) s.form(n)[k] >>= -low;
        row.range = s.has_forms ? exact_range(n) : sum;
    }

    void accumulate(i32 n, i32 from, const Place& p, i32 sign) {
        const Problem& problem = s.problem;
        i64* to = s.form(n);
        const i64* source = s.form(from);
        const std::size_t offset = s.tap(0, p.row, p.column);
        const std::size_t size = problem.taps() - offset;
        for (std::size_t k = 0; k < size; k++)
            to[k + offset] += sign * (source[k] * (i64(1) << p.shift));
    }

    Range exact_range(i32 n) const {
        const Problem& problem = s.problem;
        const std::size_t taps = static_cast<std::size_t>(problem.rows) * problem.columns;
        const i64* form = s.form(n);
        Range r;
        for (i32 k = 0; k < problem.inputs; k++)
            for (std::size_t t = 0; t < taps; t++) {
                const double c = static_cast<double>(form[k * taps + t]);
                if (c == 0) continue;
                r.lo += c * (c > 0 ? problem.ranges[k].lo : problem.ranges[k].hi);
                r.hi += c * (c > 0 ? problem.ranges[k].hi : problem.ranges[k].lo);
            }
        return r;
    }

  private:
    State& s;
    std::vector<Term> body_;
    std::vector<Pair> found_;

    i32 next() {
        while (s.top > 0) {
            i32 level = s.top;
            if (s.buckets[level].empty()) {
                s.top--;
                continue;
            }
            if (noise > 0 && level > 1 && s.random.unit() < noise) {
                const i32 other = 1 + static_cast<i32>(s.random.below(level));
                if (!s.buckets[other].empty()) level = other;
            }
            std::vector<i32>& bucket = s.buckets[level];
            const std::size_t at = s.random.below(static_cast<u32>(bucket.size()));
            const i32 slot = bucket[at];
            bucket[at] = bucket.back();
            bucket.pop_back();
            if (slot == NONE || s.patterns[slot].queued != level) continue;
            s.patterns[slot].queued = 0;
            const i32 now = s.gain(s.patterns[slot]);
            if (now < 1) continue;
            if (now * s.weight(s.patterns[slot], 0) < level) {
                s.touch(slot, 0);
                continue;
            }
            return slot;
        }
        return NONE;
    }

    void take(i32 slot) {
        const u32 stamp = s.new_stamp();
        found_.clear();
        for (i32 at = s.patterns[slot].head; at != NONE; at = s.patterns.pair(at).next) {
            const Pair& p = s.patterns.pair(at);
            if (s.terms[p.first].mark == stamp || s.terms[p.second].mark == stamp) continue;
            s.terms[p.first].mark = s.terms[p.second].mark = stamp;
            found_.push_back(p);
        }
        const std::vector<Pair> pairs = found_;
        const i32 known = s.patterns[slot].signal;
        if (known != NONE) use_known(known, pairs);
        else if (pairs.size() >= 2) make_new(pairs);
    }

    void use_known(i32 known, const std::vector<Pair>& pairs) {
        for (const Pair& pair : pairs) {
            const i32 row = s.terms[pair.first].row;
            if (row == known || !intact(pair)) continue;
            if (!s.depends(known, row)) {
                replace(pair, known);
            } else if (s.signals[known].kind != Kind::INPUT) {
                swap_definition(pair, known);
            }
        }
    }

    // The row needs `known`, and holds a pair equal to it: that pair becomes what `known` is.
    void swap_definition(const Pair& pair, i32 known) {
        const Term a = s.terms[pair.first], b = s.terms[pair.second];
        i32 place, sign;
        if (!located(add(a.value, b.value), known, place, sign)) return;
        if (!s.fits(a.row, known, place)) return;
        if (s.depends(a.signal, known) || s.depends(b.signal, known)) return;
        if (!s.fits(known, a.signal, a.place - place)) return;
        if (!s.fits(known, b.signal, b.place - place)) return;
        s.remove_term(pair.first);
        s.remove_term(pair.second);
        while (!s.signals[known].terms.empty()) s.remove_term(s.signals[known].terms.back());
        s.add_term(known, a.signal, a.place - place, a.sign * sign);
        s.add_term(known, b.signal, b.place - place, b.sign * sign);
        s.add_term(a.row, known, place, sign);
    }

    // Terms that merge with a new one are gone, and the pairs they were in.
    bool intact(const Pair& pair) const {
        return s.terms[pair.first].alive && s.terms[pair.second].alive;
    }

    bool located(u64 value, i32 signal, i32& place, i32& sign) {
        Signal& from = s.signals[signal];
        if (!from.inverse) from.inverse = inverse(from.value);
        return s.units.find(mul(value, from.inverse), place, sign);
    }

    bool replace(const Pair& pair, i32 signal) {
        const i32 row = s.terms[pair.first].row;
        i32 place, sign;
        const u64 value = add(s.terms[pair.first].value, s.terms[pair.second].value);
        if (!located(value, signal, place, sign) || !s.fits(row, signal, place)) return false;
        s.remove_term(pair.first);
        s.remove_term(pair.second);
        s.add_term(row, signal, place, sign);
        return true;
    }

    static i32 corner(i32 a, i32 b) {         // the least of each part
        const Place p = unpacked(a), q = unpacked(b);
        return packed(std::min(p.shift, q.shift), std::min(p.column, q.column),
                      std::min(p.row, q.row));
    }

    void make_new(const std::vector<Pair>& pairs) {
        const std::size_t chosen = s.random.below(static_cast<u32>(pairs.size()));
        const Term a = s.terms[pairs[chosen].first], b = s.terms[pairs[chosen].second];
        std::vector<Pair> usable;
        for (std::size_t n = 0; n < pairs.size(); n++) {
            const Term &c = s.terms[pairs[n].first], &d = s.terms[pairs[n].second];
            const bool same = n == chosen || (c.signal == a.signal && d.signal == b.signal)
                || (c.signal == b.signal && d.signal == a.signal);
            if (same || (!s.depends(a.signal, c.row) && !s.depends(b.signal, c.row)))
                usable.push_back(pairs[n]);
        }
        if (usable.size() < 2) return;
        const i32 low = corner(a.place, b.place);
        const i32 n = new_node(a.signal, a.place - low, 1,
                               b.signal, b.place - low, a.sign * b.sign);
        i32 fitting = 0, place, turn;
        for (const Pair& pair : usable) {
            const Term &c = s.terms[pair.first], &d = s.terms[pair.second];
            fitting += located(add(c.value, d.value), n, place, turn) && s.fits(c.row, n, place);
        }
        if (fitting < 2) return s.free_row(n);
        s.own(n);
        for (const Pair& pair : usable)
            if (intact(pair)) replace(pair, n);
        s.add_term(n, a.signal, a.place - low, 1);
        s.add_term(n, b.signal, b.place - low, a.sign * b.sign);
        if (s.signals[n].uses.size() <= 1) s.lonely().push_back(n);
    }
};

}  // namespace hwgen
