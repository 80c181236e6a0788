"""What runs until it is stopped, stopped."""

import signal

import pytest

from lvsha.cli.interrupt import until_stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs_and_what_comes_after_it_is_done(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    # What is started in the background by a shell ignores it from the beginning.
    at_first = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []

    try:
        with until_stopped():
            signal.raise_signal(number)
            done.append("went on")
        done.append("told")
    finally:
        signal.signal(signal.SIGINT, at_first)

    assert done == ["told"]
    assert signal.getsignal(signal.SIGTERM) is before
