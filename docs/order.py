"""Order of the pages in the menu, for mkdocs: the pages named here first, then whatever else is in the folder."""

from __future__ import annotations

from pathlib import Path

ORDER = (
    "index", "own_dataset", "datasets", "recipes", "custom_detector", "custom_loss", "simota_elsewhere", "deployment",
    "pictures", "long_runs", "scaling", "performance", "conventions", "graph_mode", "troubleshooting", "reference",
)  # fmt: skip


def ordered_pages(folder: Path) -> list[str]:
    """List the pages of a folder in the order of the menu."""
    names = sorted(path.stem for path in folder.glob("*.md"))
    known = [name for name in ORDER if name in names]
    return [f"{name}.md" for name in known + [name for name in names if name not in ORDER]]


def on_config(config):
    """Give mkdocs the menu."""
    config.nav = ordered_pages(Path(config.docs_dir))
    return config
