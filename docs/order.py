"""Sets the order of the pages in the menu of mkdocs: the pages named here first, then all others in the folder."""

from __future__ import annotations

from pathlib import Path

ORDER = (
    "index", "own_dataset", "datasets", "data_tools", "sources", "recipes", "callbacks", "custom_dataset", "custom_detector",
    "custom_loss", "own_loop", "simota_elsewhere", "deployment", "supervision", "pictures", "loggers", "long_runs", "scaling", "performance",
    "verification", "structure", "conventions", "graph_mode", "troubleshooting", "reference",
)  # fmt: skip


def ordered_pages(folder: Path) -> list[str]:
    """Lists the pages of a folder in the order of the menu."""
    names = sorted(path.stem for path in folder.glob("*.md"))
    known = [name for name in ORDER if name in names]
    return [f"{name}.md" for name in known + [name for name in names if name not in ORDER]]


def on_config(config):
    """Sets the menu; called by mkdocs."""
    config.nav = ordered_pages(Path(config.docs_dir))
    return config
