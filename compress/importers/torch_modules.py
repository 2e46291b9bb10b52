"""Layers of torch as nodes of the float graph: a function for each class of ``nn`` that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from hwgen.compress.importers.builder import Builder


def array(tensor: torch.Tensor | None) -> np.ndarray[Any, Any] | None:
    """Return a tensor's values as float64, or None."""
    return None if tensor is None else tensor.detach().cpu().to(torch.float64).numpy()


def _conv(b: Builder, path: str, source: str, m: nn.Conv2d) -> str:
    if m.padding_mode != "zeros":
        raise b.unsupported(path, f"nn.Conv2d with padding_mode={m.padding_mode!r}")
    weight = array(m.weight)
    assert weight is not None
    return b.conv(
        path,
        source,
        weight,
        array(m.bias),
        stride=m.stride,
        padding=m.padding,
        dilation=m.dilation,
        groups=m.groups,
    )


def _dense(b: Builder, path: str, source: str, m: nn.Linear) -> str:
    weight = array(m.weight)
    assert weight is not None
    return b.dense(path, source, weight, array(m.bias))


def _norm(b: Builder, path: str, source: str, m: Any) -> str:
    return b.batch_norm(
        path,
        source,
        array(m.weight),
        array(m.bias),
        array(m.running_mean),
        array(m.running_var),
        m.eps,
    )


def _max_pool(b: Builder, path: str, source: str, m: nn.MaxPool2d) -> str:
    return b.max_pool(
        path, source, m.kernel_size, m.stride, m.padding, dilation=m.dilation, ceil_mode=m.ceil_mode
    )


def _avg_pool(b: Builder, path: str, source: str, m: nn.AvgPool2d) -> str:
    return b.avg_pool(
        path,
        source,
        m.kernel_size,
        m.stride,
        m.padding,
        ceil_mode=m.ceil_mode,
        count_include_pad=m.count_include_pad,
        divisor=m.divisor_override,
    )


def _prelu(b: Builder, path: str, source: str, m: nn.PReLU) -> str:
    slopes = array(m.weight)
    assert slopes is not None
    if np.any(slopes != slopes[0]):
        raise b.unsupported(path, "nn.PReLU with slopes that differ")
    return b.leaky_relu(path, source, float(slopes[0]))


MODULES: dict[type[nn.Module], Callable[[Builder, str, str, Any], str]] = {
    nn.Conv2d: _conv,
    nn.Linear: _dense,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.ReLU: lambda b, path, source, m: b.clip(path, source, 0.0, None),
    nn.ReLU6: lambda b, path, source, m: b.clip(path, source, 0.0, 6.0),
    nn.Hardtanh: lambda b, path, source, m: b.clip(path, source, m.min_val, m.max_val),
    nn.LeakyReLU: lambda b, path, source, m: b.leaky_relu(path, source, m.negative_slope),
    nn.PReLU: _prelu,
    nn.Hardsigmoid: lambda b, path, source, m: b.hardsigmoid(path, source),
    nn.Hardswish: lambda b, path, source, m: b.curve(path, source, "hardswish"),
    nn.Tanh: lambda b, path, source, m: b.curve(path, source, "tanh"),
    nn.Sigmoid: lambda b, path, source, m: b.curve(path, source, "sigmoid"),
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: lambda b, path, source, m: b.adaptive_avg_pool(
        path, source, m.output_size
    ),
    nn.Flatten: lambda b, path, source, m: b.flatten(path, source, m.start_dim, m.end_dim),
    nn.ZeroPad2d: lambda b, path, source, m: b.pad(path, source, m.padding),
    nn.ConstantPad2d: lambda b, path, source, m: b.pad(path, source, m.padding, value=m.value),
    nn.Dropout: lambda b, path, source, m: source,
    nn.Dropout2d: lambda b, path, source, m: source,
    nn.Identity: lambda b, path, source, m: source,
}
