"""The accuracy-driven search: which method how much in which layer, under a budget of accuracy.

Ref: D. Nagaraju, N. Chandrachoodan, "Slimmer CNNs through feature approximation and kernel size
reduction", IEEE Open J. Circuits and Systems 4, 2023: an algorithm that applies an approximation
for a given accuracy budget; M. Minoux, "Accelerated greedy algorithms for maximizing submodular set
functions", 1978: a candidate is measured again only when it comes to the front.

Every layer has a ladder for each method (``ladders``). The next rung of each is a candidate; its
worth is the accuracy that it loses over the cost that it saves, both measured: the network of
integers is built, run by the golden model on the last training images, and costed. The best one is
taken, the rest is measured again in its presence; a step that leaves the budget is rolled back,
half of it is tried a few times, and its ladder ends there.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hwgen.compress.choices.treatment import State
from hwgen.compress.ladders import Ladders, Move
from hwgen.compress.measure import Score, Scores
from hwgen.compress.stages.build import Built, Stages
from hwgen.cost import Objective, total
from hwgen.errors import HwgenError
from hwgen.progress import Progress, silent

HALVES = 3  # steps on a ladder after the first one that was rolled back
NOISE = 0.01  # points: of candidates that lose nothing the one that saves most goes first


@dataclass(frozen=True)
class Point:
    """A network that was measured.

    Parameters: state; cost, in the objective's unit; lost, points of accuracy below the float
    network on the last training images; accuracy there, a share.
    """

    state: State
    cost: int
    lost: float
    accuracy: float

    def entry(self) -> dict[str, Any]:
        """Return it for compress.json."""
        words = {name: "+".join(one.words()) for name, one in self.state.treatments}
        entry = {"cost": self.cost, "lost": round(self.lost, 4), "accuracy": self.accuracy}
        return {**entry, "prune": self.state.prune, "layers": words}


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    best : Point
        The cheapest one within the budget.
    front : tuple of Point
        Those that no other beats in both cost and loss, by rising cost.
    path : tuple of Point
        The steps that were taken, from the start on; past the budget, if that was asked for.
    measured : int
        Networks that were measured.
    """

    best: Point
    front: tuple[Point, ...]
    path: tuple[Point, ...]
    measured: int


class Search:
    """A search for one network.

    Parameters
    ----------
    stages : Stages
    scores : Scores
        Training images to compare on.
    objective : Objective
    digits : int
        Signed digits of scales, where the plan leaves them open.
    progress : callable, optional
    """

    def __init__(
        self,
        stages: Stages,
        scores: Scores,
        *,
        objective: Objective,
        digits: int,
        progress: Progress | None = None,
    ) -> None:
        self._stages, self._scores = stages, scores
        self._objective, self._digits = objective, digits
        self._tell = progress or silent
        self._ladders = Ladders(stages)
        self._points: dict[State, Point] = {}
        self._seen: dict[str, Score] = {}  # several states may be one network
        self._beyond: dict[Move, tuple[int, State]] = {}  # ladders that end: halves left, too far

    def run(self, *, budget: float, reach: float | None = None) -> Found:
        """Return the cheapest network that loses at most ``budget`` points, and the others.

        Parameters
        ----------
        budget : float
            Points, >= 0.
        reach : float, optional
            Go on to this loss for the path, which fine-tuning may bring back into the budget.

        Raises: HwgenError if nothing that was measured is within the budget; one line.
        """
        limit = budget if reach is None else max(reach, budget)
        here = self._measure(self._ladders.start())
        path = [here]
        numbers = itertools.count()
        queue: list[tuple[float, int, Move, Point, Point]] = []

        def propose(move: Move) -> None:
            if (next_ := self._next(here, move)) is not None:
                worth = _worth(here, next_)
                heapq.heappush(queue, (worth, next(numbers), move, here, next_))

        for move in self._ladders.moves():
            propose(move)
        while queue:
            _, _, move, seen_from, there = heapq.heappop(queue)
            if seen_from is not here:
                propose(move)  # measured before the last step was taken
            else:
                self._note_end(move, there, too_far=there.lost > limit)
                if there.lost <= limit:
                    here = there
                    path.append(here)
                propose(move)
        return self._found(budget, tuple(path))

    def _found(self, budget: float, path: tuple[Point, ...]) -> Found:
        points = sorted(self._points.values(), key=lambda p: (p.cost, p.lost))
        front: list[Point] = []
        for point in points:
            if not front or point.lost < front[-1].lost:
                front.append(point)
        fitting = [point for point in front if point.lost <= budget]
        if not fitting:
            least = front[-1]
            raise HwgenError(
                f"--budget {budget:g}: at most {budget:g} points needed, the best of "
                f"{len(self._seen)} networks loses {least.lost:.2f} on the last training images"
            )
        return Found(fitting[0], tuple(front), path, len(self._seen))

    def _note_end(self, move: Move, there: Point, *, too_far: bool) -> None:
        """Keep where a ladder ends, once a step on it was too far."""
        if move in self._beyond:
            left, beyond = self._beyond[move]
            self._beyond[move] = left - 1, there.state if too_far else beyond
        elif too_far:
            self._beyond[move] = HALVES, there.state

    def _rungs(self, here: Point, move: Move) -> Iterator[State]:
        if move not in self._beyond:
            yield from self._ladders.rungs(here.state, move)
            return
        left, beyond = self._beyond[move]
        half = self._ladders.between(here.state, beyond, move) if left else None
        if half is not None:
            yield half

    def _next(self, here: Point, move: Move) -> Point | None:
        """Return the nearest rung that saves something, measured; None at a ladder's end."""
        for state in self._rungs(here, move):
            if state in self._points:
                point = self._points[state]
            else:
                built = self._build(state)
                cost = total(built.network, self._objective)
                if cost >= here.cost:
                    continue
                point = self._measure(state, built, cost, move)
            if point.cost < here.cost:
                return point
        return None

    def _build(self, state: State) -> Built:
        return self._stages.build(state, digits=self._digits, metadata={})

    def _measure(
        self,
        state: State,
        built: Built | None = None,
        cost: int | None = None,
        move: Move | None = None,
    ) -> Point:
        if state not in self._points:
            network = (built or self._build(state)).network
            whole = total(network, self._objective) if cost is None else cost
            score = self._seen.get(network.digest)
            if score is None:
                score = self._seen[network.digest] = self._scores.measure(network)
                what = "start" if move is None else f"{move.axis.value} {move.layer or ''}".strip()
                self._tell(
                    f"search: {what}, {whole} {self._objective.value}, {score.lost:.2f} points "
                    f"lost; network {len(self._seen)}",
                    0,
                    0,
                )
            self._points[state] = Point(state, whole, score.lost, score.accuracy)
        return self._points[state]


def _worth(here: Point, there: Point) -> float:
    """Points lost for a unit of cost saved."""
    return (max(there.lost - here.lost, 0.0) + NOISE) / (here.cost - there.cost)


def as_json(found: Found, objective: Objective) -> Mapping[str, Any]:
    """Return what compress.json says of a search."""
    return {
        "objective": objective.value,
        "networks_measured": found.measured,
        "pareto": [point.entry() for point in found.front],
    }
