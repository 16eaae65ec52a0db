"""The work of `check --cost`: trains, prints and writes."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from benchmarks.cli.parser import one_line_errors
from benchmarks.port.check import Checked
from benchmarks.port.cost import KEPT, CostAsked, Costing, architecture_of, chosen_for, differences_of, widened
from benchmarks.port.cost_report import cost_page
from benchmarks.port.reference import Reference
from benchmarks.port.report import write_report
from benchmarks.workers.progress import terminal
from shared.pack import Pack


def add_cost(
    checked: Checked, pack_folder: Path, asked: CostAsked, out: Path, pythons: dict[str, Path], threads: int
) -> Checked:
    """Trains the reference with each difference that the check found and without, and adds the effects to the report.
    Interrupted, it shows those of the seeds that are done. Raises InputError and ProcessFailed."""
    console = terminal()
    made, left_out = differences_of(checked.diagnosis)
    if not made:
        said = "; ".join(left_out) or "no difference was found, or none that is known"
        console.print(f"\nNothing to train for --cost: {said}.", highlight=False, markup=False, soft_wrap=True)
        return checked
    pack = Pack.read(pack_folder)
    with chosen_for(pack, asked, pythons, threads) as chosen:
        adopted = [widened(one, pack, architecture_of(chosen.question)) for one in made]
        variants = [[one] for one in adopted] + ([adopted] if len(adopted) > 1 else [])
        costing = Costing(chosen, asked, variants, Reference.find(pythons, threads), out)
        kept = f"trainings that are done are kept in {out / KEPT}, and the same command goes on"
        with one_line_errors("benchmarks.port", kept):
            try:
                costing.run(console)
            finally:
                checked = structs.replace(checked, cost=costing.cost(left_out))
                assert checked.cost is not None
                if checked.cost.seeds:
                    write_report(checked, out)
                    cost_page(checked.cost).print(console)
    return checked
