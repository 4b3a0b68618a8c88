"""A finished table on the screen."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sbert_repro.tables import remarks
from sbert_repro.tables.render import Sheet, shown


def on_screen(sheet: Sheet) -> Group:
    """Lay a table out for the screen, with its remarks below.

    Args:
        sheet: The table.

    Returns:
        What rich prints.
    """
    names = [column.name for column in sheet.table.columns]
    table = Table(title=f"Table {sheet.table.name}: {sheet.table.title}", box=box.SIMPLE_HEAD)
    table.add_column("ours (the paper's)", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    section = ""
    for row in sheet.table.rows:
        if row.section and row.section != section:
            section = row.section
            table.add_row(f"[bold]{escape(section)}[/bold]")
        mine = {cell.column: cell for cell in sheet.cells if cell.paper_row == row.name}
        label = next(iter(mine.values())).row
        table.add_row(escape(label), *(escape(shown(mine.get(name))) for name in names))
    said = [sheet.banner.strip(), *remarks.lines(sheet)]
    return Group(table, Text("\n".join(line for line in said if line)))
