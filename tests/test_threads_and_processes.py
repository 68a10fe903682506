"""Fits side by side in threads, and in processes of every kind: the bits of a fit alone."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from common import ESTIMATORS, answers, colour, digits, global_states, name_of, small
from torch import nn

from m3d_sklearn import DMCondenser, M3DCondenser, NetworkClassifier, Random, evaluate

THREADS, FITS = 4, 2  # side by side; one after the other in each of them
PATIENCE = 120  # seconds until a thread or process counts as hung
every_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=name_of)


class Dropping(nn.Module):
    """A network that takes its weights, and what it drops, from torch's global generator."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(n_outputs, int(np.prod(shape))))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(rows.flatten(1), 0.5, self.training) @ self.weights.T


def quick(cls: type, **params: Any) -> Any:
    """A small estimator, of two iterations where it has some."""
    estimator = small(cls, **params)
    return estimator.set_params(max_iter=2) if hasattr(estimator, "preset") else estimator


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
    makers = [lambda seed=seed: quick(cls, random_state=seed) for seed in range(THREADS)]
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
    makers = [lambda cls=cls: quick(cls) for cls in ESTIMATORS]
    alone = [[bits(make(), X, y)] * FITS for make in makers]
    assert side_by_side(makers, X, y) == alone


def test_evaluations_in_threads():
    X, y = digits(per_class=6)
    condensed = Random(2, random_state=0).fit(X, y).condensed_

    def score(seed: int) -> list[float]:
        networks = {"network": Dropping, "n_networks": 2, "max_iter": 2}
        return evaluate(condensed, X, y, random_state=seed, **networks).scores.tolist()

    alone = [score(seed) for seed in range(THREADS)]
    before = global_states()
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(score, range(THREADS))) == alone
    assert global_states() == before


# Processes


def in_a_process(start: str, cls: type, X: Any, y: Any) -> list[bytes]:
    """A fit in a child process that begins in this way."""
    context = multiprocessing.get_context(start)
    answer, told = context.Pipe(duplex=False)
    child = context.Process(target=tell, args=(told, cls, X, y), daemon=True)
    child.start()
    told.close()  # so that a child's end is the pipe's
    try:
        assert answer.poll(PATIENCE), "the child hangs"
        return answer.recv()
    finally:
        child.kill()
        child.join(PATIENCE)


def tell(told: Any, cls: type, X: Any, y: Any) -> None:
    told.send(bits(small(cls), X, y))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")
@every_estimator
def test_a_fit_in_a_forked_child_after_one_in_the_parent(cls):
    X, y = digits(per_class=6)
    alone = bits(small(cls), X, y)
    assert in_a_process("fork", cls, X, y) == alone
    assert bits(small(cls), X, y) == alone


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")
@pytest.mark.parametrize("cls", [M3DCondenser, NetworkClassifier], ids=name_of)
def test_a_child_forked_after_a_fit_of_several_threads_goes_on_with_one(cls):
    """The parent's threads are not in the child, and OpenMP would wait for them."""
    X, y = colour(per_class=20)
    alone = bits(small(cls), X, y)
    torch.set_num_threads(2)
    try:
        small(cls, max_iter=1).fit(X, y)
        assert in_a_process("fork", cls, X, y) == alone
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def busy(own: threading.Event, inside: threading.Event) -> Any:
    """A factory of a network that takes its time, in the turn with the global generators."""

    def make(*shape: Any) -> nn.Module:
        inside.set()
        own.wait(PATIENCE)
        return Dropping(*shape)

    return make


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")
def test_a_child_forked_while_another_thread_builds_its_network():
    X, y = digits(per_class=6)
    alone = bits(small(M3DCondenser), X, y)
    end, inside = threading.Event(), threading.Event()
    other = NetworkClassifier(busy(end, inside), max_iter=1, random_state=0)
    thread = threading.Thread(target=other.fit, args=(X, y), daemon=True)
    thread.start()
    assert inside.wait(PATIENCE)
    try:
        assert in_a_process("fork", M3DCondenser, X, y) == alone
    finally:
        end.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_fit_in_a_spawned_child():
    X, y = digits(per_class=6)
    assert in_a_process("spawn", M3DCondenser, X, y) == bits(small(M3DCondenser), X, y)


@pytest.mark.parametrize(
    "backend",
    ["threading", pytest.param("loky", marks=pytest.mark.slow)],  # workers import all
)
def test_workers_of_joblib(backend):
    X, y = digits(per_class=6)
    makers = [small(cls) for cls in (M3DCondenser, DMCondenser, NetworkClassifier)] * 2
    alone = [bits(estimator, X, y) for estimator in makers]
    before = global_states()
    found = joblib.Parallel(n_jobs=2, backend=backend, timeout=PATIENCE)(
        joblib.delayed(bits)(estimator, X, y) for estimator in makers
    )
    assert found == alone
    assert global_states() == before
