"""Rewrite `index.txt` after a family was changed."""

from pathlib import Path

from skillrun.policy.knowledge import write_index

if __name__ == "__main__":
    (Path(__file__).parent / "index.txt").write_text(write_index(), "utf-8")
