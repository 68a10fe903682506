"""Parameters that no fit can take, and what the refusal says after their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch
from bad_data import DIGITS, IMAGES, LABELS, TABLE, holed
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from m3d_sklearn import (
    CAFECondenser,
    CondensedClassifier,
    CondensedSampler,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    Herding,
    IDMCondenser,
    KCenter,
    KMeansCenters,
    M3DCondenser,
    NetworkClassifier,
    Random,
)

__all__ = ["EVALUATE", "PARAMETERS", "Bad", "of"]


class Whatever:
    """No module."""


class Fails(nn.Module):
    """A network that takes no rows."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


class Outputs(nn.Module):
    """A network with seven outputs, whatever is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


def broken_factory(shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    raise RuntimeError("no such layer")


def of(*, X: Any = IMAGES, y: Any = DIGITS) -> dict[str, Any]:
    return {"X": X, "y": y}


ON_TABLE = of(X=TABLE, y=LABELS)
FLAT = of(X=IMAGES.reshape(60, 64))
TINY = of(X=IMAGES[:, :3, :3])
LINE = of(X=IMAGES[:, :1, :])

# name of the parameter, what it is set to, what the message says after the name, the data
Bad = tuple[str, Any, str] | tuple[str, Any, str, dict[str, Any]]

LAYOUT: list[Bad] = [
    ("device", "tpu", "'auto', 'cpu'.*got 'tpu'"),
    ("device", "meta", "'auto', 'cpu'.*got 'meta'"),
    ("device", "cuda:99", "'cuda:99'.*this machine has"),
    ("device", 3, "got 3"),
    ("random_state", "a", "got 'a'"),
    ("random_state", -1, "got -1"),
    ("random_state", 2**40, "got 1099511627776"),
    ("image_shape", (8,), r"got \(8,\)", FLAT),
    ("image_shape", (8, -8), r"got \(8, -8\)", FLAT),
    ("image_shape", (8, 8.0), r"got \(8, 8.0\)", FLAT),
    ("image_shape", "8x8", "got '8x8'", FLAT),
    ("image_shape", (9, 7), r"=\(9, 7\).*\(60, 64\)", FLAT),
    ("image_shape", (8, 8), r"=\(8, 8\).*\(60, 8, 8\)"),
    ("channel_axis", "first", "'auto'.*got 'first'"),
    ("channel_axis", 2, "got 2", of(X=IMAGES.reshape(60, 4, 4, 4))),
    ("channel_axis", 0, "got 0", of(X=IMAGES.reshape(60, 4, 4, 4))),
    ("channel_axis", 1.0, "got 1.0"),
    ("channel_axis", 1, "=1 needs images", ON_TABLE),
    ("channel_axis", 1, r"=1 needs images with channels; got \(8, 8\)"),
]
ROWS: list[Bad] = [
    ("ipc", 0, "got 0"),
    ("ipc", -1, "got -1"),
    ("ipc", 1.5, "got 1.5"),
    ("ipc", "a", "got 'a'"),
    ("ipc", None, "got None"),
    ("ipc", [1, 1, 1], r"got \[1, 1, 1\]"),
    ("ipc", {0: 1, 1: 1}, r"every class, \[0, 1, 2\].*got \[0, 1\]"),
    ("ipc", {0: 1, 1: 1, 2: 1, 7: 1}, r"\[0, 1, 2\], and no other; got \[0, 1, 2, 7\]"),
    ("ipc", {"0": 1, "1": 1, "2": 1}, r"\[0, 1, 2\].*got \['0', '1', '2'\]"),
    ("ipc", {0: 1, 1: 0, 2: 1}, r"whole numbers of 1 or more; got \{0: 1, 1: 0, 2: 1\}"),
    ("ipc", {0: 1, 1: 1.5, 2: 1}, r"whole numbers of 1 or more; got \{.*1.5"),
    ("ipc", lambda y: [1, 1, 1], "callable must give a dict.*list"),
    ("ipc", lambda y: 3, "callable must give a dict.*int"),
    ("ipc", lambda y: {0: 1}, r"\[0, 1, 2\].*got \[0\]"),
    ("ipc", lambda y: dict.fromkeys(range(3), "one"), "whole numbers of 1 or more; got .*'one'"),
]
NETWORK: list[Bad] = [
    ("network", "resnext", r"'auto', one of \['convnet'.*got 'resnext'"),
    ("network", 3, "got 3"),
    ("network", None, "got None"),
    ("network", "convnet", r"'convnet' needs images of at least .*got .*\(4,\)", ON_TABLE),
    ("network", "convnet", r"'convnet' needs images .*\(1, 1, 8\)", LINE),
    ("network", "resnet10", r"'resnet.*' needs images of at least 16.*\(1, 8, 8\)"),
    ("network", "densenet121", r"'densenet121' needs images of at least 16.*\(1, 8, 8\)"),
    ("network", Whatever, "factory of a torch.nn.Module; the factory gave Whatever"),
    ("network", Fails, r"rows of shape \(1, 8, 8\).*mat1 and mat2"),
    ("network", broken_factory, "no such layer"),
]
AUGMENTATION: list[Bad] = [
    ("augmentation", "flip", "list of operations; got 'flip'"),
    ("augmentation", ["blur"], r"operations \['brightness'.*got 'blur'"),
    ("augmentation", ["flip", ("crop", "blur")], "got 'blur'"),
    ("augmentation", [3], "got 3"),
    ("augmentation", ["flip"], r"table.*got \['flip'\]", ON_TABLE),
    ("augmentation", 3, "got 3"),
]
FEATURES: list[Bad] = [
    ("features", "fourier", "'pixels'.*got 'fourier'"),
    ("features", 3, "got 3"),
    ("features", "resnet10", r"images of at least 16.*\(1, 8, 8\)"),
    ("features", lambda X: X[0], r"must give \(60, d\) numbers; it gave shape \(8, 8\)"),
    ("features", lambda X: X[:5, 0], r"must give \(60, d\) numbers; it gave shape \(5, 8\)"),
    ("features", lambda X: np.full((60, 2), np.nan), "NaN"),
    ("features", lambda X: None, r"must give \(60, d\) numbers"),
    ("feature_epochs", 0, "got 0"),
    ("feature_epochs", "some", "got 'some'"),
    ("memory", 3, "got 3"),
    ("verbose", "loud", "got 'loud'"),
]
TWO = [0, 0, 1, 1, 2, 2]
KERNELS: list[Bad] = [
    ("kernel", "cubic", r"str among .*'laplace'.*[Gg]ot 'cubic'"),
    ("kernel", 3, "[Gg]ot 3"),
    ("bandwidth", -1.0, "got -1"),
    ("bandwidth", 0, "got 0"),
    ("iterations_per_draw", 0, "got 0"),
    ("width", 0, "got 0"),
    ("width", "wide", "got 'wide'"),
    ("iterations_per_draw", "network", "got 'network'"),
    ("bandwidth", "median", "'mean'.*got 'median'"),
    ("bandwidth", [1.0, -1.0], r"positive numbers; got \[1.0, -1.0\]"),
    ("bandwidth", [], r"positive numbers; got \[\]"),
    ("bandwidth", np.nan, "got nan"),
    ("bandwidth", np.inf, "got inf"),
    ("pool", -1, "got -1"),
    ("pool", 1.5, "got 1.5"),
    ("pool", "many", "got 'many'"),
    ("calibration", -0.1, "got -0.1"),
    ("calibration", "some", "got 'some'"),
    ("soft_labels", "yes", "got 'yes'"),
    ("soft_labels", True, "pool above 0; got pool='auto', which comes to 0 here"),
    ("calibration", 0.5, "calibration=0.5 .* pool above 0; got pool='auto', which comes to 0"),
    ("bandwidth", ["wide"], "got .*wide"),
]
MATCHING: list[Bad] = [
    ("factor", 0, "got 0"),
    ("factor", 1.5, "got 1.5"),
    ("factor", "two", "got 'two'"),
    ("factor", 5, "=5 needs images .*got 8×8"),
    ("factor", 2, "=2 needs images .*got 3×3", TINY),
    ("factor", 2, "table; got factor=2", ON_TABLE),
    ("preset", "published", "got 'published'"),
    ("preset", "paper", "'paper' is for images, and X is a table", ON_TABLE),
    ("init", "zeros", "got 'zeros'"),
    ("init", 3, "got 3"),
    ("init", Random(2), "fitted.*Random"),
    ("init", StandardScaler(), "fitted.*StandardScaler"),
    ("init", (IMAGES[:5], TWO[:5]), r"\[2, 2, 2\] stored rows.*got \[2, 2, 1\]"),
    ("init", (IMAGES[:5], TWO), "5"),
    ("init", (IMAGES[:7], TWO), "7"),
    ("init", (IMAGES[:6, :7], TWO), r"rows of shape \(8, 8\).*got \(7, 8\)"),
    ("init", (IMAGES[:6] * np.nan, TWO), "finite values; got NaN"),
    ("init", (IMAGES[:6].astype(str), TWO), r"rows of shape \(8, 8\).*<U"),
    ("init", (IMAGES[:6],), "got"),
    ("max_iter", -1, "got -1"),
    ("max_iter", 1.5, "got 1.5"),
    ("max_iter", "many", "got 'many'"),
    ("max_time", 0, "got 0"),
    ("max_time", -1.0, "got -1"),
    ("max_time", "1 s", "got '1 s'"),
    ("iterations_per_network", 0, "got 0"),
    ("batch_real", 0, "got 0"),
    ("batch_real", 1.5, "got 1.5"),
    ("optimizer", "lbfgs", "got 'lbfgs'"),
    ("learning_rate", -0.1, "got -0.1"),
    ("learning_rate", 0, "got 0"),
    ("learning_rate", "fast", "got 'fast'"),
    ("learning_rate", np.nan, "got nan"),
    ("momentum", 1.0, "got 1.0"),
    ("momentum", -0.1, "got -0.1"),
    ("schedule", "linear", "got 'linear'"),
    ("tol", -1e-3, "got -0.001"),
    ("n_iter_no_change", 9, "got 9"),
    ("n_iter_no_change", 10.5, "got 10.5"),
    ("precision", "float16", "got 'float16'"),
    ("cache", -1, "got -1"),
    ("cache", 1.5, "got 1.5"),
    ("cache", "all", "got 'all'"),
    ("checkpoint", 3, "got 3"),
    ("checkpoint", "nowhere/run.ckpt", "folder that can be written to; got nowhere/run.ckpt"),
    ("checkpoint_every", 0, "got 0"),
    ("checkpoint_every", 1.5, "got 1.5"),
    ("checkpoint_errors", "ignore", "got 'ignore'"),
    ("verbose", "loud", "got 'loud'"),
]
TRAINING: list[Bad] = [
    ("network", Outputs, r"3 outputs per row.*got \(2, 7\)"),
    ("max_iter", 0, "got 0"),
    ("max_iter", "many", "got 'many'"),
    ("protocol", "idc", "got 'idc'"),
    ("batch_size", 0, "got 0"),
    ("batch_size", 1.5, "got 1.5"),
    ("cutmix", 1.5, "got 1.5"),
    ("cutmix", -0.1, "got -0.1"),
    ("cutmix", "often", "got 'often'"),
    ("precision", 32, "got 32"),
]
SGD: list[Bad] = [
    ("learning_rate", -0.1, "got -0.1"),
    ("learning_rate", "auto", "got 'auto'"),
    ("momentum", 1.0, "got 1.0"),
    ("weight_decay", -1e-4, "got -0.0001"),
    ("verbose", -1, "got -1"),
]
K_MEANS: list[Bad] = [
    ("n_init", 0, "got 0"),
    ("n_init", "auto", "got 'auto'"),
    ("max_iter", 0, "got 0"),
    ("max_iter", 1.5, "got 1.5"),
]
CONDENSER: list[Bad] = [
    ("condenser", "herding", "got 'herding'"),
    ("condenser", LogisticRegression(), "got LogisticRegression"),
    ("condenser", StandardScaler(), "got StandardScaler", ON_TABLE),
    ("condenser", PCA(), "got PCA", ON_TABLE),
]
GRADIENTS: list[Bad] = [
    ("inner_epochs", -1, "got -1"),
    ("inner_epochs", 1.5, "got 1.5"),
    ("inner_epochs", "some", "got 'some'"),
    ("network", Outputs, r"3 outputs per row, one per class; it gave \(2, 7\)"),
]
QUEUE: list[Bad] = [
    ("calibration", -0.1, "got -0.1"),
    ("push_every", 0, "got 0"),
    ("push_every", 1.5, "got 1.5"),
    ("queue_size", 0, "got 0"),
    ("queue_size", "many", "got 'many'"),
    ("training_steps", -1, "got -1"),
    ("training_steps", 1.5, "got 1.5"),
    ("soft_labels", "yes", "got 'yes'"),
]
OF_CAFE = [bad for bad in MATCHING if bad[0] not in ("iterations_per_network",)]
OF_IDM = [bad for bad in MATCHING if bad[0] not in ("iterations_per_network",)] + QUEUE
PARAMETERS: dict[type, list[Bad]] = {
    Random: ROWS + LAYOUT,
    Herding: ROWS + LAYOUT + FEATURES,
    KCenter: ROWS + LAYOUT + FEATURES,
    KMeansCenters: ROWS + LAYOUT + K_MEANS,
    DMCondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + MATCHING,
    DCCondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + MATCHING + GRADIENTS,
    DSACondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + MATCHING + GRADIENTS,
    CAFECondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + OF_CAFE,
    IDMCondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + OF_IDM,
    M3DCondenser: ROWS + LAYOUT + NETWORK + AUGMENTATION + MATCHING + KERNELS,
    NetworkClassifier: LAYOUT + NETWORK + AUGMENTATION + TRAINING + SGD,
    CondensedClassifier: [
        *CONDENSER,
        ("estimator", "svm", "got 'svm'"),
        ("estimator", StandardScaler(), "got StandardScaler"),
        ("memory", 3, "got 3"),
        ("random_state", "a", "got 'a'"),
    ],
    CondensedSampler: [*CONDENSER, ("random_state", "a", "got 'a'")],
}


EVALUATE: list[Bad] = [
    *(bad for bad in LAYOUT if bad[0] == "device" and isinstance(bad[1], str)),
    *(bad for bad in NETWORK if not bad[3:]),
    *(bad for bad in AUGMENTATION if not bad[3:]),
    *TRAINING,
    ("n_networks", 0, "got 0"),
    ("n_networks", 1.5, "got 1.5"),
    ("max_steps", 0, "got 0"),
    ("max_steps", "auto", "got 'auto'"),
    ("random_state", "a", "'a'"),
    ("condensed", 3, r"CondensedSet or a pair \(X, y\); got int"),
    ("condensed", (IMAGES,), r"CondensedSet or a pair \(X, y\); got tuple"),
    ("X_test", IMAGES[:, :7], r"rows of shape \(8, 8\).*\(60, 7, 8\)"),
    ("X_test", IMAGES[0], r"rows of shape \(8, 8\).*\(8, 8\)"),
    ("X_test", IMAGES[:-1], "59 and 60"),
    ("X_test", holed(IMAGES, np.nan), "finite"),
    ("X_test", holed(IMAGES, np.inf), "finite"),
    ("X_test", IMAGES * 1j, "real numbers; got complex128"),
    ("X_test", IMAGES.astype(object), "real numbers; got object"),
    ("X_test", scipy.sparse.csr_matrix(IMAGES[:, 0]), r"rows of shape \(8, 8\)"),
    ("X_test", IMAGES[:0], "0"),
    ("y_test", DIGITS[:-1], "60 and 59"),
    ("y_test", np.stack([DIGITS, DIGITS], 1), r"\(60, 2\)"),
    ("y_test", DIGITS.astype(str), "classes"),
    ("y_test", DIGITS + 0.5, "classes"),
    ("y_test", None, "y_test"),
]
