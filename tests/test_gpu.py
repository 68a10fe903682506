"""The same estimators on a CUDA device; these skip themselves where there is none."""

from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from m3d_sklearn import (
    CAFECondenser,
    DCCondenser,
    DMCondenser,
    DSACondenser,
    Herding,
    IDMCondenser,
    KCenter,
    M3DCondenser,
    NetworkClassifier,
    evaluate,
)
from m3d_sklearn.condensers._m3d import MMDObjective
from m3d_sklearn.condensers._pool import trained_networks
from m3d_sklearn.core.augmentation import MATCHING
from m3d_sklearn.core.host_rows import HostRows
from m3d_sklearn.core.kernels import make_kernel
from m3d_sklearn.core.loop import condense
from m3d_sklearn.core.many import ManyConvNets, together
from m3d_sklearn.core.networks import ConvNet, Effort, build, embed
from m3d_sklearn.core.randomness import Stream
from m3d_sklearn.core.recipe import Recipe
from m3d_sklearn.core.sampling import ClassPools, Scale
from m3d_sklearn.core.sources import FreshNetworks
from m3d_sklearn.core.training import PROTOCOLS, TrainingRecipe, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.images, data.target


def test_condensing_beats_its_start_and_leaves_numpy(digits):
    X, y = digits
    start = M3DCondenser(1, max_iter=0, device="cuda", random_state=0).fit(X, y)
    model = M3DCondenser(1, max_iter=100, device="cuda", random_state=0).fit(X, y)
    assert model.params_["device"].startswith("cuda")
    assert isinstance(model.condensed_.X, np.ndarray)
    scores = [
        evaluate(m.condensed_, X, y, n_networks=2, max_steps=100, device="cuda", random_state=0)
        for m in (start, model)
    ]
    assert scores[1].mean > scores[0].mean


def test_global_cuda_generator_is_untouched(digits):
    before = torch.cuda.get_rng_state()
    M3DCondenser(1, max_iter=5, device="cuda", random_state=0).fit(*digits)
    assert torch.equal(before, torch.cuda.get_rng_state())


@pytest.mark.parametrize("selector", [Herding, KCenter])
def test_coresets_choose_as_on_the_cpu(digits, selector):
    chosen = [selector(5, device=device).fit(*digits).sample_indices_ for device in ("cuda", "cpu")]
    np.testing.assert_array_equal(*chosen)


def test_a_classifier_trained_there_predicts_here(digits, tmp_path):
    X, y = digits
    model = NetworkClassifier(max_iter=3, device="cuda", random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib").set_params(device="cpu")
    np.testing.assert_allclose(loaded.predict_proba(X[:50]), model.predict_proba(X[:50]), atol=1e-6)


# ------------------------------------------------- the engine

CUDA = torch.device("cuda")
SHAPE = (3, 32, 32)


def small_run(dtype=torch.float64, width=128, **settings):
    """What `condense` takes, for a small problem on the GPU."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(40, *SHAPE, generator=generator, dtype=dtype).to(CUDA)
    labels = (torch.arange(40) % 4).to(CUDA)
    values = (torch.tensor(v) for v in (0.0, 1.0, 0.0, 1.0, 0.5, 0.3))
    pools = ClassPools(rows, labels, 4, Scale(*values).to(CUDA, dtype))
    defaults = {
        "counts": [2] * 4,
        "factor": 2,
        "policy": MATCHING,
        "batch_real": 6,
        "optimizer": "adam",
        "learning_rate": 0.03,
        "momentum": 0.9,
        "schedule": "cosine",
        "max_iter": 6,
    }
    stream = Stream(0, CUDA)
    networks = FreshNetworks(partial(ConvNet, width=width), SHAPE, 4, 2, stream)
    networks.network.to(dtype)
    recipe = Recipe(**(defaults | settings))
    return rows[:8].clone(), pools, recipe, MMDObjective(make_kernel("rbf")), networks, stream


@pytest.mark.parametrize("counts", [[2] * 4, [2, 60, 3, 1]])
def test_the_loop_never_waits_for_the_device(counts):
    """From its second iteration to its ninth: classes are shuffled anew, networks redrawn."""
    usual, seen = torch.cuda.get_sync_debug_mode(), []

    def watch(progress):
        seen.append(progress.n_iter)
        torch.cuda.set_sync_debug_mode("error" if 1 < progress.n_iter < 9 else usual)
        return False

    policy = (*MATCHING, ("flip", "scale", "rotate"))
    start, *rest = small_run(torch.float32, policy=policy, counts=counts, max_iter=12)
    start = torch.rand(sum(counts), *SHAPE, device=CUDA)
    try:
        condense(start, *rest, watch=watch)
    finally:
        torch.cuda.set_sync_debug_mode(usual)
    assert seen[-1] == 12


def test_bfloat16_is_the_default_and_near_float32(digits):
    network = build("convnet", SHAPE, 4, Stream(0, CUDA))
    x = torch.randn(16, *SHAPE, device=CUDA)
    exact, rough = embed(network, x), embed(network, x, Effort(torch.bfloat16))
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).norm() < 0.02 * exact.norm()
    fitted = M3DCondenser(1, max_iter=1, device="cuda").fit(*digits)
    capable = torch.cuda.get_device_capability() >= (8, 0)
    assert fitted.params_["precision"] == ("bfloat16" if capable else "float32")


@pytest.mark.parametrize("side", [32, 28, 24, 64, 20])
@pytest.mark.parametrize("width", [128, 24])
def test_fused_blocks_are_the_modules(side, width):
    shape = (3, side, side)
    network = build(partial(ConvNet, width=width), shape, 4, Stream(0, CUDA))
    for norm in network.blocks[1::4]:  # so that signs differ among channels
        norm.weight.data.normal_()
        norm.bias.data.normal_()
    x = torch.randn(7, *shape, device=CUDA, requires_grad=True)
    wanted = [x, *(p for n, p in network.blocks.named_parameters() if int(n.partition(".")[0]) % 4)]
    found = []
    with torch.backends.cudnn.flags(allow_tf32=False):
        for features in (embed(network, x), network.blocks(x).flatten(1)):
            value = (features * features.detach().cos()).sum()
            found.append([features, *torch.autograd.grad(value, wanted)])
    for own, plain in zip(*found, strict=True):
        assert (own - plain).norm() < 1e-3 * plain.norm()


def test_fused_blocks_in_bfloat16_are_as_near_as_the_modules():
    """A unit near zero is on for one and off for the other, so gradients differ by percents."""
    network = build("convnet", SHAPE, 4, Stream(0, CUDA)).requires_grad_(False)
    x = torch.randn(16, *SHAPE, device=CUDA, requires_grad=True)
    exact = network.blocks(x).flatten(1)
    with torch.autocast("cuda", torch.bfloat16):
        modules = network.blocks(x).flatten(1).float()
    fused = embed(network, x, Effort(torch.bfloat16))
    found = [(f, *torch.autograd.grad(f.square().sum(), x)) for f in (exact, modules, fused)]
    for true, theirs, ours in zip(*found, strict=True):
        assert (ours - true).norm() < 1.5 * (theirs - true).norm()


@pytest.mark.parametrize("iterations_per_draw", [1, 4])
@pytest.mark.parametrize("counts", [[2] * 4, [60] * 4])
def test_recorded_steps_are_the_plain_ones(counts, iterations_per_draw, monkeypatch):
    """Over classes shuffled anew, networks redrawn, decoded rows drawn, real features kept."""
    rows = []
    for able in (True, False):
        monkeypatch.setattr("m3d_sklearn.core.gpu.graphs.records", lambda d, able=able: able)
        kept = {"iterations_per_draw": iterations_per_draw}
        _, *rest = small_run(width=32, counts=counts, max_iter=60, **kept)
        start = torch.rand(sum(counts), *SHAPE, generator=torch.Generator().manual_seed(1))
        rows.append(condense(start.double().to(CUDA), *rest).rows)
    torch.testing.assert_close(*rows, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "cls", [CAFECondenser, DCCondenser, DMCondenser, DSACondenser, IDMCondenser]
)
def test_recorded_steps_of_every_method(cls, digits, monkeypatch):
    curves = []
    for able in (True, False):
        monkeypatch.setattr("m3d_sklearn.core.gpu.graphs.records", lambda d, able=able: able)
        model = cls(2, max_iter=31, batch_real=20, precision="float32", device="cuda")
        curves.append(model.set_params(random_state=0).fit(*digits).loss_curve_)
        assert np.isfinite(model.condensed_.X).all()
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.02)


def test_rows_that_are_read_ahead_go_to_the_gpu_of_the_run():
    """Another thread's current GPU is the first one, whatever the run's is."""
    rows = HostRows(lambda numbers: torch.zeros(len(numbers), 3), (5, 3), CUDA, cache=0)
    assert rows.device == torch.device("cuda", torch.cuda.current_device())


@pytest.mark.parametrize("soft", [False, True])
def test_recorded_training_is_the_plain_one(soft, monkeypatch):
    protocol = PROTOCOLS["m3d"]
    recipe = TrainingRecipe(20, 8, policy=protocol.policies[1], cutmix=protocol.cutmix)
    rows = torch.randn(20, *SHAPE, device=CUDA, dtype=torch.float64)
    labels = torch.arange(20, device=CUDA) % 4
    if soft:
        labels = torch.rand(20, 4, device=CUDA, dtype=torch.float64).softmax(1)
    found = []
    for able in (True, False):
        monkeypatch.setattr("m3d_sklearn.core.gpu.graphs.records", lambda d, able=able: able)
        streams = [Stream(seed, CUDA) for seed in range(2)]
        networks = [build(partial(ConvNet, width=16), SHAPE, 4, own).double() for own in streams]
        curve = train(networks, rows.__getitem__, labels, recipe, streams, SHAPE)
        found.append((curve, torch.stack([network(rows) for network in networks]).detach()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-8, atol=1e-8)


def test_a_kernel_that_looks_at_values_runs_unrecorded(digits):
    def kernel(x, y):
        assert float(x.detach().abs().sum()) >= 0
        return x @ y.transpose(-1, -2)

    model = M3DCondenser(1, kernel=kernel, augmentation=["crop"], max_iter=8, device="cuda")
    assert np.isfinite(model.fit(*digits).condensed_.X).all()


def test_less_memory_gives_the_same_rows(monkeypatch):
    """All at once, and an image at a time."""
    rows = []
    for memory in (1e12, 1.0):
        monkeypatch.setattr("m3d_sklearn.core.step.working_memory", lambda d, m=memory: m)
        rows.append(condense(*small_run()).rows)
    torch.testing.assert_close(*rows, rtol=0, atol=1e-9)


def test_running_out_of_memory_in_mid_loop_gives_the_same_rows():
    expected = condense(*small_run()).rows
    start, pools, recipe, objective, networks, stream = small_run()
    calls = []

    def failing(network, batch):
        calls.append(len(batch.real))
        if len(calls) == 3:
            torch.empty(2**50, dtype=torch.uint8, device=CUDA)
        return objective(network, batch)

    rows = condense(start, pools, recipe, failing, networks, stream).rows
    assert len(calls) > recipe.max_iter
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-9)


def test_networks_trained_together_are_those_trained_alone():
    protocol = PROTOCOLS["m3d"]
    recipe = TrainingRecipe(
        steps=9, batch_size=8, policy=protocol.policies[1], cutmix=protocol.cutmix
    )
    rows = torch.randn(20, *SHAPE, device=CUDA, dtype=torch.float64)
    labels = torch.arange(20, device=CUDA) % 4

    def trained(seeds):
        streams = [Stream(seed, CUDA) for seed in seeds]
        factory = partial(ConvNet, width=16)
        networks = [build(factory, SHAPE, 4, stream).double() for stream in streams]
        train(networks, rows.__getitem__, labels, recipe, streams, SHAPE)
        return networks

    streams = [Stream(seed, CUDA) for seed in range(3)]
    together_ = trained(range(3))
    assert isinstance(together(together_, streams, CUDA), ManyConvNets)
    for seed, network in enumerate(together_):
        (alone,) = trained([seed])
        torch.testing.assert_close(network(rows), alone(rows), rtol=1e-8, atol=1e-8)


def test_a_pool_learns_without_waiting_for_the_device():
    """Its training is queued as the matching is; turns 2 to 4 are watched."""
    start, pools, recipe, objective, fresh, stream = small_run(torch.float32, max_iter=12)
    objective.calibration = 0.03
    how = {"policy": None, "precision": torch.bfloat16}
    networks = trained_networks(fresh, pools, size=3, rows=50_000, **how)
    usual = torch.cuda.get_sync_debug_mode()

    def watch(progress):
        torch.cuda.set_sync_debug_mode("error" if 1 < progress.n_iter < 9 else usual)
        return False

    try:
        condense(start, pools, recipe, objective, networks, stream, watch)
    finally:
        torch.cuda.set_sync_debug_mode(usual)
    assert networks.steps > 0
