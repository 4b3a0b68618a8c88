"""The same items in the same order; the thread ends with the one who asks."""

import threading
import time

import pytest

from sbert_repro.data.prefetch import Prefetched
from sbert_repro.errors import UserError


@pytest.fixture
def others():
    """What other tests threw away and nobody has collected yet."""
    return set(threading.enumerate())


@pytest.fixture
def threads(others):
    return lambda: [t for t in threading.enumerate() if t not in others]


def test_the_same_items_in_the_same_order(threads):
    assert list(Prefetched(iter(range(50)))) == list(range(50))
    assert list(Prefetched(iter([0, None, ""]))) == [0, None, ""], "an item may say no"
    assert list(Prefetched(iter(()))) == []
    assert threads() == []


def test_the_next_item_is_made_while_this_one_is_used():
    made = []

    def items():
        for number in range(4):
            made.append((number, threading.current_thread() is threading.main_thread()))
            yield number

    coming = Prefetched(items())
    assert next(coming) == 0
    end = time.monotonic() + 30
    while len(made) < 2 and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(0.01)
    assert made == [(0, False), (1, False)], "one ahead and not more"
    coming.close()


def test_an_error_comes_out_as_itself_in_its_place(threads):
    def items():
        yield 1
        yield 2
        raise UserError("the file is gone")

    coming, seen = Prefetched(items()), []
    with pytest.raises(UserError, match=r"^the file is gone$"):
        seen.extend(coming)
    assert seen == [1, 2]
    assert threads() == []


def test_closed_in_the_middle_it_leaves_no_thread(threads):
    coming = Prefetched(iter(range(10)))
    assert [next(coming), next(coming)] == [0, 1]
    assert len(threads()) == 1
    coming.close()
    assert threads() == []


def test_thrown_away_it_waits_for_nothing_and_its_thread_ends(threads):
    slow = threading.Event()

    def items():
        yield 1
        slow.wait(60)
        yield 2

    coming = Prefetched(items())
    assert next(coming) == 1
    (thread,) = threads()
    del coming  # collected here and now, while its thread is busy
    slow.set()
    thread.join(60)
    assert not thread.is_alive()


def test_after_its_end_it_stays_ended():
    coming = Prefetched(iter([1]))
    assert list(coming) == [1]
    with pytest.raises(StopIteration):
        next(coming)
