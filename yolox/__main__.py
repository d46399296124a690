"""``python -m yolox``: the same as the console script ``yolox``."""

from yolox.cli.main import yolox_command

if __name__ == "__main__":
    yolox_command()
