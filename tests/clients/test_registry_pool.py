from __future__ import annotations

import threading

import pytest

from rdo_promoter.clients.registry import run_all
from rdo_promoter.clients.registry.pool import StoppedError


def test_results_come_in_the_order_of_the_items() -> None:
    gate = threading.Event()

    def square(number: int) -> int:
        if number == 0:
            gate.wait(30)
        if number == 3:
            gate.set()
        return number * number

    assert run_all(square, range(5), threads=2) == [0, 1, 4, 9, 16]


def test_no_more_threads_than_allowed() -> None:
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def action(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(30)
        with lock:
            now -= 1

    run_all(action, range(9), threads=3)
    assert most == 3


def test_after_an_error_nothing_begins() -> None:
    begun: list[int] = []

    def action(number: int) -> None:
        begun.append(number)
        if number == 2:
            raise ValueError("two")

    with pytest.raises(ValueError, match="two") as failed:
        run_all(action, range(50), threads=1)
    assert begun == [0, 1, 2]
    assert failed.value.__notes__ == ["2 of 50 were finished when the first error ended the rest"]


def test_what_has_begun_is_told_to_stop_and_does_not_hide_the_error() -> None:
    stop, begun = threading.Event(), threading.Event()

    def action(number: int) -> None:
        if number == 1:
            begun.wait(30)
            raise ValueError("one")
        begun.set()
        assert stop.wait(30)
        raise StoppedError

    with pytest.raises(ValueError, match="one"):
        run_all(action, range(3), threads=2, stop=stop)


def test_no_items() -> None:
    assert run_all(str, [], threads=4) == []
