"""Class names as pictures can show them: of bounded length, in letters that the font has, and no two alike."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

LONGEST_NAME = 18  # letters in a picture; labels of neighbours would hide each other
_SPELLED = str.maketrans({
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "–": "-", "—": "-", "’": "'", "…": "..",
})  # fmt: skip  # what unicode does not take apart


def drawn_names(
    names: Sequence[str], *, most: int = LONGEST_NAME, gap: str = "..", has: Callable[[str], bool] = str.isascii
) -> list[str]:
    """Write class names so that a picture can show them and they can be told apart.

    Accents are dropped; a name whose letters the font does not have becomes "class 7". Of a long name, the middle
    is left out: names of a dataset often begin alike. Where two would look the same, their numbers are added.

    Args:
        names: of all classes, in their order.
        most: length up to which nothing is cut.
        gap: stands for what is left out.
        has: whether the font has the letters of a text; OpenCV's are ASCII.

    Returns:
        As many texts of at most `most` characters, for `most` from about 14 on.

    Example:
        >>> drawn_names(["café", "猫", "red blood cell, normal", "red blood cell, abnormal"])
        ['cafe', 'class 1', 'red bloo.., normal', 'red bloo..abnormal']
    """
    texts = [name if has(name) else _spelled(name, index) for index, name in enumerate(names)]
    cut = [cut_middle(text, most, gap) for text in texts]
    times = Counter(cut)
    return [
        text if times[text] == 1 or text == name else _numbered(whole, index, most, gap)
        for index, (name, whole, text) in enumerate(zip(names, texts, cut, strict=True))
    ]


def cut_middle(text: str, most: int, gap: str = "..") -> str:
    """Leave out the middle of a long text.

    Args:
        text: any.
        most: length of the result at most; longer than `gap`.
        gap: stands for what is left out.

    Returns:
        The text itself where it is short enough.

    Example:
        >>> cut_middle("international space station", 12), cut_middle("cat", 12)
        ('inter..ation', 'cat')
    """
    if len(text) <= most:
        return text
    end = (most - len(gap)) // 2
    return text[: most - len(gap) - end] + gap + text[len(text) - end :]


def ascii_text(text: str) -> str:
    """Write a text in ASCII: accents dropped, and a question mark for each letter that is none without them.

    Args:
        text: any, such as the name of a file.

    Returns:
        Text that OpenCV can draw.

    Example:
        >>> ascii_text("Größe 猫.jpg")
        'Grosse ?.jpg'
    """
    plain = unicodedata.normalize("NFKD", text.translate(_SPELLED))
    kept = (letter for letter in plain if letter.isascii() or not unicodedata.combining(letter))
    return "".join(kept).encode("ascii", "replace").decode()


def _spelled(name: str, index: int) -> str:
    """In ASCII; with the number of the class where letters are lost, and that alone where no letter is left."""
    text = ascii_text(name)
    lost = text.count("?") > name.count("?")
    rest = " ".join(text.replace("?", " ").split()) if lost else text
    if not any(letter.isalpha() for letter in rest):
        return f"class {index}"
    return f"{rest} #{index}" if lost else rest


def _numbered(text: str, index: int, most: int, gap: str) -> str:
    number = f" #{index}"
    return text if text.endswith(number) else cut_middle(text, most - len(number), gap) + number
