// The plain C interface of the search; see hwgen/adders/compiled.py.
#include <cstring>

#include "anneal.h"

using namespace hwgen;

namespace {
struct Search {
    State state;
    Anneal anneal;
    Search(const Problem& problem, u64 seed) : state(problem, seed), anneal(state) {}
};
}  // namespace

#define EXPORT __attribute__((visibility("default")))

extern "C" {

EXPORT void* hwgen_new(i32 inputs, i32 outputs, i32 rows, i32 columns, i32 bits, i32 max_depth,
                const double* lo, const double* hi, u64 seed) {
    Problem problem;
    problem.inputs = inputs, problem.outputs = outputs;
    problem.rows = rows, problem.columns = columns;
    problem.bits = bits, problem.max_depth = max_depth;
    for (i32 n = 0; n < inputs; n++) problem.ranges.push_back({lo[n], hi[n]});
    return new Search(problem, seed);
}

EXPORT void hwgen_start(void* search, const i32* rows, i32 close) {
    static_cast<Search*>(search)->anneal.start(rows, close);
}

EXPORT double hwgen_run(void* search, i64 steps, double from, double to, double hot, double cold) {
    Anneal& anneal = static_cast<Search*>(search)->anneal;
    anneal.run(steps, from, to, hot, cold);
    return anneal.best_cost;
}

EXPORT i64 hwgen_size(void* search) {
    return static_cast<i64>(static_cast<Search*>(search)->anneal.best.size());
}
EXPORT void hwgen_best(void* search, i32* out) {
    const auto& best = static_cast<Search*>(search)->anneal.best;
    std::memcpy(out, best.data(), best.size() * sizeof(i32));
}
EXPORT void hwgen_free(void* search) { delete static_cast<Search*>(search); }

}
