"""Parameters of the kinds that rules share: words and tables."""

from __future__ import annotations

from typing import Any

import pytest
import siyu
from siyu import Field, PluginError, Row, Table, Words
from siyu.contract.params import validate_params


class Step(Row):
    uses: Words = Field(("toner",), title="uses")


class Routine(siyu.Params):
    steps: Table[Step] = Field((Step(key="one"), Step(key="two", uses=("cream",))), title="steps")


def test_a_table_is_given_as_rows_and_what_a_row_leaves_out_takes_its_default() -> None:
    made = validate_params(
        Routine, {"steps": [{"key": "a"}, {"key": "b", "title": "B", "uses": ["x", "油"]}]}, where="r"
    )
    assert isinstance(made, Routine)
    assert [(row.key, row.uses) for row in made.steps] == [("a", ("toner",)), ("b", ("x", "油"))]
    assert made.steps[1].title == "B"


@pytest.mark.parametrize(
    ("steps", "field", "named"),
    [
        ([{"key": "a"}, {"key": "b"}, {"key": "a"}], "r.steps", "rows 1 and 3 have the same key 'a'"),
        ([{"key": "A"}], "r.steps.0.key", "got 'A'"),
        ([{"key": "a", "title": ""}], "r.steps.0.title", "got ''"),
        ([{"key": "a", "uses": []}], "r.steps.0.uses", "at least 1 item"),
        ([{"key": "a", "uses": [" "]}], "r.steps.0.uses.0", "got ' '"),
        ([{"key": "a", "uses": "toner"}], "r.steps.0.uses", "got 'toner'"),
        ([{"key": f"k{n}"} for n in range(51)], "r.steps", "at most 50 items"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(steps: list[Any], field: str, named: str) -> None:
    with pytest.raises(PluginError) as caught:
        validate_params(Routine, {"steps": steps}, where="r")
    assert caught.value.field == field
    assert named in caught.value.message
    assert caught.value.remedy


def test_their_schema_is_a_form_with_titles_limits_and_defaults() -> None:
    schema = Routine.model_json_schema()
    steps, row = schema["properties"]["steps"], schema["$defs"]["Step"]
    assert (steps["type"], steps["maxItems"], steps["items"]) == ("array", 50, {"$ref": "#/$defs/Step"})
    assert steps["default"][1] == {"key": "two", "title": "新的一行", "uses": ["cream"]}
    assert list(row["properties"]) == ["key", "title", "uses"]
    uses = row["properties"]["uses"]
    assert (uses["minItems"], uses["maxItems"], uses["items"]["type"]) == (1, 50, "string")
    assert not row["additionalProperties"]
