"""The grammar of --method: every method's options, their text, and what contradicts."""

from __future__ import annotations

import pytest

from hwgen.compress.choices.linear_features import LinearFeaturesChoice
from hwgen.compress.choices.lower_kernel import LowerKernelChoice, Order
from hwgen.compress.choices.periodic import PeriodicChoice
from hwgen.compress.choices.plan import METHODS, Plan, parse_methods
from hwgen.compress.choices.ternary import TernaryChoice
from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.methods.kernel_windows import Place
from hwgen.compress.methods.lower_kernel import Unit
from hwgen.compress.methods.periodic import Kind, Phase, Supports, Variant
from hwgen.compress.options import DyadicChoice, Norm
from hwgen.errors import HwgenError

FIELD = {"linear-features": "linear_features", "lower-kernel": "lower_kernel"}


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("dyadic", DyadicChoice(None, Scale.FILTER, Scale.LAYER, None)),
        ("dyadic:auto,digits=2", DyadicChoice(digits=2)),
        ("dyadic:P7", DyadicChoice("P7")),
        ("dyadic:P9,scale=layer", DyadicChoice("P9", Scale.LAYER)),
        (
            "dyadic:P7,kernel,dense=filter,digits=2",
            DyadicChoice("P7", Scale.KERNEL, Scale.FILTER, 2),
        ),
        ("dyadic:filter,digits=auto,norm=data", DyadicChoice()),
        ("dyadic:norm=weights", DyadicChoice(norm=Norm.WEIGHTS)),
        ("dyadic:1/8+1/2+1,layer", DyadicChoice("1/8+1/2+1", Scale.LAYER)),
        ("linear-features", LinearFeaturesChoice()),
        ("linear-features:0.5", LinearFeaturesChoice(0.5)),
        (
            "linear-features:basis=0.25,terms=3,norm=weights,layers=conv1+conv2",
            LinearFeaturesChoice(0.25, 3, Norm.WEIGHTS, ("conv1", "conv2")),
        ),
        ("lower-kernel", LowerKernelChoice()),
        ("lower-kernel:3+1,taps=0.4", LowerKernelChoice((3, 1), taps=0.4)),
        (
            "lower-kernel:odd,loss=0.1,unit=kernel,place=centre,refit=no",
            LowerKernelChoice(loss=0.1, unit=Unit.KERNEL, place=Place.CENTRE, refit=False),
        ),
        ("lower-kernel:order=tiles,tile=8", LowerKernelChoice(order=Order.TILES, tile=8)),
        ("periodic", PeriodicChoice()),
        ("periodic:PSD1_P16", PeriodicChoice(Variant(Kind.DENSE_ONE, 1, 16))),
        ("periodic:pSC2", PeriodicChoice(Variant(Kind.RANDOM, 2), Supports.RULE)),
        (
            "periodic:PS4_P4,supports=rotated,phase=tile,tile=4,refit=no",
            PeriodicChoice(
                Variant(Kind.PERIODIC, 4, 4), Supports.ROTATED, Phase.TILE, 4, refit=False
            ),
        ),
        ("ternary", TernaryChoice()),
        (
            "ternary:filter,digits=1,norm=weights,prune=0.9,layers=fc1",
            TernaryChoice(Scale.FILTER, 1, Norm.WEIGHTS, 0.9, ("fc1",)),
        ),
    ],
)
def test_choices_and_their_text(text, choice):
    name = text.partition(":")[0]
    field = FIELD.get(name, name)
    assert getattr(parse_methods([text]), field) == choice
    assert getattr(parse_methods([choice.text()]), field) == choice  # and back


def test_no_method_is_the_default():
    assert parse_methods([]) == Plan()
    assert parse_methods([]).texts == (DyadicChoice().text(),)


def test_a_search_without_a_method_has_all_of_them():
    plan = parse_methods([], searched=True)
    assert set(plan.free) == set(METHODS)


def test_the_order_on_the_command_line_says_nothing():
    forth = parse_methods(["dyadic:P7", "periodic", "lower-kernel:taps=0.5"])
    back = parse_methods(["lower-kernel:taps=0.5", "periodic", "dyadic:P7"])
    assert forth == back
    assert [text.partition(":")[0] for text in forth.texts] == [
        "lower-kernel", "periodic", "dyadic",
    ]  # fmt: skip


@pytest.mark.parametrize("methods", [["lower-kernel"], ["periodic", "linear-features"],
                                     ["ternary"], ["dyadic"]])  # fmt: skip
def test_without_a_search_nothing_stays_open(methods):
    plan = parse_methods(methods).fixed().with_digits(2)
    assert "auto" not in " ".join(plan.texts).replace("loss=auto", "")
    assert parse_methods(plan.texts).texts == plan.texts
    assert plan.fixed() == plan


@pytest.mark.parametrize(
    ("methods", "free"),
    [
        (["dyadic:P7"], ()),
        (["dyadic"], ("dyadic",)),
        (["lower-kernel"], ("lower-kernel",)),
        (["lower-kernel:taps=0.5", "dyadic:P9"], ()),
        (["ternary:prune=0.5,layers=fc", "dyadic:P9"], ()),
        (["ternary"], ("ternary",)),
        (["periodic:PS4_P4", "linear-features"], ("linear-features",)),
    ],
)
def test_what_a_search_may_choose(methods, free):
    assert parse_methods(methods, searched=True).free == free


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["magic"], "one of linear-features, lower-kernel, periodic, ternary, dyadic needed"),
        (["dyadic", "dyadic"], "once, not twice"),
        (["dyadic:P6"], "Set must be one of T3"),
        (["dyadic:P7,P9"], "the set comes first"),
        (["dyadic:P7,kernel,filter"], "scale once needed"),
        (["dyadic:P7,scale=row"], "scale=filter, kernel or layer needed, not 'row'"),
        (["dyadic:P7,dense=kernel"], "dense layers have no kernels"),
        (["dyadic:digits=4"], "digits=1, 2, 3 or auto needed, not '4'"),
        (["dyadic:norm=l1"], "norm=data or weights needed, not 'l1'"),
        (["dyadic:P7,speed=9"], "options are SET, scale, dense, digits and norm, not 'speed'"),
        (["linear-features:1.5"], "basis=a share above 0, at most 1, needed, not '1.5'"),
        (["linear-features:nan"], "basis=a share above 0, at most 1, needed, not 'nan'"),
        (["linear-features:0.5,4"], "options like layers=... needed, not '4'"),
        (["linear-features:0.5,terms=0"], "terms=a whole number from 1 needed, not '0'"),
        (["linear-features:speed=1"], "options basis, terms, norm, layers needed, not 'speed'"),
        (["linear-features:0.5,basis=0.5"], "basis once needed, not twice"),
        (["linear-features:layers=a+a"], "layers=names, each once, apart by"),
        (["lower-kernel:3+x"], "sides=a whole number from 1 needed, not 'x'"),
        (["lower-kernel:taps=0.5,loss=0.1"], "taps= or loss= needed, not both"),
        (["lower-kernel:loss=-1"], "loss=a share from 0 to below 1 needed, not '-1'"),
        (["lower-kernel:unit=row"], "unit=filter or kernel needed, not 'row'"),
        (["lower-kernel:refit=maybe"], "refit=yes or no needed, not 'maybe'"),
        (["lower-kernel:order=tiles,unit=kernel"], "unit=filter needed with order=tiles"),
        (["periodic:PS"], "Sparsity must be like pSC4, PS4_P4 or PSD1_P16, not 'PS'"),
        (["periodic:pSC2,phase=tile"], "a support of its own in each kernel"),
        (["periodic:tile=0"], "tile=a whole number from 1 needed, not '0'"),
        (["ternary:prune=1"], "prune=a share from 0 to below 1 needed, not '1'"),
        (["ternary:digits=0"], "digits=1, 2, 3 or auto needed, not '0'"),
        (["ternary:row"], "scale=kernel, filter or layer needed, not 'row'"),
        (["ternary", "dyadic:P7"], "layers=NAME.NAME needed beside dyadic"),
    ],
)
def test_wrong(methods, message):
    with pytest.raises(HwgenError, match=message) as caught:
        parse_methods(methods)
    assert "\n" not in str(caught.value)
