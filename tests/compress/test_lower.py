"""Float graphs to networks of integers: exact where the numbers are dyadic, close elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hwgen.compress import forward
from hwgen.compress.calibrate import Format, choose, observe
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, observed
from hwgen.compress.methods.dyadic import Levels, Options, Scale, approximate
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.scales import integer_weights
from hwgen.compress.simplify import simplify, with_input_scaling
from hwgen.errors import HwgenError
from hwgen.layers import Activation, Add, ArgMax, Concat, Conv2d, Dense, Requantise, signed_digits
from hwgen.sim import golden

FINE = "+".join(f"{k}/128" for k in range(1, 129))


class Residual(nn.Module):
    """Two branches added, a third beside them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.third = nn.Conv2d(2, 3, 1)
        self.short = nn.Conv2d(4, 4, 1, stride=2)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(7, 5)

    def forward(self, x):
        y = F.relu(self.first(x))
        y = F.relu(self.second(y) + y)
        y = self.down(y) + self.short(y)
        z = F.max_pool2d(F.relu(self.third(x)), 2)
        y = torch.cat([F.relu(y), z], 1)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(y, 1), 1))


def plain():
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2, groups=4, bias=False),
        nn.AvgPool2d(2, 1, 1),
        nn.Flatten(),
        nn.Linear(4 * 4 * 2, 6),
        nn.ReLU(),
        nn.Linear(6, 5),
    )


def dyadic_parameters(module, *, step=1 / 4, most=3):
    """Give a module weights and biases that are small multiples of a power of two."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randint(-most, most + 1, value.shape, generator=generator) * step)
    return module.double().eval()


def small_images(count=30, size=8, most=4):
    return np.random.default_rng(2).integers(0, most, size=(count, 2, size, size))


def lowered(module, images, *, levels, scale=Scale.FILTER, digits=3, scaling=None, **options):
    """Import, approximate and lower a module, calibrated on the images themselves."""
    scaling = scaling or InputScaling(1.0)
    frac = round(-np.log2(scaling.scale))
    graph = import_module(module, images.shape[1:])
    graph = simplify(with_input_scaling(graph, scaling, frac=frac))
    weights = {}
    for node in graph.nodes:
        if hasattr(node, "weight"):
            last = node is graph.output
            kind = Scale.LAYER if last else scale
            chosen = Options(Levels.parse(levels), kind, None if last else digits)
            weights[node.name] = approximate(node.weight, chosen)
    x = torch.tensor(np.ldexp(images.astype(np.float64), -frac))
    statistics = observe(graph, x, observed(graph))
    form = Format(min(0, int(images.min())), int(images.max()), frac)
    network = lower(
        graph,
        weights,
        statistics,
        input_codes=form,
        options=LowerOptions(**options),
        metadata={},
    )
    return graph, network


def scores(network, images):
    """Real values of the scores of each image."""
    result = golden.run(network, images, keep=[network.scores.name])[network.scores.name]
    tensor = network.tensors[network.scores.name]
    value = np.ldexp(result.astype(np.float64), -tensor.frac[None, :, None, None])
    return value[:, :, 0, 0] * network.metadata["score_scale"][0]


@pytest.mark.parametrize("make", [plain, Residual])
@pytest.mark.parametrize("correct_bias", [False, True])
def test_dyadic_numbers_are_exact(make, correct_bias):
    module, images = dyadic_parameters(make()), small_images()
    # Multiples of 1/4 times integers, kept in 16 bits: nothing is rounded anywhere before the mean
    # over the pixels, which is a power of two as well.
    options = {"act_bits": 16, "correct_bias": correct_bias}
    _, network = lowered(module, images, levels="1+2+3", **options)
    wanted = module(torch.tensor(images, dtype=torch.float64)).detach().numpy()
    np.testing.assert_allclose(scores(network, images), wanted, rtol=1e-13)
    np.testing.assert_array_equal(golden.classes(network, images), wanted.argmax(1))


def rich_modules():
    torch.manual_seed(3)
    return {
        "plain": plain(),
        "residual": Residual(),
        "norm": nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 4, 3, dilation=2),
            nn.BatchNorm2d(4), nn.Hardtanh(-0.5, 0.7), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, 5),
        ),
        "curves": nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.Sigmoid(),
            nn.Flatten(), nn.Linear(6, 5),
        ),
        "norm_after_relu": nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(), nn.Flatten(), nn.Linear(144, 5),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "residual", "norm", "curves", "norm_after_relu"])
@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("normalised", [False, True])
def test_close_to_the_float_network(name, scale, normalised):
    module = rich_modules()[name].double()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 2)
    module.eval()
    images = small_images(40, most=256)
    scaling = InputScaling(1 / 255, (0.4, 0.5), (0.2, 0.3)) if normalised else InputScaling(1 / 255)
    factor, offset = scaling.factors(2)
    x = torch.tensor(images * factor[:, None, None] + offset[:, None, None])
    wanted = module(x).detach().numpy()
    graph, network = lowered(
        module, images, levels=FINE, scale=scale, scaling=scaling, act_bits=12, segments=64
    )
    error = scores(network, images) - wanted
    assert np.sqrt((error**2).mean()) < 0.03 * wanted.std()
    codes = torch.tensor(np.ldexp(images.astype(np.float64), -network.input.frac))
    simplified = forward.run(graph, codes, keep=[graph.output.name])[graph.output.name]
    np.testing.assert_allclose(simplified.flatten(1).numpy(), wanted, atol=1e-9)


def test_bias_correction_makes_it_closer():
    torch.manual_seed(0)
    module, images = plain().double().eval(), small_images(60, most=16)
    wanted = module(torch.tensor(images, dtype=torch.float64)).detach().numpy()
    errors = []
    for correct in (True, False):
        _, network = lowered(module, images, levels="T3", correct_bias=correct)
        errors.append(((scores(network, images) - wanted).mean(0) ** 2).sum())
    assert errors[0] < 0.3 * errors[1]


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_requantise_has_the_digits_asked_for(digits):
    torch.manual_seed(0)
    images = small_images()
    _, network = lowered(plain().double().eval(), images, levels="P7", digits=digits)
    found = [layer for layer in network.layers if isinstance(layer, Requantise)]
    assert max(signed_digits(m) for layer in found for m in layer.multiplier.tolist()) <= digits
    for layer in network.layers:
        if isinstance(layer, (Conv2d, Dense)) and layer is not network.scores:
            assert not layer.bias.any()
            assert isinstance(network.by_name[network.readers[layer.name][0]], Requantise)


@pytest.mark.parametrize("digits", [1, 2])
def test_biases_and_pooling_coefficients_have_the_digits_asked_for(digits):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(24, 5)
    ).double().eval()
    images = small_images()
    _, free = lowered(module, images, levels="P9")
    _, network = lowered(
        module, images, levels="P9", bias_digits=digits, pool_digits=digits
    )
    first, pool = (layer for layer in network.layers if isinstance(layer, Requantise))
    biases = [*first.offset.tolist(), *network.scores.bias.tolist()]
    assert max(signed_digits(bias) for bias in biases) == digits
    assert max(signed_digits(m) for m in pool.multiplier.tolist()) == digits
    factor = pool.multiplier[0] / 2.0 ** pool.shift[0]
    other = next(layer for layer in free.layers if layer.name == pool.name)
    assert factor == pytest.approx(other.multiplier[0] / 2.0 ** other.shift[0], rel=0.34 / digits)
    span = np.ptp(scores(free, images))
    assert np.abs(scores(network, images) - scores(free, images)).max() < 0.3 * span


def test_digits_of_biases_and_pooling_wrong():
    with pytest.raises(HwgenError, match="Bias digits must be at least 1, not 0"):
        LowerOptions(bias_digits=0)
    with pytest.raises(HwgenError, match="Pooling digits must be 1, 2 or 3, not 4"):
        LowerOptions(pool_digits=4)


def test_one_scale_for_all_outputs_of_a_dense_layer():
    torch.manual_seed(0)
    images = small_images()
    _, network = lowered(plain().double().eval(), images, levels="P7", scale=Scale.LAYER)
    for layer in network.layers:
        if isinstance(layer, Requantise) and isinstance(network.by_name[layer.source], Dense):
            assert len(set(layer.multiplier.tolist())) == 1
            assert len(set(layer.shift.tolist())) == 1


def test_structure():
    torch.manual_seed(0)
    _, network = lowered(Residual().double().eval(), small_images(), levels="P7")
    kinds = [type(layer) for layer in network.layers]
    assert kinds.count(Add) == 2
    assert kinds.count(Concat) == 1
    assert isinstance(network.output, ArgMax)
    assert isinstance(network.scores, Dense)
    _, curved = lowered(rich_modules()["curves"].double().eval(), small_images(), levels="P7")
    tables = [layer for layer in curved.layers if isinstance(layer, Activation)]
    assert len(tables) == 2
    assert max(signed_digits(s) for table in tables for s in table.slopes.tolist()) <= 2


def test_a_sum_reads_the_accumulators_of_its_largest_convolution():
    """With scales that are powers of two; those of more digits need codes in between."""
    torch.manual_seed(3)
    module, images = Residual().double().eval(), small_images()
    _, network = lowered(module, images, levels="P9", digits=1)
    reads = {layer.name: [network.by_name[name] for name in layer.sources]
             for layer in network.layers if isinstance(layer, Add)}  # fmt: skip
    kinds = sorted(tuple(type(one).__name__ for one in found) for found in reads.values())
    assert kinds == [("Conv2d", "Requantise"), ("Conv2d", "Requantise")]
    assert {found[0].name for found in reads.values()} == {"second", "down"}
    for found in reads.values():
        assert len(set(found[0].frac_w.tolist())) == 1  # of all channels: a sum has one step
    _, network = lowered(module, images, levels="P9", digits=3)
    assert not any(
        isinstance(network.by_name[name], Conv2d)
        for layer in network.layers if isinstance(layer, Add) for name in layer.sources
    )  # fmt: skip


def test_relu6_and_bounds_of_codes():
    images = small_images(most=256)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(108, 4))
    _, network = lowered(module.double().eval(), images, levels="Q8", act_bits=8)
    (clip,) = (layer for layer in network.layers if isinstance(layer, Requantise))
    assert clip.lo == 0
    assert clip.hi == min(255, 6 * 2**clip.frac)


def test_dead_and_zero_layers():
    module = plain().double().eval()
    with torch.no_grad():
        for value in module.parameters():
            value.zero_()
    images = small_images()
    _, network = lowered(module, images, levels="P7")
    assert not scores(network, images).any()


def test_names_are_kept_and_made_plain():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), nn.Flatten())
    module.add_module("Head__2", nn.Linear(108, 4))
    _, network = lowered(module.double().eval(), small_images(), levels="P7")
    names = ["image", "conv_0_0", "relu_0_1", "flatten_1", "Head_2", "argmax"]
    assert [layer.name for layer in network.layers] == names


@pytest.mark.parametrize("bits", [1, 0, 17])
def test_act_bits_wrong(bits):
    with pytest.raises(HwgenError, match=f"from 2 to 16 needed, not {bits}"):
        LowerOptions(act_bits=bits)


def test_kernel_scales_go_into_the_integers():
    weights = np.random.default_rng(0).laplace(size=(4, 3, 3, 3))
    weights[:, 1] *= 8
    weights[2, 2] = 0
    result = approximate(weights, Options(Levels.parse("P7"), Scale.KERNEL, 2))
    codes, factor = integer_weights(result, common=False)
    np.testing.assert_allclose(codes * factor[:, None, None, None], result.values(), rtol=1e-12)


def test_kernel_scales_that_are_not_dyadic_are_refused():
    weights = np.random.default_rng(0).laplace(size=(2, 3, 3, 3))
    result = approximate(weights, Options(Levels.parse("P7"), Scale.KERNEL))
    with pytest.raises(HwgenError, match="Scales by kernel must be dyadic"):
        integer_weights(result, common=False)


@pytest.mark.parametrize(("values", "bits", "bounds", "wanted"), [
    ([0.0, 255.0], 8, (0.0, None), Format(0, 255, 0)),
    ([0.0, 0.5], 8, (0.0, None), Format(0, 255, 8)),
    ([-1.0, 1.0, 0.25], 8, (None, None), Format(-128, 127, 6)),
    ([-3.0, 9.0], 8, (0.0, 6.0), Format(0, 192, 5)),
    ([0.0, 0.0], 8, (0.0, None), Format(0, 255, 0)),
])  # fmt: skip
def test_formats(values, bits, bounds, wanted):
    assert choose(np.array(values), bits=bits, lower=bounds[0], upper=bounds[1]) == wanted


def test_a_few_outliers_are_clipped():
    values = np.concatenate([np.random.default_rng(0).normal(size=100_000), [40.0]])
    form = choose(values, bits=4)
    largest = form.hi * 2.0**-form.frac
    assert largest < 4
    tried = []
    for frac in range(-4, 8):  # no other step has less error
        rounded = np.clip(np.floor(values * 2.0**frac + 0.5), -8, 7) * 2.0**-frac
        tried.append((((rounded - values) ** 2).sum(), frac))
    assert min(tried)[1] == form.frac
