"""The group of all commands, with those of other packages found by entry point.

Rules:

- A command is imported when it is called and not before: `silvermetal verify` does not load an ISO reader.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from silvermetal_proof.cli.enroll import enroll
from silvermetal_proof.cli.keys import keygen
from silvermetal_proof.cli.ledger import ledger
from silvermetal_proof.cli.show import inspect
from silvermetal_proof.cli.verify import verify

GROUP = "silvermetal.commands"


class Commands(click.Group):
    """Our own commands and those of the group :data:`GROUP`."""

    def _others(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *self._others()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Our own first; another package's is loaded now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        point = self._others().get(cmd_name)
        if point is None:
            return None
        try:
            loaded = point.load()
        except ImportError as error:
            raise click.ClickException(
                f"command {cmd_name}: expected its package with what it needs, got {error}; install the extra `explain`"
            ) from None
        assert isinstance(loaded, click.Command)
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List all names; only our own with their help, so that --help loads nothing else."""
        rows = []
        for name in self.list_commands(ctx):
            own = super().get_command(ctx, name)
            rows.append(
                (name, own.get_short_help_str() if own else f"(of {self._others()[name].module.split('.')[0]})")
            )
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=Commands,
    epilog="Exit codes: 0 holds, 1 another verdict than REPRODUCED, 2 usage, 3 a file cannot be read, "
    "4 a signature or seal does not hold, 5 statements do not fit the verdict, 6 too few or not independent enough, "
    "7 the ledger does not hold, 8 the ISO is another one, 9 another file is not what SHA256SUMS says, "
    "10 a file could not be fetched, 11 built again it is another ISO, 12 it could not be built again.",
)
def main() -> None:
    """Check what was built, by whom, and whether it is the same everywhere."""


for _command in (keygen, enroll, inspect, verify, ledger):
    main.add_command(_command)
