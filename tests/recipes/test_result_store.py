"""Tables of results."""

import csv
import io

from vqcodec.recipes.result_store import csv_of

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]
PLAIN = ["a.wav", "a=b", "", "-3.5", "+1e-3", "-inf", "'quoted", "1-2"]


def test_no_cell_of_a_table_is_a_formula() -> None:
    rows = [{"file": name, "score": -1.5} for name in FORMULAS + PLAIN]
    read = list(csv.DictReader(io.StringIO(csv_of(["file", "score"], rows), newline="")))
    assert [row["file"] for row in read] == ["'" + name for name in FORMULAS] + PLAIN
    assert {row["score"] for row in read} == {"-1.5"}
