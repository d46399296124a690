"""Signals as a question: the first is remembered, the second stops at once, and the handlers before come back."""

import os
import signal
import threading

import pytest

from yolox.distributed import Group
from yolox.training import signals
from yolox.training.signals import SIGNALS, Launcher, StopSignals, stop_on_any


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


def test_a_launcher_that_ends_is_missed_once(monkeypatch, capsys):
    launcher = Launcher()
    assert not launcher.has_gone() and capsys.readouterr().err == ""
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert launcher.has_gone() and launcher.has_gone()
    assert capsys.readouterr().err.count("msrun has ended; stopping after this step") == 1
    assert not Launcher().has_gone()  # of an msrun that does not wait for its processes


@pytest.mark.parametrize(("world", "asked", "want"), [(1, False, False), (1, True, True), (2, False, True), (2, True, True)])
def test_several_processes_stop_without_their_launcher_and_one_goes_on(monkeypatch, world, asked, want):
    """One process may be left alone on purpose, as with nohup."""
    launcher = Launcher()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(signals, "any_of", lambda flag, group: flag)
    assert stop_on_any(lambda: asked, Group(world=world), launcher)() is want


def test_a_process_that_another_one_stops_says_that_msrun_has_ended(monkeypatch, capsys):
    """The other one asked a moment later, when msrun had just ended."""

    def other_has_seen_it(flag, _group):
        assert not flag
        monkeypatch.setattr(os, "getppid", lambda: 1)
        return True

    monkeypatch.setattr(signals, "any_of", other_has_seen_it)
    assert stop_on_any(lambda: False, Group(world=2), Launcher())()
    assert capsys.readouterr().err.count("msrun has ended; stopping after this step") == 1
