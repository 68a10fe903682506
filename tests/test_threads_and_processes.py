"""Fits side by side in threads, and in processes of every kind: the bits of a fit alone."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from common import ESTIMATORS, answers, colour, digits, global_states, name_of, small
from torch import nn

from m3d_sklearn import DMCondenser, M3DCondenser, NetworkClassifier

THREADS, FITS = 4, 3  # side by side; one after the other in each of them
PATIENCE = 120  # seconds until a thread or process counts as hung
every_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)


class Dropping(nn.Module):
    """A network that takes its weights, and what it drops, from torch's global generator."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(n_outputs, int(np.prod(shape))))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(rows.flatten(1), 0.5) @ self.weights.T


def bits(estimator: Any, X: Any, y: Any) -> list[bytes]:
    """All that an estimator says of the data that it was fitted on."""
    return [values.tobytes() for values in answers(estimator.fit(X, y), X)]


def side_by_side(makers: list[Any], X: Any, y: Any) -> list[list[list[bytes]]]:
    """Several fits in each of several threads, which begin together."""
    found: list[list[list[bytes]]] = [[] for _ in makers]
    together = threading.Barrier(len(makers))

    def work(make: Any, own: list[list[bytes]]) -> None:
        together.wait(PATIENCE)
        for _ in range(FITS):
            own.append(bits(make(), X, y))

    threads = [
        threading.Thread(target=work, args=pair, daemon=True)
        for pair in zip(makers, found, strict=True)
    ]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns as often as they can
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(switch)
    return found


# Threads


@every_estimator
def test_threads_give_the_bits_of_a_fit_alone(cls):
    X, y = digits(per_class=6)
    makers = [lambda seed=seed: small(cls, random_state=seed) for seed in range(THREADS)]
    alone = [[bits(make(), X, y)] * FITS for make in makers]
    before = global_states()
    assert side_by_side(makers, X, y) == alone
    assert global_states() == before


def test_threads_with_networks_that_draw_from_the_global_generator():
    X, y = digits(per_class=6)
    makers = [
        lambda: DMCondenser(1, network=Dropping, max_iter=6, random_state=0),
        lambda: M3DCondenser(1, network=Dropping, max_iter=6, random_state=1),
        lambda: NetworkClassifier(Dropping, max_iter=4, random_state=2),
        lambda: NetworkClassifier(Dropping, max_iter=4, random_state=3),
    ]
    alone = [[bits(make(), X, y)] * FITS for make in makers]
    before = global_states()
    assert side_by_side(makers, X, y) == alone
    assert global_states() == before


def test_threads_with_one_estimator_each_of_another_kind():
    X, y = colour(per_class=4)
    makers = [lambda cls=cls: small(cls) for cls in ESTIMATORS]
    alone = [[bits(make(), X, y)] * FITS for make in makers]
    assert side_by_side(makers, X, y) == alone
