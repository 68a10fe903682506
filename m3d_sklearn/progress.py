"""Progress bar and scikit-learn's callbacks, behind the loop's one hook."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tqdm.auto import tqdm

from m3d_sklearn.core.progress import Progress
from m3d_sklearn.core.recipe import UNLIMITED, Recipe

__all__ = ["Bar", "Callbacks", "watching"]

TIMED = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s{postfix}"
REFRESH = 0.5  # seconds between two looks at the loss


class Bar:
    """A tqdm bar: iteration, loss, rate, time left. The loss is read twice a second.

    Where time alone ends the run, the bar counts seconds.
    """

    def __init__(self, name: str, recipe: Recipe, done: int = 0) -> None:
        self.by_time = recipe.max_iter == UNLIMITED
        total, unit = (recipe.max_time, "s") if self.by_time else (recipe.max_iter, "it")
        form = TIMED if self.by_time else None
        begun = 0 if self.by_time else done  # how a run goes on whose iterations are in a file
        self.bar = tqdm(total=total, desc=name, unit=unit, bar_format=form, initial=begun)
        self.looked = time.monotonic()

    def __call__(self, progress: Progress) -> bool:
        done = min(progress.seconds(), self.bar.total) if self.by_time else progress.n_iter
        self.bar.update(done - self.bar.n)
        if time.monotonic() - self.looked >= REFRESH or done == self.bar.total:
            self.looked = time.monotonic()
            iterations = {"iterations": progress.n_iter} if self.by_time else {}
            self.bar.set_postfix(**iterations, loss=f"{progress.loss():.4g}")
        return False

    def close(self) -> None:
        self.bar.close()


class Callbacks:
    """scikit-learn's callbacks, each iteration a task under ``fit``.

    Nothing here reads the device: a callback that asks for the fitted estimator pays for
    it, through `reconstruct`.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        total: int,
        reconstruct: Callable[[Progress], dict[str, Any]],
        done: int = 0,
    ) -> None:
        self.estimator, self.X, self.y, self.total = estimator, X, y, total
        self.reconstruct = reconstruct
        known = None if total == UNLIMITED else total
        # A run that goes on has tasks that do not count from 0, which scikit-learn has to be told.
        self.counted = done == 0
        self.root = estimator._init_callback_context(
            max_subtasks=known, sequential_subtasks=self.counted
        )
        self.root.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        self.task = self._begin(done) if done < total else None

    def _begin(self, number: int) -> Any:
        own = None if self.counted else number
        task = self.root.subcontext(task_name="iteration", task_id=own)
        return task.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def _end(self, task: Any, progress: Progress | None) -> bool:
        attributes = None if progress is None else lambda: self.reconstruct(progress)
        return task.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, y=self.y, reconstruction_attributes=attributes
        )

    def __call__(self, progress: Progress) -> bool:
        stop = self._end(self.task, progress)
        self.task = None
        if not stop and progress.n_iter < self.total:
            self.task = self._begin(progress.n_iter)
        return bool(stop)

    def close(self) -> None:
        if self.task is not None:  # begun, and cut off by the time
            self._end(self.task, None)
        self._end(self.root, None)


class watching:
    """Context of a run: gives the loop's hook, or None where nobody watches."""

    def __init__(self, *watchers: Bar | Callbacks | None) -> None:
        self.watchers = [watcher for watcher in watchers if watcher is not None]

    def __enter__(self) -> Callable[[Progress], bool] | None:
        if not self.watchers:
            return None
        return lambda progress: any([w(progress) for w in self.watchers])  # noqa: C419 - every one must see it

    def __exit__(self, kind: object, *_: object) -> None:
        for watcher in self.watchers:
            if kind is None or isinstance(watcher, Bar):
                watcher.close()
