"""Names of files and classes reach the terminal as text."""

from __future__ import annotations

import io
import logging

from rich.table import Table

from yolox.console import PlainConsole, logs_on_stderr, printable


def shown(*objects):
    file = io.StringIO()
    PlainConsole(file=file, width=60, force_terminal=False).print(*objects)
    return file.getvalue()


def test_control_characters_are_escapes_and_other_text_stays():
    assert printable("\x1b]0;title\x07\x9b2J\u202egpj.\r") == r"\x1b]0;title\x07\x9b2J\u202egpj.\r"
    assert printable("犬 é\tü\n🙂") == "犬 é\tü\n🙂" and printable("\udcd6") == r"\udcd6"


def test_markup_and_emoji_of_names_are_text():
    assert shown("[b]class[/] :smile: \x1b[31m") == "[b]class[/] :smile: \\x1b[31m\n"


def test_cells_of_tables_are_text():
    table = Table("name")
    table.add_row("[b]class[/] \x1b[2J")
    assert "[b]class[/] \\x1b[2J" in shown(table)


def test_warnings_are_printed_once_and_without_control_characters(capsys):
    log = logging.getLogger("yolox.data")
    with logs_on_stderr(str.upper):
        log.warning("%s: cut off", "a\x1b[2J.jpg")
        log.info("not shown")
    assert capsys.readouterr().err == "A\\x1b[2J.JPG: CUT OFF\n"
    assert not logging.getLogger("yolox").handlers
