"""The grammar of --method."""

from __future__ import annotations

import pytest

from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.options import DyadicChoice, Norm, parse_methods
from hwgen.errors import HwgenError


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("dyadic", DyadicChoice("P9", Scale.FILTER, Scale.LAYER, None)),
        ("dyadic:P7", DyadicChoice("P7")),
        ("dyadic:P9,scale=layer", DyadicChoice("P9", Scale.LAYER)),
        (
            "dyadic:P7,kernel,dense=filter,digits=2",
            DyadicChoice("P7", Scale.KERNEL, Scale.FILTER, 2),
        ),
        ("dyadic:filter,digits=auto,norm=data", DyadicChoice()),
        ("dyadic:norm=weights", DyadicChoice(norm=Norm.WEIGHTS)),
        ("dyadic:1/8+1/2+1,layer", DyadicChoice("1/8+1/2+1", Scale.LAYER)),
    ],
)
def test_choices(text, choice):
    assert parse_methods([text]) == choice


def test_no_method_is_the_default():
    assert parse_methods([]) == DyadicChoice()


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["ternary"], "--method ternary comes in a later version"),
        (["lower-kernel", "dyadic"], "--method lower-kernel comes in a later version"),
        (["magic"], "dyadic needed"),
        (["dyadic", "dyadic"], "once, not 2 times"),
        (["dyadic:P6"], "Set must be one of T3"),
        (["dyadic:P7,P9"], "the set comes first"),
        (["dyadic:P7,kernel,filter"], "scale once needed"),
        (["dyadic:P7,scale=row"], "scale=filter, kernel or layer needed, not 'row'"),
        (["dyadic:P7,dense=kernel"], "dense layers have no kernels"),
        (["dyadic:digits=4"], "digits=1, 2, 3 or auto needed, not '4'"),
        (["dyadic:norm=l1"], "norm=data or weights needed, not 'l1'"),
        (["dyadic:P7,speed=9"], "options are SET, scale, dense, digits and norm, not 'speed'"),
    ],
)
def test_wrong(methods, message):
    with pytest.raises(HwgenError, match=message):
        parse_methods(methods)
