"""Signals as a question: the first is remembered, the second stops at once, and the handlers before come back."""

import os
import signal
import threading

import pytest

from yolox.cli.stopping import SIGNALS, StopSignals


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_remembered_and_the_second_stops(number, capsys):
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        with StopSignals() as stop:
            assert not stop() and stop.signal is None
            os.kill(os.getpid(), number)
            assert stop() and stop.signal == number
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert "stopping after this step" in capsys.readouterr().err


def test_a_handler_that_took_its_place_is_replaced_at_the_next_question():
    with StopSignals() as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_in_another_thread_it_catches_nothing():
    before, found = [signal.getsignal(each) for each in SIGNALS], []

    def work():
        with StopSignals() as stop:
            found.extend([stop(), *(signal.getsignal(each) for each in SIGNALS)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, *before]
