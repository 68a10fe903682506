"""Training and test rows of the caller's own as a data set: whatever ``fit`` takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from m3d_sklearn import _validation as validation
from m3d_sklearn.base import BaseCondenser
from m3d_sklearn.datasets import Dataset
from m3d_sklearn.held_out import check_held_out

__all__ = ["as_dataset"]


def as_dataset(label: str, X_train: Any, y_train: Any, X_test: Any, y_test: Any) -> Dataset:
    """Check rows and labels as ``fit`` does, and encode the labels as it does.

    Arrays stay as they came, and so do labels that are places among the classes: what is kept
    of a data set is found by its bytes.

    Raises
    ------
    ValueError, TypeError
        Naming the data set and the part of it.
    """
    estimator = BaseCondenser()  # remembers the columns of the training rows
    with _named(label, "X_train"):
        X_train = validation.check_rows(estimator, X_train, reset=True)
    with _named(label, "X_test"):
        X_test = validation.check_rows(estimator, X_test, reset=False)
    with _named(label, "y_train"):
        classes, y_train = _encoded(y_train, len(X_train))
    with _named(label, "y_test"):
        _, y_test = check_held_out(X_test, y_test, X_test.shape[1:])
        y_test = _kept(y_test, _places(y_test, classes))
    with _named(label, ""):
        names = tuple(str(name) for name in classes)
        return Dataset(label, X_train, y_train, X_test, y_test, names)


def _encoded(y: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes, and the place of each label among them."""
    # Beside rows of nothing: which axis of X holds channels is for each method to say.
    found = validation.check_training_data(BaseCondenser(), np.zeros((n_rows, 1)), y)
    return found.classes, _kept(np.asarray(validation.to_numpy(y)).reshape(-1), found.labels)


def _places(y_test: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places of test labels among the classes, which have to be all there are."""
    place_of = {name: place for place, name in enumerate(classes.tolist())}
    unknown = [name for name in dict.fromkeys(y_test.tolist()) if name not in place_of]
    if unknown:
        raise ValueError(
            f"y_test must hold labels of y_train, {_listed(place_of)}; got {_listed(unknown)} "
            "besides."
        )
    return np.array([place_of[name] for name in y_test.tolist()], np.int64)


def _kept(y: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Whole numbers that are places already, in their own type; else the places."""
    return y if y.dtype.kind in "iu" and np.array_equal(y, places) else places


def _listed(labels: Any, most: int = 10) -> str:
    listed = [repr(label) for label in labels]
    return ", ".join(listed[:most]) + (" and so on" if len(listed) > most else "")


@contextmanager
def _named(label: str, part: str) -> Iterator[None]:
    """Say in an error which data set it is about, and which of its arrays."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        said = str(error) if part in str(error) else f"{part}: {error}"
        raise kind(f"datasets: {label!r}: {said}") from error
