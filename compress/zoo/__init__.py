"""The reference networks: small CNNs of the literature, as torch modules, with the recipe that
trains each, a family a file.

AlexNet, VGG16 and ResNet18 are too large to be trained here; their shapes are in
``hwgen.compress.shapes``.
"""

from __future__ import annotations

from hwgen.compress.zoo import cff, lenet, mobilenet, resnet, vgg
from hwgen.compress.zoo.recipe import Recipe
from hwgen.errors import HwgenError

__all__ = ["ZOO", "Recipe", "recipe"]

ZOO: dict[str, Recipe] = {
    **lenet.RECIPES,
    **cff.RECIPES,
    **vgg.RECIPES,
    **resnet.RECIPES,
    **mobilenet.RECIPES,
}


def recipe(name: str) -> Recipe:
    """Return the recipe of a reference network.

    Raises: HwgenError naming the known ones if there is none of that name.
    """
    if name not in ZOO:
        raise HwgenError(f"Network must be one of {', '.join(ZOO)}, not {name!r}")
    return ZOO[name]
