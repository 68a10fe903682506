"""Fits in processes of their own, which tests stop."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
from common import digits

from m3d_sklearn import M3DCondenser
from m3d_sklearn.core import checkpoint

__all__ = ["ITERATIONS", "Fit", "saved_iterations"]

ITERATIONS = 100
# Its children come with everything imported, which takes longer than these fits.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["m3d_sklearn", "sklearn.utils.estimator_checks", "sklearn.datasets", "torch._dynamo"]
)


def run(path: Path, out: Path, begun: Path) -> None:
    """Go on from a checkpoint, which is written after every iteration, and keep the result."""
    begun.touch()
    condenser = M3DCondenser(
        ipc=1,
        network="mlp",
        pool=2,
        iterations_per_network=2,
        batch_real=5,
        max_iter=ITERATIONS,
        random_state=0,
        checkpoint=path,
        checkpoint_every=1,
    ).fit(*digits())
    np.savez(out, X=condenser.condensed_.X, losses=condenser.loss_curve_, n=condenser.n_iter_)


class Fit:
    """A process that fits, or goes on with what an earlier one of this folder and name did."""

    def __init__(self, folder: Path, name: str = "run") -> None:
        self.path, self.out = folder / f"{name}.ckpt", folder / f"{name}.npz"
        begun = folder / f"{name}.begun"
        begun.unlink(missing_ok=True)
        self.process = PROCESSES.Process(target=run, args=(self.path, self.out, begun))
        self.process.start()
        self.wait_for(begun)

    def end(self) -> int:
        """Wait for its end; minus the signal's number where one ended it."""
        self.process.join(timeout=300)
        return self.process.exitcode

    def result(self) -> list[bytes]:
        with np.load(self.out) as file:
            return [file[name].tobytes() for name in sorted(file.files)]

    def wait_for(self, path: Path) -> None:
        while not path.exists():
            assert self.process.is_alive()
            time.sleep(0.005)


def saved_iterations(path: Path) -> int:
    """Iterations in a checkpoint, which must be whole."""
    return checkpoint.read(path)["run"]["progress"]["n_iter"]
