"""torch.compile where it pays, and the plain function where it cannot be had."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Compiled", "pays"]

# Compiling takes up to a minute and takes a third of the time away: it pays for what two
# cores do in some minutes.
WORTH_FLOP = 15e12
MOST_SHAPES = 16


def pays(flop: float) -> bool:
    """Whether a run of this much arithmetic is long enough to compile for."""
    return flop >= WORTH_FLOP


class Compiled:
    """A function compiled for each shape of its arguments.

    Where no compiler is found, or compiling fails, the function runs as it is; so it does
    for shapes beyond the first few, which would cost more to compile than they save.

    Parameters
    ----------
    function : callable
        Of tensors, and other values that can be compared.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.by_shape: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        mode = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
        key = _shapes(arguments), mode
        if key in self.by_shape:
            return self.by_shape[key](*arguments)
        if len(self.by_shape) >= MOST_SHAPES:
            return self.function(*arguments)
        try:
            compiled = _compile(self.function)
            result = compiled(*arguments)
        except Exception:
            # Compilers fail in many ways. Where the function itself is at fault it fails again.
            compiled = self.function
            result = compiled(*arguments)
        self.by_shape[key] = compiled
        return result


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.stride(), value.dtype, value.device, value.requires_grad
    return tuple(map(_shapes, value)) if isinstance(value, tuple) else value


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    # A code object of its own, because torch counts recompilations by it and gives up
    # without a word after the eighth.
    own = _copied(function)
    # One compiling thread starts no worker processes inside a user's program.
    return torch.compile(own, dynamic=False, options={"compile_threads": 1})


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function or method with a code object of its own; other callables as they are."""
    plain = getattr(function, "__func__", function)
    if not isinstance(plain, types.FunctionType):
        return function
    own = types.FunctionType(
        plain.__code__.replace(),
        plain.__globals__,
        plain.__name__,
        plain.__defaults__,
        plain.__closure__,
    )
    own.__kwdefaults__ = plain.__kwdefaults__
    owner = getattr(function, "__self__", None)
    return own if plain is function else types.MethodType(own, owner)
