"""`python -m skillrun` is the `skillrun` command."""

from skillrun.cli import program

if __name__ == "__main__":
    program()
