"""Names as pictures show them: short, in letters that can be drawn, and no two alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolox.visualize.draw import ascii_text, cut_middle, drawn_names


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("cat", "cat"),
        ("caf\u00e9", "cafe"),
        ("Stra\u00dfe", "Strasse"),
        ("Ng\u01b0\u1eddi", "Nguoi"),
        ("\u732b", "class 1"),
        ("\u043b\u0438\u0441\u0430 2", "class 1"),  # a digit alone would be no name
        ("\u732b cat", "cat #1"),
        ("what?", "what?"),
        ("", ""),
        ("12", "12"),
        ("red blood cell of a horse", "red bloo.. a horse"),
    ],
)
def test_a_name(name, want):
    assert drawn_names(["first", name])[1] == want


def test_names_with_a_common_beginning_differ_at_their_end():
    names = ["a long common beginning, A", "a long common beginning, B"]
    assert drawn_names(names) == ["a long c..nning, A", "a long c..nning, B"]


def test_names_that_differ_in_the_middle_get_their_number():
    names = ["x" * 20 + letter + "y" * 20 for letter in "abc"]
    assert drawn_names(names, most=12) == ["xxxx..yyy #0", "xxxx..yyy #1", "xxxx..yyy #2"]


def test_of_names_that_become_alike_the_one_as_written_stays():
    assert drawn_names(["p\u00eache", "peche", "p\u00e9che"]) == ["peche #0", "peche", "peche #2"]


@given(st.lists(st.text(max_size=60), unique=True, max_size=12))
def test_all_are_short_ascii_and_the_changed_ones_unique(names):
    shown = drawn_names(names)
    assert len(shown) == len(names) and all(len(text) <= 18 for text in shown)
    changed = [text for name, text in zip(names, shown, strict=True) if text != name]
    assert all(text.isascii() for text in shown) and len(set(changed)) == len(changed)


@given(st.text(max_size=40), st.integers(3, 30))
def test_a_cut_text_keeps_both_ends(text, most):
    cut = cut_middle(text, most)
    if len(text) <= most:
        assert cut == text
    else:
        head, dots, tail = cut[: (most - 1) // 2], cut[(most - 1) // 2 : (most + 3) // 2], cut[(most + 3) // 2 :]
        assert len(cut) == most and dots == ".." and text.startswith(head) and text.endswith(tail)


def test_file_names_keep_what_can_be_drawn():
    assert ascii_text("Gr\u00f6\u00dfe \u732b?.jpg") == "Grosse ??.jpg"
