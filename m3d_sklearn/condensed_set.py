"""CondensedSet: the one object that flows between condensers, classifiers and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from m3d_sklearn import storage
from m3d_sklearn._validation import check_soft_labels
from m3d_sklearn.core import formation
from m3d_sklearn.layout import Layout, Target, Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CondensedSet"]


@dataclass(frozen=True, eq=False, repr=False)
class CondensedSet:
    """A few rows per class that stand for a whole data set.

    Unpacks as a pair: ``X_c, y_c = condensed``. Where `factor` is above 1, an image in
    `X` is a mosaic of factor² smaller ones; :meth:`decode` gives the rows to train on.

    Attributes
    ----------
    X : ndarray or DataFrame of shape (sum(ipc), ...)
        Stored rows, class by class in the order of `classes`, in the layout, dtype and
        value range of the data they were made from. Never normalised.
    y : ndarray or Series of shape (sum(ipc),)
    classes : ndarray of shape (n_classes,)
        Sorted.
    factor : int
        Small images along each side of a stored one.
    method : str
        Class that made the set.
    params : dict
        Its resolved parameters.
    random_state : int or None
        Seed of the run, as given.
    layout, units, target
        The caller's layout, the scale and statistics of the training data, and the
        container of the labels.
    fingerprint : str
        Hash of the training data.
    versions : dict of str
        Package versions at the time of making.
    soft_labels : ndarray of float32, shape (sum(ipc)·factor², n_classes), or None
        Distributions over `classes` beside the hard `y`, one for each row of :meth:`decode`
        and in that order. Networks here are trained on them where a set has them;
        ``dataclasses.replace(condensed, soft_labels=None)`` is the set without.

    Raises
    ------
    ValueError
        If `classes` are not in rising order, each once, or `soft_labels` have another shape,
        a value below 0, or a row that does not sum to 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from m3d_sklearn import Herding
    >>> condensed = Herding(ipc=2).fit(*load_iris(return_X_y=True)).condensed_
    >>> condensed
    <CondensedSet by Herding: 3 classes, 6 stored rows of shape (4,), float64>
    >>> X_c, y_c = condensed
    >>> X_c.shape, y_c.tolist()
    ((6, 4), [0, 0, 1, 1, 2, 2])
    """

    X: Any
    y: Any
    classes: np.ndarray
    layout: Layout
    units: Units
    target: Target = field(default_factory=Target)
    factor: int = 1
    method: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    random_state: int | None = None
    fingerprint: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    soft_labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not (self.classes[:-1] < self.classes[1:]).all():
            raise ValueError(
                f"classes must be in rising order, each once; got {self.classes.tolist()}."
            )
        if self.soft_labels is not None:
            n_decoded = len(self) * self.factor**2
            checked = check_soft_labels(self.soft_labels, n_decoded, len(self.classes))
            object.__setattr__(self, "soft_labels", checked)

    def __iter__(self) -> Iterator[Any]:
        yield self.X
        yield self.y

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        mosaic = f" (mosaics of {self.factor}×{self.factor})" if self.factor > 1 else ""
        return (
            f"<CondensedSet by {self.method or 'hand'}: {len(self.classes)} classes, "
            f"{len(self)} stored rows of shape {self.layout.sample_shape}{mosaic}, "
            f"{self.layout.output_dtype}{'' if self.soft_labels is None else ', soft labels'}>"
        )

    @property
    def labels(self) -> np.ndarray:
        """Place of each row's class in `classes`, (sum(ipc),)."""
        return np.searchsorted(self.classes, np.asarray(self.y, dtype=self.classes.dtype))

    @property
    def ipc(self) -> dict[Any, int]:
        """Stored rows of each class."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes.tolist(), counts.tolist(), strict=True))

    @property
    def value_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest value of the training data, per column for tables."""
        return self.units.low, self.units.high

    @property
    def nbytes(self) -> int:
        """Bytes that the stored rows take."""
        return int(self.rows().nbytes)

    def rows(self) -> np.ndarray:
        """Stored rows in canonical form, (n, c, h, w) or (n, d)."""
        return self.layout.to_rows(np.asarray(self.X))

    def decode(self) -> tuple[Any, Any]:
        """Give the rows to train on: mosaics cut up and up-sampled, the rest as stored.

        Returns
        -------
        X : ndarray or DataFrame of shape (sum(ipc)·factor², ...)
            In the layout, dtype and range of the stored rows; the caller's own to change.
        y : ndarray or Series
        """
        if self.factor == 1:
            return self.X.copy(), self.y.copy()
        values = self.units.to_values(self._decoded_units().numpy())
        labels = np.repeat(self.labels, self.factor**2)
        return self.layout.from_rows(values), self.target.restore(self.classes[labels])

    def _decoded_units(self) -> torch.Tensor:
        units = torch.from_numpy(self.units.to_units(self.rows()))
        return formation.decode(units, self.factor)

    def to_torch(self, *, normalise: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Decoded rows as tensors for one's own training loop.

        Parameters
        ----------
        normalise : bool, default=True
            Whether rows have mean 0 and variance 1 over the training data, per channel or
            column, as the networks here see them. Images are in [0, 1] otherwise.
            Test rows must get the same treatment: ``(X − shift) / width`` and then
            ``(· − mean) / std`` with the values in `units`.

        Returns
        -------
        X : Tensor of float32, shape (n, c, h, w) or (n, d)
        y : Tensor of int64, shape (n,)
            Places in `classes`.
        """
        X = self._decoded_units()
        if normalise:
            mean, std = (torch.from_numpy(np.asarray(v)) for v in (self.units.mean, self.units.std))
            X = ((X - mean) / std).float()
        return X, torch.from_numpy(np.repeat(self.labels, self.factor**2))

    def plot(self, ax: Axes | None = None, *, decoded: bool = False) -> Axes:
        """Draw the set, a class a row: see :func:`m3d_sklearn.plotting.plot_condensed`."""
        from m3d_sklearn.plotting import plot_condensed

        return plot_condensed(self, ax=ax, decoded=decoded)

    def export_images(self, folder: str | Path, *, decoded: bool = False) -> list[Path]:
        """Write one PNG per image, ``folder/class/number.png``, the range of X as black to white.

        Images that lie there under other names stay, with a UserWarning: who loads the folder
        gets them too.

        Raises
        ------
        ValueError
            If the rows are no images of 1, 3 or 4 channels.
        """
        from m3d_sklearn.plotting import to_bytes

        return storage.write_images(folder, to_bytes(self, decoded), self._named(decoded))

    def _named(self, decoded: bool) -> list[str]:
        labels = np.repeat(self.labels, self.factor**2) if decoded else self.labels
        return [str(name) for name in self.classes[labels]]

    def save(self, path: str | Path) -> Path:
        """Write the set to one ``.npz`` that loads without pickle and describes itself.

        Parameters
        ----------
        path : str or Path
            ``.npz`` is added where it is missing.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If labels, their categories, or names of columns or y are neither numbers nor
            strings: they would come back as something else.
        FileNotFoundError
            If the folder does not exist.
        """
        return storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> CondensedSet:
        """Read what :meth:`save` wrote; nothing in the file is executed.

        Sizes are checked before memory is taken, so a file from anybody may be tried.

        Parameters
        ----------
        path : str or Path
            Where nothing lies there, ``.npz`` is added to it.

        Raises
        ------
        ValueError
            If the file is no condensed set, is damaged, or is from a newer format.
        """
        return storage.load(cls, path)
