"""The shapes of all tasks together: each is tried in others, as long as the whole gets faster.

A task's shape is chosen first behind the tasks before it alone (hwgen.nfu.compiler.tiling). What
comes behind matters too: its constants are loaded while this task computes, and its first pixels
wait for this task's last ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hwgen.nfu.compiler.jobs import JobMaker
from hwgen.nfu.compiler.pieces import Job, Shape
from hwgen.nfu.compiler.schedule import Scheduler
from hwgen.nfu.config import Config

EFFORT = 60_000               # jobs that are scheduled on trial
ROUNDS = 3


@dataclass(eq=False)
class Plan:
    """A task with the shapes to choose from, the one taken first.

    Parameters: maker; shapes; products, of weights that are not zero, for an image.
    """

    maker: JobMaker
    shapes: list[Shape]
    products: int
    taken: int = 0
    _jobs: dict[int, list[Job]] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The shape taken."""
        return self.shapes[self.taken]

    @property
    def jobs(self) -> list[Job]:
        """Its jobs."""
        if self.taken not in self._jobs:
            self._jobs[self.taken] = list(self.maker.jobs(self.shape))
        return self._jobs[self.taken]


def joined_jobs(plans: Sequence[Plan]) -> tuple[list[Job], list[int]]:
    """Return the jobs of all tasks, and with which of them each task begins."""
    jobs: list[Job] = []
    starts = []
    for plan in plans:
        starts.append(len(jobs))
        jobs += plan.jobs
    return jobs, starts


def refine(plans: Sequence[Plan], config: Config) -> None:
    """Take other shapes where the whole network gets faster, in place."""
    left = EFFORT

    def cycles() -> int:
        nonlocal left
        schedule = Scheduler(config)
        jobs, _ = joined_jobs(plans)
        left -= len(jobs)
        schedule.add(jobs)
        return schedule.finished()

    best = cycles()
    for _ in range(ROUNDS):
        before = best
        for plan in plans:
            kept = plan.taken
            for n in range(len(plan.shapes)):
                if n == kept or left < 0:
                    continue
                taken, plan.taken = plan.taken, n
                now = cycles()
                if now < best:
                    best = now
                else:
                    plan.taken = taken
        if best == before or left < 0:
            return
