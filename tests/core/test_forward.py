"""Forward mode in several threads."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import torch

from latentscape.core.forward import jvp


def test_a_thread_that_is_done_closes_nothing_for_another():
    first_in, second_in, first_out = Event(), Event(), Event()
    x, one = torch.tensor([2.0]), torch.ones(1)

    def square(at):
        first_in.set()
        second_in.wait(0.5)  # of a second that waits for its turn nothing is seen
        return at.square()

    def cube(at):
        second_in.set()
        first_out.wait(0.5)
        return at**3

    def first():
        try:
            return jvp(square, x, one)
        finally:
            first_out.set()

    def second():
        first_in.wait(5)
        return jvp(cube, x, one)

    with ThreadPoolExecutor(2) as threads:
        a, b = threads.submit(first), threads.submit(second)
        assert [float(value) for value in (*a.result(), *b.result())] == [4, 4, 8, 12]


def test_one_of_another():
    one = torch.ones(1)
    slope, bend = jvp(lambda at: jvp(lambda inner: inner**3, at, one)[1], torch.tensor([2.0]), one)
    assert (float(slope), float(bend)) == (12, 12)
