"""The rows of benchmarks/speed.py as markdown tables: python benchmarks/speed_table.py FILE"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]
GROWTH = ("classes-", "ipc-", "n-", "side-")
COLUMNS = {
    "case": "case",
    "plain, s": "plain_s",
    "eager, s": "eager_s",
    "compiled, s": "compiled_s",
    "eager ×": "eager_ratio",
    "best ×": "ratio",
    "its/s": "iterations_per_s",
    "10,000 its, min": "paper_run_s",
    "TFLOP/s": "tflops",
    "of a product's": "of_product",
    "GB/s": "gbs",
    "of a copy's": "of_copy",
    "memory, MB": "peak_mb",
}
GROWTH_COLUMNS = {"case": "case", "an iteration, ms": "eager_s", "memory, MB": "peak_mb"}


def cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    value *= {"paper_run_s": 1 / 60}.get(key, 1)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: list[Row], columns: dict[str, str], milliseconds: bool = False) -> str:
    lines = ["| " + " | ".join(columns) + " |", "| --- " + "| ---: " * (len(columns) - 1) + "|"]
    for row in rows:
        if milliseconds:
            row = row | {"eager_s": 1e3 * row["eager_s"]}
        lines.append("| " + " | ".join(cell(key, row.get(key)) for key in columns.values()) + " |")
    return "\n".join(lines)


def against(row: Row) -> Row:
    """A row with its shares of the rates measured in the same run."""
    product = row.get("bfloat16_tflops", row["float32_tflops"])
    shares = {}
    if "tflops" in row:
        shares["of_product"] = f"{row['tflops'] / product:.0%}"
        shares["of_copy"] = f"{row['gbs'] / row['copy_gbs']:.0%}"
    return row | shares


def main(file: str) -> None:
    rows = [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]
    first = rows[0]
    print(f"{first['hardware']}, {first['threads']} threads, torch {first['torch']}\n")
    ceilings = next(row for row in rows if row["case"] == "rates")
    print({k: round(v, 3) for k, v in ceilings.items() if k.endswith(("flops", "gbs"))}, "\n")
    growth = [row for row in rows if row["case"].startswith(GROWTH)]
    others = [row for row in rows if row not in growth and row["case"] != "rates"]
    condensing = [against(row) for row in others if "paper_run_s" in row]
    others = [row for row in others if "paper_run_s" not in row]
    print(table(condensing, COLUMNS), "\n")
    print(table(growth, GROWTH_COLUMNS, milliseconds=True), "\n")
    for row in others:
        print({k: v for k, v in row.items() if isinstance(v, float) or k == "case"})


if __name__ == "__main__":
    main(sys.argv[1])
