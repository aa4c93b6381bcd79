"""Run `minigrad` commands in this process."""

from click.testing import CliRunner

from minigrad.compression.cli import main


def call(*arguments):
    """Run `minigrad` with the arguments, and return click's result."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def output(*arguments):
    """Run a command that must succeed, and return what it said."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output
