"""Layer shapes of published networks, for accounting: weights, MACs and kernels, no values.

Ref: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural
networks", 2012 (two groups in conv2, conv4, conv5); K. Simonyan, A. Zisserman, "Very deep
convolutional networks for large-scale image recognition", 2015, configuration D; K. He, X. Zhang,
S. Ren, J. Sun, "Deep residual learning for image recognition", 2016. VGG16 and ResNet18 as they are
used on 32 x 32 images: one dense layer after the convolutions, no early subsampling.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.errors import HwgenError


@dataclass(frozen=True)
class LayerShape:
    """A convolution, or a dense layer as a convolution with one output pixel.

    Parameters
    ----------
    name : str
    co, ci : int
        Output channels; input channels that each of them sees (all inputs over ``groups``).
    kh, kw : int
        Kernel.
    height, width : int
        Of the output.
    groups : int
    """

    name: str
    co: int
    ci: int
    kh: int
    kw: int
    height: int = 1
    width: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        sizes = (self.co, self.ci, self.kh, self.kw, self.height, self.width, self.groups)
        if min(sizes) < 1 or self.co % self.groups:
            raise HwgenError(
                f"{self.name}: positive sizes needed, output channels a multiple of groups, "
                f"not {sizes}"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights: (co, ci, kh, kw)."""
        return self.co, self.ci, self.kh, self.kw

    @property
    def pixels(self) -> int:
        """Output pixels of an image."""
        return self.height * self.width

    @property
    def kernels(self) -> int:
        """2-D kernels."""
        return self.co * self.ci

    @property
    def weights(self) -> int:
        """Weights, biases not counted."""
        return self.kernels * self.kh * self.kw

    @property
    def macs(self) -> int:
        """Products of an image, those with padding included."""
        return self.weights * self.pixels


def vgg16(*, side: int = 32, classes: int = 10) -> tuple[LayerShape, ...]:
    """Return VGG16's thirteen convolutions and one dense layer on ``side`` x ``side`` images.

    Raises: HwgenError if the side is no multiple of 32.
    """
    _multiple("VGG16", side, 32)
    layers: list[LayerShape] = []
    ci = 3
    for stage, (co, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, count + 1):
            layers.append(LayerShape(f"conv{stage}_{number}", co, ci, 3, 3, side, side))
            ci = co
        side //= 2
    return (*layers, LayerShape("fc", classes, 512 * side * side, 1, 1))


def resnet18(*, side: int = 32, classes: int = 10) -> tuple[LayerShape, ...]:
    """Return ResNet18's layers on ``side`` x ``side`` images, its 1 x 1 shortcuts among them.

    Raises: HwgenError if the side is no multiple of 8.
    """
    _multiple("ResNet18", side, 8)
    layers = [LayerShape("conv1", 64, 3, 3, 3, side, side)]
    ci = 64
    for stage, co in enumerate((64, 128, 256, 512), start=1):
        if stage > 1:
            side //= 2
        for block in (1, 2):
            name = f"layer{stage}_{block}"
            layers.append(LayerShape(f"{name}_conv1", co, ci, 3, 3, side, side))
            layers.append(LayerShape(f"{name}_conv2", co, co, 3, 3, side, side))
            if ci != co:
                layers.append(LayerShape(f"{name}_shortcut", co, ci, 1, 1, side, side))
            ci = co
    return (*layers, LayerShape("fc", classes, 512, 1, 1))


def alexnet(*, classes: int = 1000, dense_as_kernels: bool = False) -> tuple[LayerShape, ...]:
    """Return AlexNet's layers on 227 x 227 images.

    Parameters
    ----------
    classes : int
    dense_as_kernels : bool
        fc6 as 4096 x 256 kernels of 6 x 6 in place of one row of 9216 weights an output.
    """
    fc6 = (
        LayerShape("fc6", 4096, 256, 6, 6) if dense_as_kernels
        else LayerShape("fc6", 4096, 9216, 1, 1)
    )
    return (
        LayerShape("conv1", 96, 3, 11, 11, 55, 55),
        LayerShape("conv2", 256, 48, 5, 5, 27, 27, groups=2),
        LayerShape("conv3", 384, 256, 3, 3, 13, 13),
        LayerShape("conv4", 384, 192, 3, 3, 13, 13, groups=2),
        LayerShape("conv5", 256, 192, 3, 3, 13, 13, groups=2),
        fc6,
        LayerShape("fc7", 4096, 4096, 1, 1),
        LayerShape("fc8", classes, 4096, 1, 1),
    )


def _multiple(name: str, side: int, of: int) -> None:
    if side < of or side % of:
        raise HwgenError(f"{name}: an image side that is a multiple of {of} needed, not {side}")
