"""Torch modules to the float graph: every operation against torch itself, and what is refused."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hwgen.compress import forward
from hwgen.compress.importers.graph import Conv, Graph, MaxPool
from hwgen.compress.importers.torch_export import import_archive
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.simplify import simplify
from hwgen.errors import HwgenError


class Lambda(nn.Module):
    """A forward made of functions, with two layers to call."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.other = nn.Conv2d(3, 4, 1)
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.register_buffer("centre", torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1))
        self.register_buffer("spread", torch.tensor([0.5, 2.0, 1.0]).reshape(1, 3, 1, 1))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


MODULES = {
    "conv": lambda: nn.Conv2d(3, 4, 3),
    "conv_no_bias_stride_padding": lambda: nn.Conv2d(
        3, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False
    ),
    "conv_same_even": lambda: nn.Conv2d(3, 4, (4, 3), padding="same"),
    "conv_valid": lambda: nn.Conv2d(3, 4, 3, padding="valid"),
    "conv_dilation": lambda: nn.Conv2d(3, 4, 3, dilation=(1, 2), padding=2),
    "conv_groups": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "batch_norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "batch_norm_first": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "batch_norm_before_padding": lambda: nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)
    ),
    "batch_norm_before_groups": lambda: nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, groups=3)
    ),
    "batch_norm_1d": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 9 * 8, 5), nn.BatchNorm1d(5)
    ),
    "batch_norm_plain": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
    "relu": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)),
    "relu6": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6()),
    "hardtanh": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardtanh(-0.2, 0.3)),
    "leaky_relu": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(2)),
    "prelu": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU()),
    "hardswish": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Hardswish()),
    "hardsigmoid": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardsigmoid()),
    "max_pool_ceil": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d((3, 2), 2, (1, 0), ceil_mode=True)
    ),
    "avg_pool_ceil_exact": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 2), nn.AvgPool2d((2, 1), ceil_mode=True)
    ),
    "constant_pad": lambda: nn.Sequential(nn.ConstantPad2d((0, 1, 2, 0), 0.0), nn.Conv2d(3, 4, 3)),
    "tanh": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()),
    "sigmoid": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()),
    "max_pool": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, 1), nn.ReLU()),
    "avg_pool": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d((2, 3), 2, (1, 0))),
    "adaptive": lambda: nn.Sequential(nn.Conv2d(3, 4, (2, 1)), nn.AdaptiveAvgPool2d((4, 2))),
    "adaptive_global": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(4, 2)
    ),
    "flatten_dense": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3),
        nn.Flatten(),
        nn.Dropout(),
        nn.Identity(),
        nn.Linear(2 * 7 * 6, 5, bias=False),
    ),
    "zero_pad": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 4, 3)),
    "zero_pad_twice": lambda: nn.Sequential(
        nn.ZeroPad2d(1), nn.ZeroPad2d((0, 0, 1, 0)), nn.Conv2d(3, 4, 4)
    ),
    "zero_pad_before_dense": lambda: nn.Sequential(
        nn.ZeroPad2d(1), nn.ZeroPad2d((0, 1, 0, 0)), nn.Conv2d(3, 2, 3), nn.Flatten(),
        nn.Linear(2 * 9 * 9, 4)
    ),
    "zero_pad_max_pool": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(2)
    ),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 1))
    ),
}
FUNCTIONS = {
    "add": lambda m, x: F.relu(m.conv(x) + m.other(x)),
    "add_in_place": lambda m, x: torch.add(m.conv(x), m.other(x)).relu(),
    "cat": lambda m, x: torch.cat([m.conv(x), torch.tanh(m.other(x))], dim=1),
    "cat_minus_three": lambda m, x: torch.cat((m.conv(x), m.other(x)), -3),
    "flatten": lambda m, x: torch.flatten(m.conv(x), 1),
    "view": lambda m, x: m.conv(x).view(x.size(0), -1),
    "view_shape": lambda m, x: m.conv(x).view(x.shape[0], -1),
    "view_all": lambda m, x: m.conv(x).reshape(-1, 4 * 9 * 8),
    "mean": lambda m, x: m.conv(x).mean((2, 3)),
    "mean_function": lambda m, x: torch.mean(m.conv(x), dim=[-1, -2], keepdim=False),
    "pools": lambda m, x: F.avg_pool2d(F.max_pool2d(m.conv(x), 2), 2),
    "adaptive": lambda m, x: F.adaptive_avg_pool2d(m.conv(x), 1),
    "clips": lambda m, x: torch.clamp(F.relu6(m.conv(x)), 0.0, 0.25),
    "hardtanh": lambda m, x: F.hardtanh(m.conv(x), -0.1, 0.2),
    "sigmoid": lambda m, x: torch.sigmoid(m.conv(x)) + m.other(x).tanh(),
    "pad": lambda m, x: m.conv(F.pad(x, (1, 0, 2, 1))),
    "hard": lambda m, x: F.hardswish(m.conv(x)) - F.hardsigmoid(m.other(x)),
    "leaky": lambda m, x: F.leaky_relu(m.conv(x), 0.2),
    "numbers": lambda m, x: m.conv((x - 0.5) / 2.0 * 3) + 1,
    "number_first": lambda m, x: 1.5 - 2 * m.conv(x),
    "buffers": lambda m, x: m.conv((x - m.centre) / m.spread),
    "option_a": lambda m, x: m.down(x) + F.pad(m.conv(x)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)),
    "every_third": lambda m, x: m.conv(x)[:, :, ::3].relu(),
    "twice": lambda m, x: m.conv(x) + m.conv(x),
    "dropout": lambda m, x: F.dropout(m.conv(x), training=False),
}


def randomised(module):
    """A module in evaluation mode with statistics and factors that are not 0 and 1, in float64."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.uniform_(part.weight, -1.5, 1.5)
                nn.init.uniform_(part.bias, -1, 1)
    return module.double().eval()


def outputs(graph: Graph, x):
    name = graph.output.name
    return forward.run(graph, x, keep=[name])[name].flatten(1)


def images():
    return torch.randn(4, 3, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    module = randomised(MODULES[name]())
    warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
    graph = import_module(module, (3, 9, 8))
    wanted = module(images()).flatten(1)
    torch.testing.assert_close(outputs(graph, images()), wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(outputs(simplify(graph), images()), wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    module = randomised(Lambda(FUNCTIONS[name]))
    graph = import_module(module, (3, 9, 8))
    wanted = module(images()).flatten(1)
    torch.testing.assert_close(outputs(graph, images()), wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(outputs(simplify(graph), images()), wanted, atol=1e-12, rtol=0)


def test_option_a_shortcut_is_one_convolution():
    graph = simplify(import_module(randomised(Lambda(FUNCTIONS["option_a"])), (3, 9, 8)))
    shortcut = next(n for n in graph.nodes if isinstance(n, Conv) and n.weight.shape[0] == 6
                    and n.weight.shape[2:] == (1, 1))  # fmt: skip
    assert shortcut.stride == (2, 2)
    assert shortcut.weight.sum() == 4
    assert not any(isinstance(node, MaxPool) for node in graph.nodes)


def test_slopes_that_differ():
    module = nn.Sequential(nn.PReLU(3)).eval()
    with torch.no_grad():
        module[0].weight[1] = 0.5
    with pytest.raises(HwgenError, match=r"0: nn\.PReLU with slopes that differ"):
        import_module(module, (3, 9, 8))


def test_parameters_are_copied():
    module = randomised(nn.Sequential(nn.Conv2d(3, 4, 3)))
    graph = import_module(module, (3, 9, 8))
    before = outputs(graph, images())
    with torch.no_grad():
        module[0].weight.zero_()
    torch.testing.assert_close(outputs(graph, images()), before, atol=0, rtol=0)


def test_a_layer_that_is_called_twice_gets_two_names():
    graph = import_module(randomised(Lambda(FUNCTIONS["twice"])), (3, 9, 8))
    assert [node.name for node in graph.nodes][:3] == ["input", "conv", "conv_2"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU())),
            r"0\.1: nn\.GELU is not supported; supported: ",
        ),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3)), r"0: nn\.ConvTranspose2d is not supported"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
            "0: .*padding_mode='reflect'",
        ),
        (
            nn.Sequential(nn.AvgPool2d(2, ceil_mode=True)),
            "0: average pooling with ceil_mode and a window that hangs over the edge is not",
        ),
        (nn.Sequential(nn.LeakyReLU(-0.1)), "0: a leaky ReLU of slope -0.1"),
        (nn.Sequential(nn.MaxPool2d(2, dilation=2)), "0: max pooling with dilation"),
        (
            nn.Sequential(nn.AvgPool2d(2, padding=1, count_include_pad=False)),
            "0: .*count_include_pad=False",
        ),
        (nn.Sequential(nn.AvgPool2d(2, divisor_override=3)), "0: .*divisor_override"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(4)), "0: adaptive pooling from 9x8 to 4x4"),
        (
            nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
            "0: a batch norm without running statistics",
        ),
        (nn.Sequential(nn.Linear(8, 2)), "0: a Linear over a flat tensor"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(100, 2)),
            "1: a flat tensor of 100 needed, not 216x1x1",
        ),
        (nn.Sequential(nn.Conv2d(1, 4, 3)), "0: 1 channels needed, not 3"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 11)),
            "0: an image that the window fits into needed, not 3x9x8",
        ),
        (nn.Sequential(nn.Flatten(2)), "0: flatten of dimensions 2 to -1"),
        (Lambda(lambda m, x: F.gelu(m.conv(x))), "gelu.*gelu.* is not supported"),
        (Lambda(lambda m, x: m.conv(x) * m.other(x)), "mul: a product of two images is not"),
        (Lambda(lambda m, x: m.conv(x) / 0), "truediv: a division by an image or by zero"),
        (Lambda(lambda m, x: 1 / m.conv(x)), "truediv: a division by an image"),
        (Lambda(lambda m, x: m.conv(x) + m.conv.bias), r"add.*with a tensor \(4,\), which has no"),
        (Lambda(lambda m, x: torch.sub(m.conv(x), x, alpha=2)), "sub with alpha=2"),
        (Lambda(lambda m, x: m.conv(x)[:, :, 1:]), "indexing of a tensor"),
        (Lambda(lambda m, x: m.conv(x)[:, ::2]), "indexing of a tensor"),
        (Lambda(lambda m, x: F.pad(m.conv(x), (0, 0, 0, 0, -1, 0))), "a cut of channels"),
        (Lambda(lambda m, x: m.conv(x).transpose(1, 2)), "transpose.*is not supported"),
        (Lambda(lambda m, x: torch.cat([m.conv(x), m.other(x)], 2)), "cat along dimension 2"),
        (Lambda(lambda m, x: m.conv(x).view(4, 2, -1)), "a view as"),
        (Lambda(lambda m, x: m.conv(x) if x.sum() > 0 else x), "a forward that torch.fx can trace"),
        (Lambda(lambda m, x: (m.conv(x), x)), "one tensor as output"),
        (Lambda(lambda m, x: m.conv(x)[:, 0]), "indexing of a tensor"),
        (Lambda(lambda m, x: F.pad(m.conv(x), (1, 1), value=1.0)), "padding with constant 1.0"),
        (
            Lambda(lambda m, x: m.conv(x).clamp(min=0.5)),
            "lower bound <= 0 <= upper bound needed, not 0.5, None",
        ),
    ],
)
def test_refused(module, message):
    with pytest.raises(HwgenError, match=message) as caught:
        import_module(module.eval(), (3, 9, 8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "bad"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_numbers_that_are_not_finite_are_refused(value, bad):
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).eval()
    with torch.no_grad():
        module[0][0].bias[2] = value
    with pytest.raises(HwgenError, match=f"0.0: finite bias needed, there is {bad} in it"):
        import_module(module, (3, 9, 8))
    with torch.no_grad():
        module[0][0].bias[2] = 0
    module[0][1].running_var[1] = value
    with pytest.raises(HwgenError, match=f"0.1: finite running_var needed, there is {bad} in it"):
        import_module(module, (3, 9, 8))


def test_padding_that_nothing_takes_in():
    graph = import_module(nn.Sequential(nn.ZeroPad2d(1), nn.ReLU(), nn.Conv2d(3, 4, 3)), (3, 9, 8))
    with pytest.raises(HwgenError, match="0: a convolution or a pooling that takes the padding in"):
        simplify(graph)


# --- .pt2
# --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A module with every operator that an archive may hold, and its file."""
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.ReLU6(),
                nn.MaxPool2d(2),
                nn.ZeroPad2d(1),
                nn.Conv2d(4, 4, 3, padding="same", groups=2),
                nn.Tanh(),
            )
            self.more = nn.Sequential(
                nn.Conv2d(4, 4, 1, bias=False), nn.Hardtanh(-0.5, 0.5), nn.Dropout()
            )
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5))

        def forward(self, x):
            x = self.features(x)
            y = torch.cat([x + self.more(x), torch.relu(x)], 1)
            return self.head(F.adaptive_avg_pool2d(F.avg_pool2d(torch.sigmoid(y), 2), 1))

    module = randomised(Net())
    exported = torch.export.export(module, (images()[:1],))
    torch.export.save(exported, path)
    return module, path


def test_archive(archive):
    module, path = archive
    graph = import_archive(path, (3, 9, 8))
    torch.testing.assert_close(outputs(graph, images()), module(images()), atol=1e-12, rtol=0)
    assert "features.0" in graph.by_name


@pytest.mark.parametrize("name", ["hard", "leaky", "numbers", "buffers", "option_a",
                                  "every_third", "add"])  # fmt: skip
def test_archive_of_functions(name, tmp_path):
    module = randomised(Lambda(FUNCTIONS[name]))
    exported = torch.export.export(module, (images()[:1],))
    torch.export.save(exported, tmp_path / "net.pt2")
    graph = import_archive(tmp_path / "net.pt2", (3, 9, 8))
    wanted = module(images()).flatten(1)
    torch.testing.assert_close(outputs(graph, images()), wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(outputs(simplify(graph), images()), wanted, atol=1e-12, rtol=0)


def rewritten(path, out, change):
    """Copy a zip file with ``change(name, bytes) -> bytes`` applied to each member."""
    import zipfile

    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"use_pickle": false', b'"use_pickle": true', "stored as a pickle"),
        (
            b"aten.tanh.default",
            b"aten.gelu.default",
            r"features\.6: nn\.Tanh \(gelu\.default\) is not supported",
        ),
        (
            b'"path_name": "weight_0"',
            b'"path_name": "weight_77"',
            "it has no data/weights/weight_77",
        ),
        (b'{"as_int": 3}', b'{"as_int": 7}', "numbers needed|Images"),
        (b'"signature"', b'"something"', "known layout"),
        (b"{", b"[", "JSON needed"),
    ],
)
def test_archive_changed(archive, tmp_path, old, new, message):
    path = rewritten(
        archive[1],
        tmp_path / "bad.pt2",
        lambda name, data: data.replace(old, new) if name.endswith(".json") else data,
    )
    with pytest.raises(HwgenError, match=message):
        import_archive(path, (3, 9, 8))


def test_archive_with_nan(archive, tmp_path):
    path = rewritten(
        archive[1],
        tmp_path / "nan.pt2",
        lambda name, data: b"\xff" * len(data) if name.endswith("weight_0") else data,
    )
    with pytest.raises(HwgenError, match="finite weight needed, there is NaN"):
        import_archive(path, (3, 9, 8))


def test_archive_of_another_size(archive):
    with pytest.raises(HwgenError, match="Images 3x9x8 needed by the exported model, not 3x9x9"):
        import_archive(archive[1], (3, 9, 9))


def test_archive_missing_or_broken(archive, tmp_path):
    with pytest.raises(HwgenError, match="there is none"):
        import_archive(tmp_path / "none.pt2", (3, 9, 8))
    whole = archive[1].read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 10):
        (tmp_path / "short.pt2").write_bytes(whole[:size])
        with pytest.raises(HwgenError, match="whole .pt2"):
            import_archive(tmp_path / "short.pt2", (3, 9, 8))
