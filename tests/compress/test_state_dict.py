"""State dicts of the zoo's networks: the same graph as the module, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hwgen.compress import forward, zoo
from hwgen.compress.importers import model as models
from hwgen.errors import HwgenError

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return zoo.recipe("digits").build().eval()


def check(spec, network):
    loaded = models.load(spec, SHAPE)
    assert loaded.name == "digits"
    x = torch.randn(3, *SHAPE)
    name = loaded.graph.output.name
    found = forward.run(loaded.graph, x, keep=[name])[name].flatten(1)
    np.testing.assert_allclose(found.numpy(), network(x).detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", ["plain", "state_dict", "model", "parallel"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_torch_files(form, suffix, network, tmp_path):
    state = network.state_dict()
    if form == "parallel":
        state = {f"module.{name}": value for name, value in state.items()}
    torch.save(state if form in ("plain", "parallel") else {form: state, "epoch": 3},
               tmp_path / f"m{suffix}")  # fmt: skip
    check(f"{tmp_path}/m{suffix}:digits", network)


def test_safetensors_of_others(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "m.safetensors")
    check(f"{tmp_path}/m.safetensors:digits", network)
    with pytest.raises(HwgenError, match="a model that `hwgen train` wrote needed"):
        models.load(f"{tmp_path}/m.safetensors", SHAPE)


def test_refused(network, tmp_path):
    path = tmp_path / "m.pth"
    with pytest.raises(HwgenError, match="a file of weights needed, there is none"):
        models.load(f"{path}:digits", SHAPE)
    torch.save(network.state_dict(), path)
    with pytest.raises(HwgenError, match=r"says nothing about its network: .*m\.pth:NAME needed, "
                                         "NAME one of digits, "):
        models.load(str(path), SHAPE)
    with pytest.raises(HwgenError, match="Network must be one of .*, not 'nonsense'"):
        models.load(f"{path}:nonsense", SHAPE)
    with pytest.raises(HwgenError, match="the tensors of lenet5 needed"):
        models.load(f"{path}:lenet5", SHAPE)
    torch.save([1, 2], path)
    with pytest.raises(HwgenError, match="a state dict, names and tensors, needed, not list"):
        models.load(f"{path}:digits", SHAPE)


@pytest.mark.parametrize("whole", [True, False])
def test_pickles_and_broken_files_are_refused(whole, network, tmp_path):
    path = tmp_path / "m.pth"
    torch.save(network, path)                             # the module itself: needs pickle
    if not whole:
        path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(HwgenError, match="a state dict of tensors alone needed") as caught:
        models.load(f"{path}:digits", SHAPE)
    assert "\n" not in str(caught.value)


def test_images_of_another_size(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "m.pth")
    with pytest.raises(HwgenError, match="^digits: images of 1x8x8 needed, not of 1x1x1$"):
        models.load(f"{tmp_path}/m.pth:digits", (1, 1, 1))
