// Rows of terms, the pairs in them, and a log by which everything since a point can be undone.
//
// A signal is an input, an output row or a node row; a row is the sum of its terms, a term a signal
// at a place (shift, delays) with a sign. A row of n terms costs n - 1 adders.
#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

#include "patterns.h"
#include "widths.h"

namespace hwgen {

enum class Kind : std::uint8_t { FREE, INPUT, OUTPUT, NODE };

struct Term {
    i32 row = NONE, signal = NONE, place = 0, sign = 1;
    u64 value = 0;
    i32 in_row = 0, in_uses = 0;      // where in Signal::terms and Signal::uses
    u32 mark = 0;
    bool alive = false;               // part of its row now
};

struct Signal {
    Kind kind = Kind::FREE;
    u64 value = 0, inverse = 0;
    i32 slot = NONE;
    std::vector<i32> terms, uses;
    i32 reach_row = 0, reach_column = 0;      // longest delays inside
    Range range;
    double cost = 0;
    u32 mark = 0, dirty = 0;
    i32 depth = 0;
};

struct Problem {
    i32 inputs = 0, outputs = 0, rows = 1, columns = 1;      // rows, columns: of a kernel
    bool bits = false;
    i32 max_depth = NONE;
    std::vector<Range> ranges;                // of the inputs
    std::size_t taps() const { return static_cast<std::size_t>(inputs) * rows * columns; }
};

class State {
  public:
    State(const Problem& problem, u64 seed)
        : problem(problem), units(problem.rows, problem.columns), random(seed) {
        Random values(0x5eed);
        signals.resize(problem.inputs + problem.outputs);
        has_forms = problem.taps() <= MOST_TAPS;
        forms.resize(has_forms ? signals.size() * problem.taps() : 0);
        for (i32 n = 0; n < problem.inputs; n++) {
            Signal& input = signals[n];
            input.kind = Kind::INPUT;
            input.value = values.next() % (PRIME - 1) + 1;
            input.range = problem.ranges[n];
            if (has_forms) form(n)[tap(n, 0, 0)] = 1;
            own(n);
        }
        buckets.resize(problem.bits ? 1024 : 256);
    }

    const Problem problem;
    const Units units;
    Random random;
    std::vector<Signal> signals;
    std::vector<Term> terms;
    Patterns patterns;
    double cost = 0;
    bool has_forms;

    i64* form(i32 signal) { return forms.data() + signal * problem.taps(); }
    std::size_t tap(i32 input, i32 row, i32 column) const {
        return (static_cast<std::size_t>(input) * problem.rows + row) * problem.columns + column;
    }
    void grow_forms() {
        if (has_forms) forms.resize(signals.size() * problem.taps());
    }
    bool is_row(i32 s) const { return s >= problem.inputs && signals[s].kind != Kind::FREE; }

    // ---- primitive changes, each logged ----

    i32 new_row(Kind kind, i32 wanted = NONE) {
        i32 s = wanted;
        if (s == NONE) {
            if (free_signals_.empty()) {
                s = static_cast<i32>(signals.size());
                signals.emplace_back();
                grow_forms();
            } else {
                s = free_signals_.back();
                free_signals_.pop_back();
            }
        }
        Signal& row = signals[s];
        row.kind = kind;
        row.inverse = 0, row.slot = NONE, row.cost = 0, row.reach_row = row.reach_column = 0;
        if (has_forms) std::fill_n(form(s), problem.taps(), 0);
        note(Op::ROW, s);
        return s;
    }

    // Make the signal the one that has its value, unless there is another one. The value is set.
    bool own(i32 s) {
        const i32 slot = patterns.insert(key(signals[s].value));
        if (patterns[slot].signal != NONE) return false;
        note(Op::OWN, s, slot);
        patterns[slot].signal = s;
        signals[s].slot = slot;
        if (patterns[slot].count) touch(slot, 0);
        return true;
    }

    void free_row(i32 s) {
        Signal& row = signals[s];
        note(Op::FREED, s, row.slot);
        if (row.slot != NONE) disown(row.slot);
        row.kind = Kind::FREE;
        freed_signals_.push_back(s);
    }

    // Add a term; equal places merge or cancel.
    void add_term(i32 row, i32 signal, i32 place, i32 sign) {
        for (;;) {
            i32 same = NONE;
            for (const i32 t : signals[row].terms)
                if (terms[t].signal == signal && terms[t].place == place) same = t;
            if (same == NONE) break;
            const i32 other = terms[same].sign;
            remove_term(same);
            if (other != sign) return;
            place++;
        }
        i32 t;
        if (free_terms_.empty()) {
            t = static_cast<i32>(terms.size());
            terms.emplace_back();
        } else {
            t = free_terms_.back();
            free_terms_.pop_back();
        }
        Term& term = terms[t];
        term.row = row, term.signal = signal, term.place = place, term.sign = sign;
        const u64 value = mul(units.at(place), signals[signal].value);
        term.value = sign < 0 ? negative(value) : value;
        dirty(row);
        pairs_of(t, true);
        attach(t);
        note(Op::ADDED, t);
    }

    void remove_term(i32 t) {
        const i32 signal = terms[t].signal;
        dirty(terms[t].row);
        detach(t);
        pairs_of(t, false);
        freed_terms_.push_back(t);
        note(Op::REMOVED, t);
        if (signals[signal].kind == Kind::NODE && signals[signal].uses.size() <= 1)
            lonely_.push_back(signal);
    }

    // ---- the log ----

    void commit() {
        free_terms_.insert(free_terms_.end(), freed_terms_.begin(), freed_terms_.end());
        free_signals_.insert(free_signals_.end(), freed_signals_.begin(), freed_signals_.end());
        forget();
    }

    void undo() {
        std::vector<i32> terms_back, signals_back;
        for (std::size_t n = log_.size(); n-- > 0;) {
            const Entry& e = log_[n];
            switch (e.op) {
                case Op::LINKED: patterns.unlink(e.slot, e.first, e.second); break;
                case Op::UNLINKED: patterns.link(e.slot, e.first, e.second); break;
                case Op::ADDED: detach(e.what); terms_back.push_back(e.what); break;
                case Op::REMOVED: attach(e.what); break;
                case Op::ROW: signals[e.what].kind = Kind::FREE; signals_back.push_back(e.what);
                    break;
                case Op::OWN: disown(e.slot); signals[e.what].slot = NONE; break;
                case Op::FREED:
                    signals[e.what].kind = Kind::NODE;
                    signals[e.what].slot = e.slot;
                    if (e.slot != NONE) patterns[e.slot].signal = e.what;
                    break;
                case Op::COST: signals[e.what].cost = e.cost; break;
            }
        }
        free_terms_.insert(free_terms_.end(), terms_back.begin(), terms_back.end());
        free_signals_.insert(free_signals_.end(), signals_back.begin(), signals_back.end());
        forget();
    }

    // Bring the costs of the rows that changed up to date; returns the whole cost.
    double settle() {
        for (const i32 s : dirty_) {
            Signal& row = signals[s];
            const double now = row.kind == Kind::FREE ? 0 : row_cost(s);
            note(Op::COST, s).cost = row.cost;
            cost_now_ += now - row.cost;
            row.cost = now;
            row.dirty = 0;
        }
        dirty_.clear();
        return cost_now_;
    }
    void set_cost(double value) { cost = cost_now_ = value; }

    // ---- questions ----

    bool depends(i32 signal, i32 row) {       // does the signal need the row, or is it the row
        if (signal == row) return true;
        if (signals[row].uses.empty() || signal < problem.inputs) return false;
        stamp_++;
        stack_.assign(1, signal);
        signals[signal].mark = stamp_;
        while (!stack_.empty()) {
            const i32 s = stack_.back();
            stack_.pop_back();
            for (const i32 t : signals[s].terms) {
                const i32 next = terms[t].signal;
                if (next == row) return true;
                if (next < problem.inputs || signals[next].mark == stamp_) continue;
                signals[next].mark = stamp_;
                stack_.push_back(next);
            }
        }
        return false;
    }

    // Whether a signal at a place stays within the delays of a row.
    bool fits(i32 row, i32 signal, i32 place) const {
        const Place p = unpacked(place);
        const Signal &r = signals[row], &s = signals[signal];
        const bool output = r.kind == Kind::OUTPUT;
        return p.row >= 0 && p.column >= 0 && p.shift > -60 && p.shift < 60
            && p.row + s.reach_row <= (output ? problem.rows - 1 : r.reach_row)
            && p.column + s.reach_column <= (output ? problem.columns - 1 : r.reach_column);
    }

    u64 key(u64 value) const { return units.key(value); }

    u32 new_stamp() { return ++stamp_; }

    // ---- candidates ----

    i32 gain(const Pattern& p) const {        // adders saved, at most
        if (p.signal == NONE) return p.count - 1;
        return p.count - (signals[p.signal].terms.size() == 2);
    }
    void touch(i32 slot, i32 first) {
        Pattern& p = patterns[slot];
        const i32 saved = gain(p);
        if (saved < 1) return;
        const i32 level = std::min<i32>(saved * weight(p, first), buckets.size() - 1);
        if (level <= p.queued) return;
        p.queued = level;
        buckets[level].push_back(slot);
        top = std::max(top, level);
    }
    std::vector<std::vector<i32>> buckets;
    i32 top = 0;
    std::vector<i32>& lonely() { return lonely_; }

    // In the objective of bits: about the bits that one adder of this pattern has.
    i32 weight(const Pattern& p, i32) const {
        if (!problem.bits || p.head == NONE) return 1;
        const Pair& pair = patterns.pair(p.head);
        const Term &a = terms[pair.first], &b = terms[pair.second];
        return pair_bits(signals[a.signal].range, unpacked(a.place).shift,
                         signals[b.signal].range, unpacked(b.place).shift);
    }

    double row_cost(i32 s) {
        const std::vector<i32>& row = signals[s].terms;
        if (row.size() < 2) return 0;
        if (!problem.bits) return static_cast<double>(row.size() - 1);
        sum_.clear();
        for (const i32 t : row)
            sum_.add(signals[terms[t].signal].range, unpacked(terms[t].place).shift, terms[t].sign);
        return sum_.bits(signals[s].range);
    }

  private:
    static constexpr std::size_t MOST_TAPS = 2048;
    enum class Op : std::uint8_t { LINKED, UNLINKED, ADDED, REMOVED, ROW, OWN, FREED, COST };
    struct Entry {
        Op op;
        i32 what, slot, first, second;
        double cost;
    };

    // An entry is written where it stays: to copy what was just written in parts is slow.
    Entry& note(Op op, i32 what, i32 slot = 0, i32 first = 0, i32 second = 0) {
        Entry& entry = log_.emplace_back();
        entry.op = op, entry.what = what, entry.slot = slot;
        entry.first = first, entry.second = second;
        return entry;
    }

    void disown(i32 slot) {
        patterns[slot].signal = NONE;
        patterns.fade(slot);
    }

    // Link a term's pairs with the others of its row, or unlink them.
    void pairs_of(i32 t, bool linked) {
        const u64 value = terms[t].value;
        const std::vector<i32>& others = signals[terms[t].row].terms;
        keys_.assign((others.size() + WIDE - 1) / WIDE * WIDE, 0);
        for (std::size_t n = 0; n < others.size(); n++)
            keys_[n] = add(value, terms[others[n]].value);
        units.keys(keys_.data(), others.size());
        for (std::size_t n = 0; n < others.size(); n++) patterns.expect(keys_[n]);
        for (std::size_t n = 0; n < others.size(); n++) {
            if (!keys_[n]) continue;          // the two cancel; no adder would help
            const i32 first = std::min(t, others[n]), second = std::max(t, others[n]);
            const i32 slot = linked ? patterns.insert(keys_[n]) : patterns.find(keys_[n]);
            note(linked ? Op::LINKED : Op::UNLINKED, 0, slot, first, second);
            if (linked) {
                patterns.link(slot, first, second);
                touch(slot, first);
            } else {
                patterns.unlink(slot, first, second);
            }
        }
    }

    void attach(i32 t) {
        Term& term = terms[t];
        std::vector<i32>&row = signals[term.row].terms, &uses = signals[term.signal].uses;
        term.in_row = static_cast<i32>(row.size()), term.in_uses = static_cast<i32>(uses.size());
        row.push_back(t), uses.push_back(t);
        term.alive = true;
    }
    void detach(i32 t) {
        const Term& term = terms[t];
        std::vector<i32>&row = signals[term.row].terms, &uses = signals[term.signal].uses;
        terms[row.back()].in_row = term.in_row;
        row[term.in_row] = row.back(), row.pop_back();
        terms[uses.back()].in_uses = term.in_uses;
        uses[term.in_uses] = uses.back(), uses.pop_back();
        terms[t].alive = false;
    }
    void dirty(i32 s) {
        if (signals[s].dirty) return;
        signals[s].dirty = 1;
        dirty_.push_back(s);
    }
    void forget() {
        for (const i32 s : dirty_) signals[s].dirty = 0;
        patterns.sweep();
        dirty_.clear(), log_.clear(), freed_terms_.clear(), freed_signals_.clear(), lonely_.clear();
        cost_now_ = cost;
    }

    std::vector<i64> forms;
    std::vector<Entry> log_;
    std::vector<i32> free_terms_, free_signals_, freed_terms_, freed_signals_, dirty_, lonely_;
    std::vector<i32> stack_;
    std::vector<u64> keys_;
    Sum sum_;
    double cost_now_ = 0;
    u32 stamp_ = 0;
};

}  // namespace hwgen
