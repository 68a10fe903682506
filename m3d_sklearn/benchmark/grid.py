"""compare(): methods × data sets × ipc × seeds, resumable, in parallel, as flat rows."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import torch
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from m3d_sklearn import _validation as validation
from m3d_sklearn._validation import Integral
from m3d_sklearn.benchmark.cells import Cell
from m3d_sklearn.benchmark.measure import now
from m3d_sklearn.benchmark.methods import REFERENCES, Methods
from m3d_sklearn.benchmark.plan import plan
from m3d_sklearn.benchmark.running import TAKEN, run_cell
from m3d_sklearn.benchmark.standing import Standing
from m3d_sklearn.benchmark.store import FAILED, ResultsFolder, rows
from m3d_sklearn.benchmark.terminated import workers_end_too
from m3d_sklearn.core.devices import accelerators
from m3d_sklearn.datasets import Dataset

__all__ = ["Grid", "compare"]


@validation.validate_params(
    {"out": [str, Path, None], "verbose": ["verbose"]}, prefer_skip_nested_validation=False
)
def compare(
    methods: Methods,
    datasets: Any,
    ipc: int | Iterable[int] = (1, 10, 50),
    *,
    seeds: int | Iterable[int] = 3,
    references: Sequence[str] = REFERENCES,
    models: str | Iterable[str] | Mapping[str, Any] = "auto",
    protocols: str | Iterable[str] = "m3d",
    n_networks: int = 2,
    max_steps: int | None = 1000,
    robust: bool = False,
    curve: Iterable[int] = (),
    out: str | Path | None = None,
    root: str | Path | None = None,
    image_size: int | None = None,
    device: str = "auto",
    n_jobs: int | None = None,
    threads: int | None = None,
    verbose: int = 0,
) -> Any:
    """Fit every method on every data set at every ipc, and score what is trained on the result.

    A cell is one method, data set, ipc and seed: one fit, all its scores. Cells that `out`
    holds already are not run again, so a call that was stopped goes on where it stopped.

    Parameters
    ----------
    methods : str, condenser, list of them, or dict
        "random", "herding", "kcenter", "kmeans", "cafe", "dc", "dsa", "dm", "idm",
        "m3d"; "m3d-start" and so on for the start of one that iterates; "whole"; unfitted
        condensers; or a dict of label to any of them. ipc and seed are set by the grid, and
        the device where a condenser names none.
    datasets : str, Dataset, list of them, or dict
        Names or folders for :func:`m3d_sklearn.datasets.load`, data sets, or a dict of label
        to a name, a data set or ``(X_train, y_train, X_test, y_test)``: arrays, DataFrames,
        tensors or lists, with any labels, as ``fit`` takes them. ``y_test`` holds labels of
        ``y_train`` alone.
    ipc : int or list of int, default=(1, 10, 50)
        Stored rows of each class.
    seeds : int or list of int, default=3
        A number of seeds from 0 on, or the seeds. A seed decides the fit and the trainings.
    references : list of {"start", "kmeans", "random", "whole"}, \
default=("start", "kmeans", "whole")
        What stands beside the methods: each synthetic method's start, class-wise k-means,
        random rows, and the whole data set (one cell a seed).
    models : str, list or dict, default="auto"
        What is trained on each set: "auto" (ConvNet for images, MLP for tables), "convnet",
        "mlp", "resnet10", "resnet18", "densenet121", "knn" (one neighbour), "svm",
        "logistic", or "transfer" for all of these that the data's shape allows; or a dict of
        name to a name, a factory of a network, or a classifier. Classifiers see flat rows,
        scaled by the statistics of the training data.
    protocols : str or list of {"m3d", "dc"}, default="m3d"
        How networks are trained; see :class:`NetworkClassifier`.
    n_networks : int, default=2
        Networks trained on each set, a protocol and kind.
    max_steps : int, default=1000
        Batches of each training, the same for every method. None trains for the protocol's
        epochs.
    robust : bool, default=False
        Also train without augmentation, and put random rows and the whole set beside: what
        :func:`robust_scores` needs.
    curve : list of int, default=()
        Iterations of `fit` at which synthetic methods are also scored (the first model kind
        of the data, under the first protocol); see :class:`AccuracyCurve`. Takes time.
    out : str or Path, default=None
        Results folder, made where it is missing. None keeps nothing.
    root : str or Path, default=None
        Folder of the data, for :func:`m3d_sklearn.datasets.load`.
    image_size : int, default=None
        Side, in pixels, that images of folders are resized and cut to, as for
        :func:`m3d_sklearn.datasets.load`. It leaves other data sets as they are.
    device : str, default="auto"
        As for the condensers. Of several GPUs "auto" gives each cell one of its own.
    n_jobs : int, default=None
        Cells side by side, in joblib's words; its ``parallel_config`` puts them on another
        backend, a cluster's among them. None is 1, or the number of GPUs where there are
        several.
    threads : int, default=None
        Of the processor, for each cell. None shares the cores out among the jobs, and takes
        no more than torch would. Results agree to the bit on a CPU where `threads` does.
    verbose : int, default=0
        Shows a progress bar over cells with the time left.

    Returns
    -------
    DataFrame, or list of dict where pandas is missing
        A row a cell and score; see :func:`rows`. A failed cell has one row with its `error`.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, NotADirectoryError
        Before any work, naming the parameter, what is allowed and what came.

    Warns
    -----
    UserWarning
        Where cells failed. They are tried again by the next call.

    Examples
    --------
    >>> from m3d_sklearn.benchmark import compare
    >>> table = compare("herding", "digits", ipc=1, seeds=1, references=(), models="knn")
    >>> len(table)
    1
    """
    if out is not None:
        ResultsFolder(out).check()
    cells, data = plan(
        methods,
        datasets,
        ipc,
        seeds=seeds,
        references=references,
        models=models,
        protocols=protocols,
        n_networks=n_networks,
        max_steps=max_steps,
        robust=robust,
        curve=curve,
        root=root,
        image_size=image_size,
        device=device,
    )
    check_jobs(n_jobs, threads)
    grid = Grid(cells, data)
    with tempfile.TemporaryDirectory() as temporary:
        folder = ResultsFolder(out or temporary)
        grid.run(folder, n_jobs=n_jobs, threads=threads, verbose=verbose)
        records = [folder.find(cell) for cell in grid.cells]
    table = rows(record for record in records if record is not None)
    failed = sum(record is not None and record["status"] == FAILED for record in records)
    if len(table) == 0 or None in records:
        lost = sum(record is None for record in records)
        raise RuntimeError(
            f"{lost} of {len(grid.cells)} cells left no record in {out}; all workers have to share "
            "that folder's disk."
        )
    if failed:
        warnings.warn(
            f"{failed} of {len(grid.cells)} cells failed; the rows' error says how.",
            UserWarning,
            stacklevel=3,  # past scikit-learn's check of the parameters
        )
    try:
        import pandas as pd
    except ImportError:
        return table
    return pd.DataFrame(table).astype({"ipc": "Int64"})


class Shares(NamedTuple):
    """How cells share a machine: joblib's number, cells side by side, threads of each."""

    n_jobs: int | None
    side_by_side: int
    threads: int


class Grid:
    """Cells and the data that they are about.

    Parameters
    ----------
    cells : list of Cell
    data : dict of str to Dataset
    """

    def __init__(self, cells: list[Cell], data: dict[str, Dataset]) -> None:
        self.cells, self.data = cells, data
        self._standing = {name: Standing(dataset) for name, dataset in data.items()}

    def done(self, folder: ResultsFolder, cell: Cell) -> bool:
        """Whether a cell has a result, of the settings that "auto" comes to now."""
        return self._standing[cell.dataset].done(folder, cell)

    def missing(self, folder: ResultsFolder) -> list[Cell]:
        """Cells without a result."""
        return [cell for cell in self.cells if not self.done(folder, cell)]

    def unfitted(self, folder: ResultsFolder) -> list[Cell]:
        """Cells of which no condensed set is kept."""
        fits = [cell for cell in self.missing(folder) if cell.condenser is not None]
        known = [self._standing[cell.dataset].known(folder, cell) or {} for cell in fits]
        return [cell for cell, record in zip(fits, known, strict=True) if "fit" not in record]

    def run(
        self,
        folder: ResultsFolder,
        *,
        n_jobs: int | None = None,
        threads: int | None = None,
        verbose: int = 0,
        fit_only: bool = False,
    ) -> None:
        """Run what is missing; see :func:`compare`.

        With `fit_only` the condensed sets are made and kept, and nothing is trained on them: a
        later run goes on from there, on another machine if need be.

        Raises
        ------
        ValueError
            If `n_jobs` or `threads` is not a whole number, or is 0.
        """
        folder = ResultsFolder(folder.path.absolute())  # workers may have another folder as theirs
        missing = self.unfitted(folder) if fit_only else self.missing(folder)
        since = now()
        shares = self.shares(missing, n_jobs, threads)
        with tqdm(
            total=len(self.cells),
            initial=len(self.cells) - len(missing),
            disable=not verbose,
            desc="compare",
            unit="cell",
        ) as bar:
            # Cells that another process is at are looked at again when the others are done.
            for wait in (False, True):
                tasks = (
                    delayed(_numbered)(
                        number,
                        folder,
                        cell,
                        self.data[cell.dataset],
                        shares.threads,
                        since,
                        wait,
                        fit_only,
                    )
                    for number, cell in enumerate(missing)
                )
                taken = []
                outcomes = Parallel(shares.n_jobs, return_as="generator_unordered")(tasks)
                # In this process a fit writes its checkpoint before it lets the signal through;
                # of several jobs even a single cell has a worker.
                several = joblib.effective_n_jobs(shares.n_jobs) > 1
                with workers_end_too() if several else nullcontext(), closing(outcomes):
                    for number, outcome in outcomes:
                        if outcome == TAKEN:
                            taken.append(number)
                        else:
                            bar.update()
                missing = [missing[number] for number in sorted(taken)]

    @staticmethod
    def shares(missing: list[Cell], n_jobs: int | None, threads: int | None) -> Shares:
        """Cells side by side, and threads of each, so that no core is asked for twice."""
        check_jobs(n_jobs, threads)
        _, chosen = get_active_backend()
        every = len(accelerators()) if missing and missing[0].settings.device == "auto" else 0
        if n_jobs is None and chosen in (None, 1) and every > 1:
            n_jobs = every
        side_by_side = max(1, min(joblib.effective_n_jobs(n_jobs), len(missing)))
        each = max(1, min(torch.get_num_threads(), joblib.cpu_count() // side_by_side))
        return Shares(n_jobs, side_by_side, threads or each)


def check_jobs(n_jobs: int | None, threads: int | None) -> None:
    """Refuse numbers of jobs and threads that mean nothing."""
    if not (n_jobs is None or (_is_whole(n_jobs) and n_jobs != 0)):
        raise ValueError(
            f"n_jobs must be a whole number but 0 (-1 for all cores), or None; got {n_jobs!r}."
        )
    if not (threads is None or (_is_whole(threads) and threads > 0)):
        raise ValueError(f"threads must be a whole number of 1 or more, or None; got {threads!r}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _numbered(number: int, *arguments: Any) -> tuple[int, str]:
    return number, run_cell(*arguments)
