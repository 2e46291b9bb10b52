// Large-neighbourhood search: disturb, eliminate greedily again, keep or undo.
#pragma once
#include "closure.h"
#include "numbers.h"

namespace hwgen {

class Anneal {
  public:
    Anneal(State& state) : s(state), closure(state) {}

    std::vector<i32> best;
    double best_cost = 1e300;

    // Rows as numbers: count, then (signal, kind, terms, then signal, place, sign of each).
    std::vector<i32> rows() const {
        std::vector<i32> out;
        i32 count = 0;
        out.push_back(0);
        for (i32 n = s.problem.inputs; n < static_cast<i32>(s.signals.size()); n++) {
            const Signal& row = s.signals[n];
            if (row.kind == Kind::FREE) continue;
            count++;
            out.insert(out.end(), {n, static_cast<i32>(row.kind),
                                   static_cast<i32>(row.terms.size())});
            for (const i32 t : row.terms)
                out.insert(out.end(), {s.terms[t].signal, s.terms[t].place, s.terms[t].sign});
        }
        out[0] = count;
        return out;
    }

    // Start from rows, topologically ordered: (signal, kind, terms, ...) as above.
    void start(const i32* row, bool close) {
        const i32* data = row;
        i32 count = *data++;
        for (i32 k = 0; k < count; k++) {
            const i32 n = data[0], kind = data[1], size = data[2];
            data += 3;
            while (static_cast<i32>(s.signals.size()) <= n) grow();
            s.new_row(static_cast<Kind>(kind), n);
            std::vector<Closure::Part> parts;
            u64 value = 0;
            for (i32 t = 0; t < size; t++, data += 3) {
                parts.push_back({data[0], data[1], data[2]});
                const u64 v = mul(s.units.at(data[1]), s.signals[data[0]].value);
                value = add(value, data[2] < 0 ? negative(v) : v);
            }
            s.signals[n].value = value;
            closure.describe(n, parts);
            if (size > 1) s.own(n);
            for (const auto& part : parts) s.add_term(n, part.signal, part.place, part.sign);
            s.commit();
        }
        for (i32 n = s.problem.inputs; n < static_cast<i32>(s.signals.size()); n++)
            s.signals[n].cost = s.is_row(n) ? s.row_cost(n) : 0;
        double total = 0;
        for (const Signal& signal : s.signals) total += signal.cost;
        s.set_cost(total);
        s.commit();
        keep();                               // flat enough, whatever elimination makes of it
        if (close) {
            closure.run();
            s.cost = s.settle();
            s.commit();
            keep();
        }
        penalty_ = PER_LEVEL * excess();
    }

    void run(i64 steps, double from, double to, double hot, double cold) {
        for (i64 n = 0; n < steps; n++) {
            const double part = static_cast<double>(n) / static_cast<double>(steps);
            const double at = from + (to - from) * part;
            step(hot + (cold - hot) * at);
        }
    }

    double rates[8] = {0.55, 0.10, 0.10, 0.10, 0.10, 0.05, 0, 0};
    double wild = 0.15;

  private:
    static constexpr double PER_LEVEL = 3;    // what a level too many costs while searching

    State& s;
    Closure closure;
    double penalty_ = 0;

    void grow() {
        s.signals.emplace_back();
        s.grow_forms();
    }

    void keep() {
        if (s.cost < best_cost - 1e-9 && allowed()) {
            best_cost = s.cost;
            best = rows();
        }
    }
    bool allowed() { return excess() == 0; }

    // Levels beyond the limit, over all outputs; a row of terms at depths d can be summed in depth
    // D exactly if sum(2^d) <= 2^D.
    i32 excess() {
        if (s.problem.max_depth == NONE) return 0;
        const u32 stamp = s.new_stamp();
        i32 total = 0;
        for (i32 n = s.problem.inputs; n < s.problem.inputs + s.problem.outputs; n++)
            total += std::max(0, depth_of(n, stamp) + sign_level(n) - s.problem.max_depth);
        return total;
    }
    i32 depth_of(i32 n, u32 stamp) {
        Signal& row = s.signals[n];
        if (n < s.problem.inputs) return 0;
        if (row.mark == stamp) return row.depth;
        row.mark = stamp;
        double load = 0;
        for (const i32 t : row.terms) load += std::ldexp(1.0, depth_of(s.terms[t].signal, stamp));
        i32 depth = 0;
        while (std::ldexp(1.0, depth) < load) depth++;
        return row.depth = depth;
    }
    // A row without a positive term may need a level for its sign.
    i32 sign_level(i32 n) const {
        for (const i32 t : s.signals[n].terms)
            if (s.terms[t].sign > 0) return 0;
        return !s.signals[n].terms.empty();
    }

    void step(double temperature) {
        closure.noise = s.random.unit() < 0.5 ? 0.0 : 0.3 * s.random.unit();
        disturb();
        closure.run();
        const double now = s.settle();
        const double penalty = PER_LEVEL * excess();
        const double worse = now + penalty - s.cost - penalty_;
        if (worse <= 0 || worse < temperature * minus_log(1 - s.random.unit())) {
            s.cost = now;
            penalty_ = penalty;
            s.commit();
            keep();
        } else {
            s.undo();
        }
    }

    i32 any_row() {
        const u32 span = static_cast<u32>(s.signals.size() - s.problem.inputs);
        for (int tries = 0; tries < 50; tries++) {
            const i32 n = s.problem.inputs + static_cast<i32>(s.random.below(span));
            if (s.signals[n].kind != Kind::FREE && s.signals[n].terms.size() > 1) return n;
        }
        return NONE;
    }
    i32 any_used() {
        for (int tries = 0; tries < 50; tries++) {
            const i32 n = any_row();
            if (n == NONE) return NONE;
            if (!s.signals[n].uses.empty()) return n;
        }
        return NONE;
    }

    void disturb() {
        double at = s.random.unit();
        int move = 0;
        while (move < 5 && at >= rates[move]) at -= rates[move++];
        switch (move) {
            case 0: inline_some(); break;
            case 1: open_row(); break;
            case 2: recode(); break;
            case 3: through_row(); break;
            case 4: decompose(); break;
            default: from_digits(); break;
        }
    }

    // Dissolve a few nodes: anywhere, or near each other.
    void inline_some() {
        i32 count = 1;
        while (count < 12 && s.random.unit() < 0.6) count++;
        i32 n = any_used();
        const bool near = s.random.below(2);
        for (i32 k = 0; k < count && n != NONE; k++) {
            i32 next = NONE;
            if (near) {
                const Signal& node = s.signals[n];
                if (s.random.below(2) && !node.terms.empty()) {
                    next = s.terms[node.terms[s.random.below(node.terms.size())]].signal;
                } else if (!node.uses.empty()) {
                    const i32 user = s.terms[node.uses[s.random.below(node.uses.size())]].row;
                    const auto& row = s.signals[user].terms;
                    next = s.terms[row[s.random.below(row.size())]].signal;
                }
            }
            closure.dissolve(n);
            if (next == NONE || s.signals[next].kind != Kind::NODE || s.signals[next].uses.empty())
                next = any_used();
            n = next;
        }
    }

    // Put into a row the terms of what it uses; the others keep using it.
    void open_row() {
        const i32 n = any_row();
        if (n == NONE) return;
        const std::vector<i32> uses = s.signals[n].terms;
        const bool all = s.random.below(2);
        for (const i32 t : uses) {
            if (s.terms[t].row != n || s.terms[t].signal < s.problem.inputs) continue;
            if (all || s.random.below(2)) closure.inline_term(t);
        }
    }

    // Other signed digits for the same multiple: a + 2a = 4a - a, a = 2a - a.
    void recode() {
        i32 count = 1 + static_cast<i32>(s.random.below(4));
        while (count--) {
            i32 n = any_row();
            if (n == NONE) return;
            if (s.random.below(2)) dissolve_one(n);
            if (s.signals[n].kind == Kind::FREE) continue;
            const auto& row = s.signals[n].terms;
            if (row.empty()) continue;
            const i32 t = row[s.random.below(row.size())];
            const Term term = s.terms[t];
            i32 twin = NONE;
            for (const i32 u : row)
                if (s.terms[u].signal == term.signal && s.terms[u].place == term.place + 1)
                    twin = u;
            if (twin != NONE) {
                // +a +2a -> 4a - a; +2a - a -> a is found by itself
                const Term upper = s.terms[twin];
                if (upper.sign != term.sign) continue;
                s.remove_term(t);
                s.remove_term(twin);
                s.add_term(n, term.signal, term.place + 2, term.sign);
                s.add_term(n, term.signal, term.place, -term.sign);
                continue;
            }
            for (const i32 u : row)
                if (s.terms[u].signal == term.signal && s.terms[u].place == term.place + 2)
                    twin = u;
            if (twin != NONE && s.terms[twin].sign != term.sign) {
                const Term upper = s.terms[twin];          // 4a - a -> 2a + a
                s.remove_term(t);
                s.remove_term(twin);
                s.add_term(n, term.signal, term.place + 1, upper.sign);
                s.add_term(n, term.signal, term.place, upper.sign);
            }
        }
    }
    void dissolve_one(i32 n) {
        const auto& row = s.signals[n].terms;
        if (row.empty()) return;
        const i32 t = row[s.random.below(row.size())];
        if (s.terms[t].signal >= s.problem.inputs) closure.inline_term(t);
    }

    // A row as another row, shifted and signed, and the digits of the difference.
    void through_row() {
        if (!s.has_forms) return inline_some();
        const i32 n = any_row();
        if (n == NONE) return;
        const i32 other = any_row();
        if (other == NONE || other == n || s.depends(other, n)) return;
        express(n, other, s.random.below(2) ? wild : 0);
    }

    void express(i32 n, i32 other, double looseness) {
        const std::size_t taps = s.problem.taps();
        const i64 *form = s.form(n), *base = s.form(other);
        i32 best_place = 0, best_sign = 0;
        i64 least = INT64_MAX;
        const Signal &row = s.signals[n], &from = s.signals[other];
        for (i32 r = 0; r + from.reach_row <= row.reach_row; r++)
            for (i32 c = 0; c + from.reach_column <= row.reach_column; c++)
                for (i32 shift = -2; shift <= 3; shift++)
                    for (i32 sign = -1; sign <= 1; sign += 2) {
                        const std::size_t offset = s.tap(0, r, c);
                        i64 total = 0;
                        for (std::size_t k = 0; k < taps && total < least; k++) {
                            i64 b = k >= offset ? base[k - offset] : 0;
                            if (shift < 0 && b & ((i64(1) << -shift) - 1)) {
                                total = INT64_MAX;
                                break;
                            }
                            b = shift < 0 ? b >> -shift : b * (i64(1) << shift);
                            total += digit_count(form[k] - sign * b);
                        }
                        if (total < least) {
                            least = total;
                            best_place = packed(shift, c, r), best_sign = sign;
                        }
                    }
        if (!best_sign) return;
        rest_.assign(form, form + taps);
        const Place p = unpacked(best_place);
        const std::size_t offset = s.tap(0, p.row, p.column);
        for (std::size_t k = offset; k < taps; k++) {
            const i64 b = base[k - offset];
            rest_[k] -= best_sign * (p.shift < 0 ? b >> -p.shift : b * (i64(1) << p.shift));
        }
        clear(n);
        s.add_term(n, other, best_place, best_sign);
        add_digits(n, looseness);
    }
    void clear(i32 n) {
        while (!s.signals[n].terms.empty()) s.remove_term(s.signals[n].terms.back());
    }
    void add_digits(i32 n, double looseness) {
        std::size_t k = 0;
        for (i32 input = 0; input < s.problem.inputs; input++)
            for (i32 r = 0; r < s.problem.rows; r++)
                for (i32 c = 0; c < s.problem.columns; c++, k++)
                    digits(rest_[k], looseness, s.random, [&](i32 shift, i32 digit) {
                        s.add_term(n, input, packed(shift, c, r), digit);
                    });
    }
    void from_digits() {
        if (!s.has_forms) return inline_some();
        const i32 n = any_row();
        if (n == NONE) return;
        rest_.assign(s.form(n), s.form(n) + s.problem.taps());
        clear(n);
        add_digits(n, wild);
    }

    // A row as the sum of two other signals that exist.
    void decompose() {
        const i32 n = any_row();
        if (n == NONE) return;
        const u64 value = s.signals[n].value;
        for (int tries = 0; tries < 40; tries++) {
            const i32 a = static_cast<i32>(s.random.below(static_cast<u32>(s.signals.size())));
            const Signal& from = s.signals[a];
            if (from.kind == Kind::FREE || a == n || from.slot == NONE) continue;
            const Signal& row = s.signals[n];
            if (from.reach_row > row.reach_row || from.reach_column > row.reach_column) continue;
            // One draw a statement: the order of arguments is the compiler's choice.
            const i32 shift = static_cast<i32>(s.random.below(9)) - 2;
            const u32 column = s.random.below(1 + row.reach_column - from.reach_column);
            const u32 line = s.random.below(1 + row.reach_row - from.reach_row);
            const i32 place = packed(shift, static_cast<i32>(column), static_cast<i32>(line));
            const i32 sign = s.random.below(2) ? 1 : -1;
            if (shift < 0 && !divisible(a, -shift)) continue;
            const u64 part = mul(s.units.at(place), from.value);
            const u64 left = add(value, sign < 0 ? part : negative(part));
            if (!left) continue;
            const i32 slot = s.patterns.find(s.key(left));
            if (slot == NONE) continue;
            const i32 b = s.patterns[slot].signal;
            if (b == NONE || b == n || s.depends(a, n) || s.depends(b, n)) continue;
            Signal& second = s.signals[b];
            if (!second.inverse) second.inverse = inverse(second.value);
            i32 place_b, sign_b;
            if (!s.units.find(mul(left, second.inverse), place_b, sign_b)) continue;
            if (!s.fits(n, b, place_b)) continue;
            clear(n);
            s.add_term(n, a, place, sign);
            s.add_term(n, b, place_b, sign_b);
            return;
        }
    }
    bool divisible(i32 a, i32 shift) {
        if (!s.has_forms) return false;
        const i64* form = s.form(a);
        for (std::size_t k = 0; k < s.problem.taps(); k++)
            if (form[k] & ((i64(1) << shift) - 1)) return false;
        return true;
    }

    std::vector<i64> rest_;
};

}  // namespace hwgen
