"""`python -m silvermetal_demo`: options in, exit code out."""

from __future__ import annotations

import sys

from silvermetal_demo.options import parse


def main() -> int:
    options = parse()
    # After the options: --help and wrong usage need nothing of what run imports.
    from silvermetal_demo.run import demo

    return demo(options)


if __name__ == "__main__":
    sys.exit(main())
