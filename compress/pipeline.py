"""From a trained model to the network file: import, calibrate, approximate, lower, measure.

Searches look at the last training images alone; the test images are read once, at the end,
for the two accuracies that are reported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwgen import datasets
from hwgen.compress import budget as budgets
from hwgen.compress import quantised, record, zoo
from hwgen.compress.calibrate import Format, covariances, observe
from hwgen.compress.choices.plan import KEPT, Plan, parse_methods
from hwgen.compress.choices.treatment import State
from hwgen.compress.importers import model as models
from hwgen.compress.lower_rules import LowerOptions, observed
from hwgen.compress.measure import Scores, accuracy_float, hold_out
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.simplify import input_frac, simplify, with_input_scaling
from hwgen.compress.stages.build import Built, Calibrated, Stages
from hwgen.compress.training.finetune import choose_device
from hwgen.compress.training.tuning import Tuning, finetune
from hwgen.cost import Objective, total
from hwgen.errors import HwgenError
from hwgen.network import Network
from hwgen.progress import Progress, silent
from hwgen.sim import golden

STATISTICS_IMAGES = 1000  # for formats, mean images and covariances: the last training images
TOLERANCE = 0.001  # accuracy (a share) that fewer scale digits may cost: noise of the measurement
REACH = 30.0  # points that fine-tuning may have to bring back
STEPS = 5


@dataclass(frozen=True, eq=False)
class Prepared(Calibrated):
    """A model made ready: what calibration saw, and what its input means."""

    scaling: InputScaling
    classify: bool


@dataclass(frozen=True, eq=False)
class Chosen:
    """The network that a run ends with.

    Parameters
    ----------
    built : Built
    plan : Plan
        With what was found for its open options.
    lost : float
        Points on the last training images.
    notes : mapping
        More for compress.json.
    """

    built: Built
    plan: Plan
    lost: float
    notes: Mapping[str, Any]


def compress(
    model: str,
    methods: Sequence[str],
    data: str,
    out: Path,
    *,
    budget: float | None = None,
    objective: str = Objective.ADDERS.value,
    finetune: int = 0,
    device: str = "auto",
    seed: int = 0,
    act_bits: int = 8,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compress a trained model and write ``out``, with ``compress.json`` and ``before.npz`` beside
    it.

    Parameters
    ----------
    model, data : str
        The MODEL and DATA arguments, see ``importers.model`` and ``hwgen.datasets``.
    methods : sequence of str
        The ``--method`` arguments, see ``hwgen.compress.choices``.
    out : Path
        The network file.
    budget : float, optional
        Points of accuracy that may be lost on the last training images. What the methods leave open
        is searched for the least ``objective`` within it; where nothing is within it nothing is
        written.
    objective : str
        "adders", "luts", "cycles" or "macs".
    finetune : int
        Epochs of fine-tuning on the integer forward pass; 0 for none.
    device : str
        "auto", "cpu" or "cuda", for fine-tuning and for comparing candidates.
    seed : int
        Of what is drawn at random: supports of pSC, the order of images in fine-tuning.
    act_bits : int
        Of the codes between layers, 2 to 16.
    mean, std : sequence of float, optional
        Normalisation by channel, where the model itself says nothing.

    Returns: the content of compress.json; accuracies are shares, 0 to 1.
    Raises: HwgenError, one line, if anything given does not fit; earlier files stay as they were.
    """
    start, tell = time.perf_counter(), progress or silent
    plan = parse_methods(methods, searched=budget is not None)
    aim, tuning = _objective(objective), Tuning(finetune, device, seed)
    LowerOptions(act_bits=act_bits)  # refused before minutes of work
    if finetune and plan.dyadic.extra.spends:
        raise HwgenError(
            "--finetune: dyadic with a set needed, not with a budget of digits or adders"
        )
    tell("load images and model", 0, STEPS)
    images, test = hold_out(datasets.load(data, mean=mean, std=std))
    loaded = models.load(model, images.shape)
    if loaded.name in zoo.ZOO:
        tuning = replace(tuning, augmentation=zoo.recipe(loaded.name).augmentation)
    tell("calibrate", 1, STEPS)
    prepared = prepare(loaded, images)
    options = LowerOptions(
        act_bits=act_bits,
        classify=prepared.classify,
        bias_digits=plan.dyadic.extra.bias,
        pool_digits=plan.dyadic.extra.pool,
    )
    if not methods and quantised.is_quantised(prepared.graph):
        if finetune:
            raise HwgenError(
                "--finetune: a --method needed with it; without one a quantised model keeps its "
                "own weights"
            )
        plan = KEPT
    stages = Stages(prepared, plan, options=options, seed=seed)
    tell("approximate weights", 2, STEPS)
    run = _Run(stages, images, _metadata(loaded, images, prepared, plan, methods), tuning, tell)
    searched = budget is not None and bool(plan.free)
    chosen = run.searched(budget or 0.0, aim) if searched else run.as_planned(budget)
    tell("measure on the test images", 3, STEPS)
    x, y = test.read()
    float_accuracy = accuracy_float(prepared.graph, prepared.input_codes.frac, x, y)
    integer_accuracy = golden.accuracy(chosen.built.network, x, y)
    tell("count adders and write", 4, STEPS)
    report = {
        "digest": chosen.built.network.digest,
        "methods": list(chosen.plan.texts),
        "seed": seed,
        "accuracy_float": float_accuracy,
        "accuracy_integer": integer_accuracy,
        "images": len(x),
        "layers": record.layer_entries(chosen.built, kept=plan.kept),
        **({} if budget is None else {"budget": budget}),
        **({"finetune": finetune} if finetune else {}),
        **chosen.notes,
        **({"cost": total(chosen.built.network, aim)} if searched else {}),
    }
    if notes := (*loaded.notes, *_kept_notes(chosen.built.network, plan)):
        report["notes"] = list(notes)
    report["seconds"] = round(time.perf_counter() - start, 2)
    record.write(Path(out), chosen.built, report)
    tell("compressed", STEPS, STEPS)
    return report


def prepare(loaded: models.Model, images: datasets.Dataset) -> Prepared:
    """Simplify a model's graph and run the last training images through it."""
    scaling = loaded.scaling or InputScaling(images.scale, images.mean, images.std)
    frac = input_frac(scaling)
    graph = simplify(with_input_scaling(loaded.graph, scaling, frac=frac))
    channels, *pixels = graph.shapes[graph.output.name]
    classes = len(images.class_names)
    if pixels != [1, 1] or channels < max(classes, 2):
        raise HwgenError(
            f"A model with one score for each of {max(classes, 2)} classes needed, not one with "
            f"{channels} outputs of {pixels[0]}x{pixels[1]} pixels"
        )
    last = images.train_x[-STATISTICS_IMAGES:]
    codes = torch.from_numpy(np.array(last, dtype=np.float64) * 2.0**-frac).to(torch.float32)
    return Prepared(
        graph,
        Format(images.lo, images.hi, frac),
        observe(graph, codes, observed(graph)),
        covariances(graph, codes),
        scaling,
        classify=True,
    )


class _Run:
    """One run's choice of a network: as the plan says, or by search; with fine-tuning or without.

    Parameters: stages; images, without test images; metadata, of the network; tuning; tell, the
    progress.
    """

    def __init__(
        self,
        stages: Stages,
        images: datasets.Dataset,
        metadata: Mapping[str, Any],
        tuning: Tuning,
        tell: Progress,
    ) -> None:
        self._stages, self._images, self._metadata = stages, images, metadata
        self._tuning, self._tell = tuning, tell
        calibrated = stages.calibrated
        place = choose_device(tuning.device)
        self._scores = Scores.of(calibrated.graph, calibrated.input_codes.frac, images, place)

    def as_planned(self, budget: float | None) -> Chosen:
        """Return the network that the plan asks for, with the fewest scale digits that cost no
        accuracy.
        """
        plan, state = self._stages.plan.fixed(), self._stages.start()
        chosen = self._finished(state, plan, {})
        if budget is not None and chosen.lost > budget:
            raise HwgenError(
                f"--budget {budget:g}: at most {budget:g} points needed, "
                f"{_words(plan)} loses {chosen.lost:.2f} on the last training images"
                f"{'' if plan.kept else '; a larger set or less of a method loses less'}"
            )
        return chosen

    def searched(self, budget: float, objective: Objective) -> Chosen:
        """Return the cheapest network within a budget of points."""
        plan, tuned = self._stages.plan, self._tuning.epochs > 0
        digits = self._open_digits()[0]
        search = budgets.Search(
            self._stages, self._scores, objective=objective, digits=digits, progress=self._tell
        )
        found = search.run(budget=budget, reach=REACH if tuned else None)
        notes = budgets.as_json(found, objective)
        chosen = self._finished(found.best.state, plan, notes, budget=budget)
        if not tuned:
            return chosen
        # The cheapest of the steps past the budget that training brings back: by bisection.
        steps = [point for point in found.path if point.cost < found.best.cost]
        low, high = 0, len(steps)
        while low < high:
            middle = (low + high) // 2
            trial = self._finished(steps[middle].state, plan, notes)
            if trial.lost <= budget:
                low, chosen = middle + 1, trial
            else:
                high = middle
        return chosen

    def _open_digits(self) -> tuple[int, ...]:
        """Scale digits to try, most first; one where no coder leaves them open."""
        plan = self._stages.plan
        if plan.kept:
            return (3,)
        coders = [plan.dyadic] if plan.uses_dyadic or plan.ternary is None else []
        given = [coder.digits for coder in (*coders, plan.ternary) if coder is not None]
        return (3, 2, 1) if None in given else (max(d for d in given if d),)

    def _finished(
        self,
        state: State,
        plan: Plan,
        notes: Mapping[str, Any],
        *,
        budget: float | None = None,
    ) -> Chosen:
        """Return a state with the fewest scale digits that cost no accuracy, then fine-tuned."""
        tried = {}
        for digits in self._open_digits():
            metadata = {**self._metadata, "options": self._options(plan, digits)}
            built = self._stages.build(state, digits=digits, metadata=metadata)
            tried[digits] = self._scores.measure(built.network), built, metadata
        best = max(score.accuracy for score, _, _ in tried.values())
        enough = [
            digits
            for digits, (score, _, _) in tried.items()
            if score.accuracy >= best - TOLERANCE and (budget is None or score.lost <= budget)
        ]
        fewest = min(enough) if enough else max(tried)
        score, built, metadata = tried[fewest]
        chosen = Chosen(built, plan.with_digits(fewest), score.lost, notes)
        if not self._tuning.epochs:
            return chosen
        trained = finetune(
            self._stages,
            state,
            self._tuning,
            self._images,
            digits=fewest,
            metadata=metadata,
            progress=self._tell,
        )
        lost = self._scores.measure(trained.network).lost
        # Training that helped nothing is undone.
        return replace(chosen, built=trained, lost=lost) if lost < chosen.lost else chosen

    def _options(self, plan: Plan, digits: int) -> dict[str, Any]:
        return {
            "methods": list(plan.with_digits(digits).texts),
            "scale_digits": digits,
            **asdict(self._stages.options),
        }


def _objective(text: str) -> Objective:
    try:
        return Objective(text)
    except ValueError as error:
        raise HwgenError(
            f"--objective: adders, luts, cycles or macs needed, not {text!r}"
        ) from error


def _words(plan: Plan) -> str:
    """Each method and its first option."""
    if plan.kept:
        return "the quantised model"
    return " ".join(text.partition(",")[0] for text in plan.texts)


def _kept_notes(network: Network, plan: Plan) -> tuple[str, ...]:
    """Say what a quantised model kept and which of its factors are not its own."""
    changed: Mapping[str, float] = network.metadata.get("rescaled", {})
    notes = ("quantised weights kept as they are",) if plan.kept else ()
    if not changed:
        return notes
    name = max(changed, key=lambda tensor: changed[tensor])
    factors = (
        "scales that are no powers of two: factors have three signed digits, at most "
        f"{100 * changed[name]:.2g} % off ({name}, of {len(changed)} that are not exact)"
    )
    return (*notes, factors)


def _metadata(
    loaded: models.Model,
    images: datasets.Dataset,
    prepared: Prepared,
    plan: Plan,
    methods: Sequence[str],
) -> dict[str, Any]:
    scaling = prepared.scaling
    return {
        "model": loaded.name,
        "method": list(plan.texts) if plan.kept else list(methods) or ["dyadic"],
        "data": images.name.partition(":")[0],
        "class_names": list(loaded.class_names or images.class_names),
        "input": {"scale": scaling.scale, "mean": scaling.mean, "std": scaling.std},
    }
