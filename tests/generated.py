"""Data of every form that estimators take, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st

__all__ = ["CONTAINERS", "NAMES", "Data", "counts", "data", "matching"]

DTYPES = "bool", "uint8", "int16", "int64", "float16", "float32", "float64"
MOST_ROWS, MOST_CLASSES = 6, 4  # of a class; of a data set


@dataclass(frozen=True)
class Data:
    """Rows in a plain array, the place of each one's class, and what a fit must be told.

    `images` holds the parameters that say which images flat rows stand for.
    """

    form: str
    X: np.ndarray
    places: np.ndarray
    images: dict[str, Any] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        return self.form != "table"

    @property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.places)

    def named(self, kind: str) -> Any:
        return NAMES[kind](self.places)


def sides(channels: int, form: str) -> dict[str, Any]:
    """Shape of an image of 5 × 6 pixels, and of the row that holds it."""
    if form == "grey":
        return {"shape": (5, 6)}
    shape = (channels, 5, 6) if "first" in form else (5, 6, channels)
    if not form.startswith("flat"):
        return {"shape": shape}
    return {"shape": (30 * channels,), "image_shape": shape}


FORMS = "table", "grey", "channels last", "channels first", "flat last", "flat first"


@st.composite
def data(draw: Any, forms: tuple[str, ...] = FORMS, n_classes: Any = None) -> Data:
    """Two to four classes of one to six rows, in no order."""
    form = draw(st.sampled_from(forms))
    size = draw(st.integers(1, 4))  # columns or channels
    told = {"shape": (size,)} if form == "table" else sides(size, form)
    n_classes = draw(st.integers(2, MOST_CLASSES)) if n_classes is None else n_classes
    rows = st.integers(1, MOST_ROWS)
    each = draw(st.lists(rows, min_size=n_classes, max_size=n_classes))
    dtype, spread = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.sampled_from([2, 20, 200]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    places = rng.permutation(np.repeat(np.arange(n_classes), each))
    shape = (len(places), *told.pop("shape"))
    if dtype.kind in "bu":
        X = rng.integers(0, min(spread, 2 if dtype.kind == "b" else 256), shape)
    elif dtype.kind == "i":
        X = rng.integers(-spread, spread, shape)
    else:
        X = rng.normal(draw(st.sampled_from([0, 1000])), spread, shape)
    return Data(form, X.astype(dtype), places, told)


# Ways to hold the same values: of each, for which arrays, and how.


def strided(X: np.ndarray) -> np.ndarray:
    """Every other value of every axis of a larger array."""
    larger = np.zeros([2 * side for side in X.shape], X.dtype)
    view = larger[tuple(slice(1, None, 2) for _ in X.shape)]
    view[...] = X
    return view


def backwards(X: np.ndarray) -> np.ndarray:
    """A view of negative strides along every axis."""
    flip = (slice(None, None, -1),) * X.ndim
    return X[flip].copy()[flip]


def read_only(X: np.ndarray) -> np.ndarray:
    held = X.copy()
    held.flags.writeable = False
    return held


def always(X: np.ndarray) -> bool:
    return True


CONTAINERS = {
    "Fortran order": (always, np.asfortranarray),
    "strided view": (always, strided),
    "negative strides": (always, backwards),
    "read-only": (always, read_only),
    "tensor": (always, lambda X: torch.from_numpy(X.copy())),
    "tensor, last axis first": (
        always,
        lambda X: torch.from_numpy(np.moveaxis(X, -1, 0).copy()).movedim(0, -1),
    ),
    "data frame": (lambda X: X.ndim == 2, pd.DataFrame),
    # Lists have no dtype: these are the ones that numpy gives their values.
    "lists": (lambda X: X.dtype in (np.bool_, np.int64, np.float64), np.ndarray.tolist),
}

NAMES = {
    "integers": lambda places: places,
    "negative": lambda places: places * 7 - 9,
    "bytes": lambda places: places.astype(np.uint8) + np.uint8(250),
    "floats": lambda places: places.astype(np.float32) - 1,
    "strings": lambda places: np.array(["a", "b b", "c", "Ä"])[places],
    "objects": lambda places: np.array(["", "one", "two", "ß"], dtype=object)[places],
    "list": lambda places: [f"class {place}" for place in places],
    "tensor": lambda places: torch.from_numpy(places - 2),
    "series": lambda places: pd.Series(places * 3, name="kind", index=places[::-1]),
    "categories": lambda places: pd.Series(pd.Categorical(np.array(list("wxyz"))[places])),
}
"""Names of up to four classes, in the order of their places; bools are for two alone."""


def counts(n_classes: int) -> Any:
    """Stored rows of each class, one to three."""
    return st.lists(st.integers(1, 3), min_size=n_classes, max_size=n_classes)


def matching(given: Data) -> Any:
    """Parameters of a method that matches, for a fit of two iterations."""
    choices = {
        "max_iter": st.integers(1, 2),
        "network": st.sampled_from(["auto", "mlp"]),
        "init": st.sampled_from(["auto", "real", "noise"]),
        "batch_real": st.integers(1, 8),
        "optimizer": st.sampled_from(["auto", "sgd"]),
        "cache": st.sampled_from(["auto", 0]),
    }
    if given.is_image:
        choices["factor"] = st.integers(1, 2)
        choices["augmentation"] = st.sampled_from(["auto", ["flip"], None])
    return st.fixed_dictionaries({}, optional=choices)
