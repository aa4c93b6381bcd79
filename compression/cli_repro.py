"""Commands that reproduce papers: `repro deepcompression`, `repro han2015`, `repro hinton2015`, `repro lottery`."""

from pathlib import Path

import click

from .cli_base import Stopped, data_option, executor_option, make_folder, report_option, sweeping
from .report import write_report
from .repro import REPRODUCTIONS, Reproduction, reproduce
from .repro.render import as_markdown, as_table


@click.group()
def repro() -> None:
    """Reproduce a paper's experiment, over several seeds, beside the paper's figures."""


def _command(reproduction: Reproduction) -> click.Command:
    """Make the command of a reproduction."""

    @click.command(reproduction.name, help=f"{reproduction.paper}.")
    @click.option("--seeds", type=click.IntRange(1), help=f"Run seeds 0, 1, ... (default: {reproduction.seeds}; "
                  "with --quick 1).")  # fmt: skip
    @click.option("--quick", is_flag=True, help="A first look in a few minutes: fewer images, fewer epochs.")
    @executor_option
    @click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/repro"), show_default=True,
                  help="Folder for each run's result: what is there is not computed again.")  # fmt: skip
    @report_option
    @data_option
    def command(seeds: int | None, quick: bool, executor: str, runs: Path, out: Path | None, data: Path | None) -> None:
        _run(reproduction, seeds or (1 if quick else reproduction.seeds), quick, executor, runs, out, data)

    return command


def _run(
    reproduction: Reproduction, seeds: int, quick: bool, how: str, runs: Path, out: Path | None, data: Path | None
) -> None:
    name = reproduction.name
    folder = make_folder(runs / (f"{name}-quick" if quick else name))
    out = make_folder(out or Path("runs/quick" if quick else "results"))
    jobs = reproduction.jobs(seeds, quick, folder, data and data.resolve())
    with sweeping(folder, how) as executor:
        report = reproduce(reproduction, jobs, executor, click.echo)
    report["quick"] = quick
    drawn = reproduction.figures(report["runs"], folder)
    files = {f"{name}_{key}.png" if key else f"{name}.png": drawing for key, drawing in drawn.items()}
    for file, (figure, _) in files.items():
        figure.savefig(out / file, dpi=120)
    write_report(out / f"{name}.json", report)
    page = as_markdown(report, {file: caption for file, (_, caption) in files.items()})
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    if report["rows"]:
        click.echo(f"\n{as_table(report)}\n")
    click.echo(f"Written to {out}: {', '.join([f'{name}.json', f'{name}.md', *files])}.")
    if failed := report["failed"]:
        first = failed[0]
        raise Stopped(
            f"{len(failed)} of {len(jobs)} runs failed, the first with part {first['part']}, seed {first['seed']}: "
            f"{first['error']}; the others are kept in {folder}, and the same command tries again"
        )


for _reproduction in REPRODUCTIONS.values():
    repro.add_command(_command(_reproduction))
