"""The table of what differences cost, for the terminal and check.md."""

from __future__ import annotations

import pandas as pd

from benchmarks.port.effects import Cost, DifferenceCost, Effect
from benchmarks.reporting.numbers import number, p_value
from benchmarks.reporting.page import Block, Notes, Page, Table, Text


def cost_page(cost: Cost) -> Page:
    """The effects of each difference, and what they say."""
    return Page(cost_blocks(cost))


def cost_blocks(cost: Cost) -> list[Block]:
    """The same as parts of a page."""
    return [
        Table(_frame(cost), "Cost of the differences", names=2),
        Notes(_notes(cost)),
        Text([_said(one, cost) for one in cost.differences]),
    ]


def _frame(cost: Cost) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "difference": " + ".join(one.ids),
            "quantity": effect.quantity,
            "without": number(effect.without, ".4f"),
            "with": number(effect.made, ".4f"),
            "effect": number(effect.effect, "+z.4f"),
            "low": number(effect.low, "+z.4f"),
            "high": number(effect.high, "+z.4f"),
            "p": p_value(effect.p if effect.p is not None else float("nan")),
        }
        for one in cost.differences
        for effect in one.effects
    )


def _notes(cost: Cost) -> list[str]:
    rows = ", ".join(f"{count:,} rows of {name}" for name, count in cost.rows.items())
    seeds = f"seeds {', '.join(map(str, cost.seeds))}"
    if len(cost.seeds) < cost.asked:
        seeds += f", of {cost.asked} that were asked for"
    return [
        f"{cost.model} on {cost.task} ({cost.trained}), {rows}, {cost.epochs} epochs, learning rate "
        f"{cost.learning_rate:g}; {seeds}",
        "effect: with the difference minus without, paired by seed (order, head and dropout are the same); low, high: "
        "its 95 % interval by Student's t",
        "training loss: mean over the last epoch; dev: after it, with the difference in the evaluation too",
        *(f"not trained: {line}" for line in cost.left_out),
    ]


def _said(one: DifferenceCost, cost: Cost) -> str:
    clear = [effect for effect in one.effects if effect.clear]
    lost = [effect.quantity for effect in one.effects if effect.effect is None]
    if len(cost.seeds) < 2:
        return f"{one.says}: one seed gives no interval."
    if lost:
        return f"{one.says}: {', '.join(lost)} is not finite at some seed, so that no effect can be given."
    if not clear:
        return f"{one.says}: no effect can be told from 0 with {len(cost.seeds)} seeds."
    parts = [f"{effect.quantity} {effect.effect:+.4f} ({_ends(effect)})" for effect in clear]
    return f"{one.says}: {'; '.join(parts)}."


def _ends(effect: Effect) -> str:
    if effect.low is None or effect.high is None:
        return "the same at every seed"
    return f"{effect.low:+.4f} to {effect.high:+.4f}"
