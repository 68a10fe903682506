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
    "10,000 its, min": "paper_run_s",
    "TFLOP/s": "tflops",
    "GB/s": "gbs",
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


def main(file: str) -> None:
    rows = [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]
    first = rows[0]
    print(f"{first['hardware']}, {first['threads']} threads, torch {first['torch']}\n")
    ceilings = [row for row in rows if row["case"] == "rates"]
    print({k: round(v, 3) for k, v in ceilings[0].items() if k.endswith(("flops", "gbs"))}, "\n")
    growth = [row for row in rows if row["case"].startswith(GROWTH)]
    others = [row for row in rows if row not in growth and row["case"] != "rates"]
    condensing = [row for row in others if "paper_run_s" in row]
    print(table(condensing, COLUMNS), "\n")
    print(table(growth, GROWTH_COLUMNS, milliseconds=True), "\n")
    for row in others:
        if row not in condensing:
            print({k: v for k, v in row.items() if isinstance(v, (float, str)) and k != "torch"})


if __name__ == "__main__":
    main(sys.argv[1])
