"""Sets the menu of mkdocs: pages in groups, and the pages that no group names at the end."""

from __future__ import annotations

from pathlib import Path

GROUPS = {
    "Start": ("index", "tutorial", "own_dataset"),
    "Data": ("datasets", "data_tools", "custom_dataset"),
    "Train": ("recipes", "weights", "pictures", "callbacks", "loggers", "long_runs", "scaling", "own_loop"),
    "Use": ("sources", "supervision", "deployment", "untrusted_files"),
    "Change": ("custom_detector", "custom_loss", "simota_elsewhere", "graph_mode"),
    "Understand": ("structure", "conventions", "verification", "performance"),
    "Look up": ("command_line", "reference", "troubleshooting"),
    "中文": ("zh/quickstart",),
}
GENERATED = ("command_line",)  # written by docs/command_line.py while the site is built


def menu(folder: Path) -> dict[str, list[str]]:
    """Returns the pages of a folder by group, in the order of the menu; those that are in no group are in "More"."""
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md"))
    there = {title: [f"{name}.md" for name in group if name in names or name in GENERATED] for title, group in GROUPS.items()}
    known = {name for group in GROUPS.values() for name in group}
    groups = {**there, "More": [f"{name}.md" for name in names if name not in known]}
    return {title: pages for title, pages in groups.items() if pages}


def on_config(config):
    """Sets the menu; called by mkdocs."""
    config.nav = [{title: pages} for title, pages in menu(Path(config.docs_dir)).items()]
    return config
