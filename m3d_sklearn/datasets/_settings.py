"""The parameters of load, checked once and handed to whichever source is asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

__all__ = ["Settings"]

DEFAULT_ROOT = "~/m3d_sklearn_data"
DEFAULT_TEST_SIZE = 0.2


@dataclass(frozen=True)
class Settings:
    """Parameters of :func:`load`, as described there."""

    root: Path
    download: bool
    image_size: int | None
    test_size: float | int | None
    random_state: Any

    @classmethod
    def checked(
        cls,
        root: str | os.PathLike[str] | None,
        download: bool,
        image_size: int | None,
        test_size: float | int | None,
        random_state: Any,
    ) -> Settings:
        """Resolve the folder, and refuse values that mean nothing before anything is read."""
        size_fits = isinstance(image_size, Integral) and image_size >= 1
        if image_size is not None and (isinstance(image_size, bool) or not size_fits):
            raise ValueError(
                f"image_size must be a whole number of pixels, 1 or more; got {image_size!r}."
            )
        if test_size is not None and not _is_part(test_size):
            raise ValueError(
                "test_size must be a fraction between 0 and 1, or a whole number of rows; got "
                f"{test_size!r}."
            )
        folder = root if root is not None else os.environ.get("M3D_DATA") or DEFAULT_ROOT
        return cls(Path(folder).expanduser(), download, image_size, test_size, random_state)

    def refuse(self, parameter: str, what: str) -> None:
        """Say so where a parameter was given that `what` has no use for."""
        value = getattr(self, parameter)
        if value is not None:
            raise ValueError(f"{parameter} must be None for {what}; got {parameter}={value!r}.")

    def split(
        self, y: np.ndarray, default: float = DEFAULT_TEST_SIZE
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the training and of the test part, each class in proportion."""
        test_size = default if self.test_size is None else self.test_size
        try:
            train, test = train_test_split(
                np.arange(len(y)), test_size=test_size, stratify=y, random_state=self.random_state
            )
        except ValueError as error:
            raise ValueError(
                f"test_size={test_size} cannot split {len(y)} rows of {len(np.unique(y))} "
                f"classes: {error}"
            ) from error
        return train, test


def _is_part(size: Any) -> bool:
    if isinstance(size, bool) or not isinstance(size, Real):
        return False
    return float(size) >= 1 if isinstance(size, Integral) else 0 < float(size) < 1
