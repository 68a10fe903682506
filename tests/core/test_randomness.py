import threading

import pytest
import torch

from m3d_sklearn.core.randomness import Stream, borrowed_global_generators

CPU = torch.device("cpu")
DRAWS = {
    "uniform": lambda stream: stream.uniform(3, 2).tolist(),
    "normal": lambda stream: stream.normal(2, 3).tolist(),
    "integers": lambda stream: stream.integers(-5, 5, 7).tolist(),
    "permutation": lambda stream: stream.permutation(9).tolist(),
    "choice": lambda stream: [stream.choice(100) for _ in range(5)],
    "fraction": lambda stream: [stream.fraction() for _ in range(3)],
    "seed": lambda stream: stream.seed(),
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))


@draws
def test_a_seed_fixes_the_draws(draw):
    assert draw(Stream(3, CPU)) == draw(Stream(3, CPU))
    assert draw(Stream(3, CPU)) != draw(Stream(4, CPU))


@draws
def test_draws_move_on(draw):
    stream = Stream(3, CPU)
    assert draw(stream) != draw(stream)


@draws
@pytest.mark.usefixtures("globals_untouched")
def test_global_generators_are_untouched(draw):
    draw(Stream(3, CPU))


def test_global_seeds_have_no_say():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = Stream(3, CPU).uniform(4)
        torch.manual_seed(1)
        assert torch.equal(Stream(3, CPU).uniform(4), first)


def test_ranges():
    stream = Stream(0, CPU)
    uniform = stream.uniform(1000, low=-2, high=-1)
    assert (uniform >= -2).all()
    assert (uniform < -1).all()
    assert set(stream.integers(-1, 2, 200).tolist()) == {-1, 0, 1}
    assert sorted(stream.permutation(8).tolist()) == list(range(8))
    assert {stream.choice(3) for _ in range(50)} == {0, 1, 2}
    assert 0 <= stream.fraction() < 1
    assert 0 <= stream.seed() < 2**62


def test_host_choices_do_not_move_the_device_draws():
    plain, busy = Stream(3, CPU), Stream(3, CPU)
    busy.choice(5), busy.fraction(), busy.seed()
    assert torch.equal(plain.uniform(4), busy.uniform(4))


def test_normal_numbers():
    drawn = Stream(0, CPU).normal(4000)
    # Within five standard errors of mean 0 and variance 1.
    assert abs(drawn.mean()) < 5 / 4000**0.5
    assert abs(drawn.var() - 1) < 5 * (2 / 4000) ** 0.5


@pytest.mark.usefixtures("globals_untouched")
def test_borrowed_generators_follow_the_stream_and_are_given_back():
    drawn = []
    for seed in (3, 3, 4):
        with borrowed_global_generators(Stream(seed, CPU)):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.usefixtures("globals_untouched")
def test_who_borrows_is_told_of_what_was_drawn():
    with borrowed_global_generators(Stream(3, CPU)) as drew:
        assert not drew()
        torch.rand(0)
        torch.zeros(4)
        assert not drew()
        torch.rand(1)
        assert drew()


@pytest.mark.usefixtures("globals_untouched")
def test_threads_take_turns_with_the_borrowed_generators():
    first, second, end, at_once = (threading.Event() for _ in range(4))
    at_once.set()
    drawn = {}

    def draw(seed, begun, wait):
        with borrowed_global_generators(Stream(seed, CPU)):
            begun.set()
            assert wait.wait(60)
            drawn[seed] = torch.rand(4)

    threads = [
        threading.Thread(target=draw, args=(3, first, end)),
        threading.Thread(target=draw, args=(4, second, at_once)),
    ]
    threads[0].start()
    assert first.wait(60)
    threads[1].start()
    assert not second.wait(0.1)
    end.set()
    for thread in threads:
        thread.join(60)
    for seed, found in drawn.items():
        with borrowed_global_generators(Stream(seed, CPU)):
            assert torch.equal(torch.rand(4), found)
    assert set(drawn) == {3, 4}


@pytest.mark.usefixtures("globals_untouched")
def test_a_thread_may_borrow_what_it_has_borrowed():
    with borrowed_global_generators(Stream(3, CPU)):
        expected = torch.rand(4)
    with borrowed_global_generators(Stream(3, CPU)):
        with borrowed_global_generators(Stream(4, CPU)):
            torch.rand(2)
        assert torch.equal(torch.rand(4), expected)


@pytest.mark.usefixtures("globals_untouched")
def test_borrowed_generators_are_given_back_after_an_error():
    with pytest.raises(RuntimeError), borrowed_global_generators(Stream(3, CPU)):  # noqa: PT012
        torch.rand(4)
        raise RuntimeError
