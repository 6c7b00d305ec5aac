"""The group of all commands, with those of other packages found by entry point.

Rules:

- A command is imported when it is called and not before: `silvermetal verify` does not load an ISO reader.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from silvermetal_proof.cli.attribute import attribute
from silvermetal_proof.cli.ends import CODES
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
    epilog=f"{CODES} The commands that read images say their own.",
)
def main() -> None:
    """Check what was built, by whom, and whether it is the same everywhere."""


for _command in (keygen, enroll, inspect, verify, ledger, attribute):
    main.add_command(_command)
