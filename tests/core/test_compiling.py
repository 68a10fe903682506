import os
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from plain_blocks import agree, all_agree, parameters, randomise_, uniform
from torch import nn

from m3d_sklearn.core import compiling
from m3d_sklearn.core.compiling import MOST_SHAPES, Compiled
from m3d_sklearn.core.cpu.convnet import compiled_passes
from m3d_sklearn.core.networks import ConvNet

CPU = torch.device("cpu")


class Compiler:
    """Stands in for torch.compile: gives the function back, and counts."""

    def __init__(self):
        self.asked = []  # functions to compile
        self.options = []
        self.ran = 0  # calls of compiled functions

    def __call__(self, function, *, dynamic, options):
        assert dynamic is False
        self.asked.append(function)
        self.options.append(options)
        return partial(self.run, function)

    def run(self, function, *arguments):
        self.ran += 1
        return function(*arguments)


class Broken(Compiler):
    """Finds out that it cannot compile when the function is first called."""

    def run(self, function, *arguments):
        self.ran += 1
        raise ImportError("no such compiler")


def installed(monkeypatch, compiler):
    monkeypatch.setattr(torch, "compile", compiler)
    return compiler


@pytest.fixture
def compiler(monkeypatch):
    return installed(monkeypatch, Compiler())


@pytest.fixture
def broken(monkeypatch):
    return installed(monkeypatch, Broken())


def double(x):
    return 2 * x


def ones(*shape, **settings):
    return torch.ones(shape, **settings)


def test_one_compilation_for_a_shape(compiler):
    compiled = Compiled(double)
    for value in (1.0, 2.0, 3.0):
        assert torch.equal(compiled(torch.full((2, 3), value)), torch.full((2, 3), 2 * value))
    assert (len(compiler.asked), compiler.ran) == (1, 3)


def test_another_for_another_shape(compiler):
    compiled = Compiled(double)
    for _ in range(2):
        for n in (1, 2, 3):
            assert compiled(ones(n)).shape == (n,)
    assert (len(compiler.asked), compiler.ran) == (3, 6)


OTHERS = {
    "dtype": lambda: (ones(2, 3, dtype=torch.float64), True),
    "strides": lambda: (ones(3, 2).t(), True),
    "requires_grad": lambda: (ones(2, 3, requires_grad=True), True),
    "another value": lambda: (ones(2, 3), False),
    "a tuple": lambda: ((ones(2, 3),), True),
    "a longer tuple": lambda: ((ones(2, 3), ones(2, 3)), True),
    "another shape within": lambda: ((ones(2, 3), (ones(4), None)), True),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=list(OTHERS))
def test_all_that_code_depends_on_is_told_apart(compiler, make):
    compiled = Compiled(lambda x, flag: x)
    for _ in range(2):
        compiled(ones(2, 3), True)
        compiled(*make())
    assert len(compiler.asked) == 2


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, partial(torch.autocast, "cpu", torch.bfloat16)],
    ids=["grad", "autocast"],
)
def test_modes_are_told_apart(compiler, mode):
    """Code traced without gradients gives none; code traced in float32 stays in it."""
    compiled = Compiled(double)
    for _ in range(2):
        compiled(ones(2))
        with mode():
            compiled(ones(2))
    assert len(compiler.asked) == 2


def test_shapes_beyond_the_first_few_run_the_function_as_it_is(compiler):
    compiled = Compiled(double)
    for n in range(MOST_SHAPES + 3):
        assert torch.equal(compiled(ones(n)), 2 * ones(n))
    assert len(compiler.asked) == compiler.ran == MOST_SHAPES
    compiled(ones(0))  # one of the first, which stay compiled
    assert compiler.ran == MOST_SHAPES + 1


def test_every_shape_has_a_code_object_of_its_own(compiler):
    """torch counts compilations by it, and gives up after the eighth."""
    compiled = Compiled(double)
    for n in range(MOST_SHAPES):
        compiled(ones(n))
    assert len({id(function.__code__) for function in compiler.asked}) == MOST_SHAPES
    assert all(function.__code__ is not double.__code__ for function in compiler.asked)


def test_a_compiler_that_fails_is_not_asked_again(broken):
    compiled = Compiled(double)
    for _ in range(3):
        assert torch.equal(compiled(ones(2)), 2 * ones(2))
    assert (len(broken.asked), broken.ran) == (1, 1)


def test_a_compiler_that_refuses_at_once(monkeypatch):
    """As torch.compile does on versions of Python that it does not know yet."""

    def refuse(function, **settings):
        raise RuntimeError("torch.compile is not supported on Python 3.99")

    monkeypatch.setattr(torch, "compile", refuse)
    assert torch.equal(Compiled(double)(ones(2)), 2 * ones(2))


def test_errors_of_the_function_are_its_own(compiler):
    calls = []

    def faulty(x):
        calls.append(len(x))
        raise ValueError("no such luck")

    compiled = Compiled(faulty)
    for _ in range(2):
        with pytest.raises(ValueError, match="no such luck"):
            compiled(ones(2))
    assert compiled.by_shape == {}


def test_an_error_is_not_held_against_later_calls(compiler):
    def picky(x):
        if x.sum() < 0:
            raise ValueError("negative")
        return x

    compiled = Compiled(picky)
    with pytest.raises(ValueError, match="negative"):
        compiled(-ones(2))
    assert torch.equal(compiled(ones(2)), ones(2))
    assert compiler.ran == 2


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.scale * x


def closure():
    scale = 3.0
    return lambda x: scale * x


def with_default(x, scale=3.0):
    return scale * x


def with_keyword(x, *, scale=3.0):
    return scale * x


FUNCTIONS = {
    "method": Layer().forward,
    "closure": closure(),
    "default": with_default,
    "keyword": with_keyword,
    "module": Layer(),
    "partial": partial(with_default, scale=3.0),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_functions_of_every_kind(monkeypatch, function):
    """Each is compiled for itself: what a module's ``embed`` is, its author decides."""
    failed = []

    class Watched(Compiler):
        def run(self, function, *arguments):
            try:
                return super().run(function, *arguments)
            except Exception as error:
                failed.append(error)
                raise

    compiler = installed(monkeypatch, Watched())
    assert torch.equal(Compiled(function)(ones(2)), 3 * ones(2))
    assert failed == []
    assert compiler.ran == 1


def test_weights_of_a_compiled_method_are_the_modules_own(compiler):
    layer = Layer()
    compiled = Compiled(layer.forward)
    compiled(ones(2))
    with torch.no_grad():
        layer.scale.fill_(5)
    assert compiled(ones(2)).tolist() == [5, 5]
    assert compiler.ran == 2


def test_one_thread_compiles_for_a_cpu(compiler):
    """More of them are worker processes inside a user's program."""
    Compiled(double)(ones(2))
    assert compiler.options == [{"compile_threads": 1}]


@pytest.mark.parametrize(("flop", "expected"), [(15e12, True), (14.9e12, False), (0, False)])
def test_pays_for_long_runs_alone(flop, expected):
    assert compiling.pays(flop) is expected


# ------------------------------------------------- with torch's own compiler

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler"
)


def single():
    network = randomise_(ConvNet((3, 16, 16), 2, width=64, depth=2)).float()
    return network, uniform(5, 3, 16, 16).float().requires_grad_(True)


def everything(network, x):
    """Features, and gradients by images and weights."""
    found = network.embed(x)
    inputs = [x, *parameters(network.blocks)]
    return [found.detach(), *torch.autograd.grad(found.square().sum(), inputs)]


@pytest.mark.slow
@needs_compiler
def test_compiled_passes_are_the_eager_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network, x = single()
    expected = everything(network, x)
    network.passes = compiled_passes.__wrapped__()  # not those of other tests
    all_agree(everything(network, x), expected, 1e-4)
    for compiled in (network.passes.forward, network.passes.backward):
        (own,) = compiled.by_shape.values()
        assert own is not compiled.function
    network.requires_grad_(False)  # whose weights come without what the gradient needs
    agree(network.embed(x.detach()), expected[0], 1e-4)
    assert network.passes.forward.function not in network.passes.forward.by_shape.values()


WITHOUT_COMPILER = """
import torch
from m3d_sklearn.core.cpu.convnet import compiled_passes
from m3d_sklearn.core.networks import ConvNet

torch.set_num_threads(1)
network = ConvNet((3, 16, 16), 2, width=64, depth=2)
x = torch.rand(32, 3, 16, 16, requires_grad=True)  # whole chunks


def everything():
    found = network.embed(x)
    return found, torch.autograd.grad(found.square().sum(), x)[0]


expected = everything()
network.passes = compiled_passes()
assert all(map(torch.equal, everything(), expected))  # the same code, so the same bits
for compiled in (network.passes.forward, network.passes.backward):
    assert list(compiled.by_shape.values()) == [compiled.function], compiled.by_shape
print("done")
"""


@pytest.mark.slow
def test_without_a_compiler_everything_works_in_silence(tmp_path):
    environment = {
        "CXX": "/nonexistent",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
