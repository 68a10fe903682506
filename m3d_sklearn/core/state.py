"""What a run depends on as plain trees, for checkpoints: taken out, and put back in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from m3d_sklearn.core.distributed import Share

__all__ = [
    "Stateful",
    "StatefulOptimizer",
    "load_module",
    "load_parts",
    "module_state",
    "parts_state",
    "put_",
    "whole_number",
]

KEPT = {torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.SGD: {"momentum_buffer"}}


class Stateful(Protocol):
    """Gives all that its future depends on as a tree, and takes it back.

    A tree is made of dicts, lists, numbers, strings, None and tensors on any device.
    ``load_state_dict`` writes into the tensors that are there, and raises ValueError, KeyError
    or TypeError for a tree that does not fit.
    """

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def parts_state(parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """States of the parts of a run, by name."""
    return {name: part.state_dict() for name, part in parts.items()}


def load_parts(parts: Mapping[str, Stateful], state: Mapping[str, Any]) -> None:
    """Put back what :func:`parts_state` gave."""
    for name, part in parts.items():
        part.load_state_dict(state[name])


@torch.no_grad()
def put_(target: Tensor, saved: Any, name: str) -> None:
    """Copy a saved tensor into the one that it was taken from.

    Raises
    ------
    ValueError
        If it is no tensor of that shape and dtype.
    """
    if not isinstance(saved, Tensor) or (saved.shape, saved.dtype) != (target.shape, target.dtype):
        found = f"{tuple(saved.shape)} of {saved.dtype}" if isinstance(saved, Tensor) else saved
        raise ValueError(
            f"{name} must be a tensor {tuple(target.shape)} of {target.dtype}; got {found}"
        )
    target.copy_(saved)


def whole_number(value: Any, most: int, name: str) -> int:
    """A saved number from 0 to `most`.

    Raises
    ------
    ValueError
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 0 to {most}; got {value!r}")
    return value


def module_state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those too that a module keeps out of its own ``state_dict``."""
    return dict(_tensors_of(module))


def load_module(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Put parameters and buffers back in place."""
    for name, tensor in _tensors_of(module):
        put_(tensor, state[name], name)


def _tensors_of(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


class StatefulOptimizer:
    """An optimiser's state as a tree, whatever of torch's own holds besides.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    share : Share, optional
        Of the stored rows, where these are what is optimised: the tree is then of all ranks.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, share: Share | None = None) -> None:
        self.optimizer, self.share = optimizer, share
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """What is kept of each parameter: nothing before its first step."""
        kept = [self.optimizer.state.get(parameter, {}) for parameter in self.parameters]
        if self.share is not None:
            for moment in (t for own in kept for t in own.values() if isinstance(t, Tensor)):
                if moment.ndim:
                    self.share.gather_(moment)
        tensors = [{k: v for k, v in own.items() if isinstance(v, Tensor)} for own in kept]
        return {"parameters": tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put it back, on the devices where torch wants it.

        Raises
        ------
        ValueError, KeyError, TypeError
        """
        names = KEPT[type(self.optimizer)]
        for own, parameter in zip(state["parameters"], self.parameters, strict=True):
            if own and set(own) != names:
                raise ValueError(f"an optimizer's state must hold {sorted(names)}; got {list(own)}")
            for name, value in own.items():
                like = torch.zeros(()) if name == "step" else torch.empty_like(parameter)
                put_(like, value, name)
        by_number = {number: own for number, own in enumerate(state["parameters"]) if own}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": by_number, "param_groups": groups})
