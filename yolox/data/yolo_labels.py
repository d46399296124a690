"""The lines of YOLO's label files: a class and a box each, and what they are where they are something else."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

import attrs

from yolox.data.build import MAX_LABEL_BYTES, Columns, read_lines
from yolox.data.content import Note, counted
from yolox.errors import DataError, stop_at_many_problems

_MOST_SHARE = 2  # a box may reach over the edge of its image
_WANTED = "a class index and four finite shares of the image (class cx cy w h)"


@attrs.define(kw_only=True)
class LabelLines:
    """Reads label files into columns, for the image that was added to them last; counts lines that are no labels."""

    columns: Columns
    classes: int
    drop_scores: bool
    problems: list[str]
    scored: list[str] = attrs.Factory(list)
    others: dict[str, list[str]] = attrs.Factory(dict)  # lines that are written otherwise, by how
    other_tasks: dict[int, list[str]] = attrs.Factory(dict)  # lines of segments and the like, by their count of numbers

    def read(self, path: str) -> None:
        """Reads a label file; what is wrong with it goes to `problems`, or is counted.

        Raises:
            DataError: `problems` has 10,000 entries.
        """
        try:
            lines = read_lines(path, most=MAX_LABEL_BYTES)
        except DataError as error:
            self.problems.append(str(error))
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._read_line(line, f"{path}: line {number}")
                stop_at_many_problems(path, self.problems)

    def _read_line(self, line: str, place: str) -> None:
        columns = self.columns
        try:
            index, *shares = (float(word) for word in line.split())
            shares = [] if "_" in line else shares  # 0_5 is 5 for Python alone
        except ValueError:
            index, shares = -1.0, []
        if len(shares) == 5:
            self.scored.append(f"{place}: {line.strip()[:60]!r}")
            shares = shares[:4] if self.drop_scores else [0.5, 0.5, 0.0, 0.0]  # refused for all lines at once
        if (
            len(shares) != 4
            or not all(abs(v) < 1e6 for v in shares)
            or not abs(index) < 1e6
            or index != int(index)
        ):
            self._add_strange(line, place)
        elif max(shares) > _MOST_SHARE:
            self.others.setdefault(f"a number above {_MOST_SHARE} (pixels?)", []).append(f"{place}: {line.strip()[:60]!r}")
        elif not 0 <= index < self.classes:
            self.problems.append(f"{place}: class {int(index)} is none of the {self.classes} classes")
        else:
            height, width = columns.sizes[-2:]
            x, y, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
            columns.image_indices.append(len(columns.file_names) - 1)
            columns.boxes.extend((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
            columns.areas.append(w * h)
            columns.classes.append(int(index))
            columns.crowd.append(False)
            columns.annotation_ids.append(len(columns.annotation_ids) + 1)

    def _add_strange(self, line: str, place: str) -> None:
        words, shown = line.split(), f"{place}: {line.strip()[:60]!r}"
        hint = _looks_like(line)
        if hint is not None:
            self.others.setdefault(hint, []).append(shown)
        elif _is_other_task(len(words)) and _are_numbers(words):
            self.other_tasks.setdefault(len(words), []).append(shown)
        else:
            self.problems.append(f"{shown}, want {_WANTED}")

    def counted_problems(self) -> list[str]:
        """Returns a line for each kind of line that is no label."""
        kinds = dict(self.others)
        if self.other_tasks:
            kinds[_other_task(self.other_tasks)] = [line for lines in self.other_tasks.values() for line in lines]
        lines = [f"{counted(len(v), 'line has', 'lines have')} {what}, want {_WANTED} ({v[0]})" for what, v in kinds.items()]
        if self.drop_scores or not self.scored:
            return lines
        return lines + [
            f"{counted(len(self.scored), 'line has', 'lines have')} 6 numbers (with a confidence?), want {_WANTED}; "
            f"`scored_labels` drop reads them without the last ({self.scored[0]})"
        ]

    def notes(self) -> list[str]:
        """Returns what was left out, in a line."""
        lines = counted(len(self.scored), "line")
        return [Note(f"the sixth number (a confidence?) of {lines} was dropped", self.scored)] if self.scored else []


def _looks_like(line: str) -> str | None:
    """Returns how a line is written otherwise than a label, where it can be told."""
    if re.search(r"\d[,;]", line):
        return "commas between the numbers"
    words = line.split()
    if len(words) == 10 and _are_numbers(words[:8]) and not _are_numbers(words[8:9]):
        return "corners of a rotated box and a class name (DOTA?)"
    if len(words) >= 5 and _are_numbers(words[-4:]) and not _are_numbers(words[:-4]):
        return "a class name in place of its index"
    return None


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _is_other_task(count: int) -> bool:
    """Returns whether a line of so many numbers may state segments, a rotated box or keypoints."""
    return count >= 7 and (count % 2 == 1 or (count - 5) % 3 == 0)


def _other_task(counts: Collection[int]) -> str:
    """Returns what lines of more numbers than a box has may be, by their counts."""
    if len(counts) > 1:
        kinds = ["segments"] * all(n % 2 for n in counts) or ["segments", "keypoints"]
        return f"{min(counts)} to {max(counts)} numbers ({' or '.join(kinds)}?)"
    (count,) = counts
    if count == 9:
        return "9 numbers (corners of a rotated box, OBB, or a segment of four points?)"
    kinds = ["segments"] * (count % 2) + ["keypoints"] * ((count - 5) % 3 == 0)
    return f"{count} numbers ({' or '.join(kinds)}?)"
