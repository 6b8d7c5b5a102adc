"""Evidence, rules and verdicts: from the output of a cell to a row of the claims page."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gansrc import claims

BOOK = Path(__file__).parents[1] / "book"
T3 = claims.Claim(
    id="T3", page="theory", paper="eq. (6)", shown="worst error {worst_error:.1e}, as $p_{g}$ is",
    rule="worst_error <= 1e-12 and pairs >= 8", holds="It holds.", fails="It fails.",
)  # fmt: skip


@pytest.fixture(scope="module")
def outputs() -> list[dict[str, str]]:
    """What a notebook shows that hands over two lots of figures, run in a kernel of its own."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    source = (
        "from gansrc.claims import evidence\n"
        "evidence('T3', worst_error=2.220446049250313e-16, pairs=9)\n"
        "evidence('T2', exact=True, where='<the \"support\">')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return [output["data"] for output in notebook["cells"][0]["outputs"]]


def test_figures_come_back_from_a_notebook_bit_for_bit(outputs: list[dict[str, str]]) -> None:
    assert claims.collect_html(output["text/html"] for output in outputs) == {
        "T3": {"worst_error": 2.220446049250313e-16, "pairs": 9},
        "T2": {"exact": True, "where": '<the "support">'},
    }


def test_evidence_shows_one_short_line(outputs: list[dict[str, str]]) -> None:
    assert outputs[0]["text/plain"] == "T3 · worst_error = 2.22e-16, pairs = 9"


def test_a_corrupted_figure_flips_its_verdict(outputs: list[dict[str, str]]) -> None:
    honest = outputs[0]["text/html"]
    corrupted = honest.replace("2.220446049250313e-16", "2.220446049250313e-6")
    verdicts = [claims.verdict(T3, claims.collect_html([piece])["T3"]) for piece in (honest, corrupted)]
    assert verdicts == [
        claims.Verdict("agrees", "worst error 2.2e-16, as $p_{g}$ is", "It holds."),
        claims.Verdict("does not agree", "worst error 2.2e-06, as $p_{g}$ is", "It fails."),
    ]


def test_evidence_prints_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    claims.evidence("P1", mean=160.612345, epochs=100)
    assert capsys.readouterr().out == "P1 · mean = 160.6, epochs = 100\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"T3\.error must be finite, got"):
        claims.evidence("T3", error=value)
    with pytest.raises(ValueError, match="must be finite"):
        claims.evaluate("error < 1", {"error": value})


def test_evidence_needs_a_figure() -> None:
    with pytest.raises(ValueError, match="needs a figure, got none"):
        claims.evidence("T3")


def test_a_figure_is_given_once() -> None:
    tag = '<div class="evidence" data-claim="T3" data-figures="{&quot;error&quot;: 1}"></div>'
    with pytest.raises(ValueError, match=r"T3\.error is given twice"):
        claims.collect_html([tag, "<p>other</p>", tag])


def test_a_figure_on_a_page_is_finite_too() -> None:
    tag = '<div class="evidence" data-claim="T3" data-figures="{&quot;error&quot;: NaN}"></div>'
    with pytest.raises(ValueError, match=r"T3\.error must be finite, got nan"):
        claims.collect_html([tag])


def test_without_figures_a_claim_is_not_computed() -> None:
    assert claims.verdict(T3, None).kind == "not computed in this build"


def test_what_a_chapter_leaves_out_is_said_with_the_reason() -> None:
    judged = claims.verdict(T3, {"left_out": "the full MNIST is not at hand"})
    assert judged == claims.Verdict("left out of this build", "", "the full MNIST is not at hand.")


def test_a_restriction_is_part_of_an_agreeing_verdict_only() -> None:
    restricted = claims.Claim(**(vars(T3) | {"restriction": "On the support."}))
    assert claims.verdict(restricted, {"worst_error": 0.0, "pairs": 9}).kind == "agrees, with a restriction"
    assert claims.verdict(restricted, {"worst_error": 1.0, "pairs": 9}).kind == "does not agree"


def test_what_lacks_what_a_comparison_needs_is_not_judged() -> None:
    short = claims.Claim(**(vars(T3) | {"needs": "pairs >= 8", "lacks": "{pairs} of 8 pairs"}))
    shown = "worst error 0.0e+00, as $p_{g}$ is"
    judged = claims.verdict(short, {"worst_error": 0.0, "pairs": 7})  # whatever the rule would say
    assert judged == claims.Verdict("not comparable", shown, "", "7 of 8 pairs")
    assert judged.title == "not comparable: 7 of 8 pairs"
    assert claims.verdict(short, {"worst_error": 1.0, "pairs": 7}).kind == "not comparable"
    assert claims.verdict(short, {"worst_error": 0.0, "pairs": 8}).title == "agrees"
    assert claims.verdict(short, {"worst_error": 1.0, "pairs": 8}).title == "does not agree"


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("a < 1 and b >= 8", True),
        ("a > 1 or not b == 8", False),
        ("-1 <= a - b / 4 + 2 * a <= 0", True),
        ("who == 'cpu' and ready", True),
    ],
)
def test_rules(rule: str, outcome: bool) -> None:
    assert claims.evaluate(rule, {"a": 0.5, "b": 8, "who": "cpu", "ready": True}) is outcome


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("c < 1", "needs the figure 'c', got"),
        ("a <", "does not parse"),
        ("print(a) < 1", "holds a Call"),
        ("a.real < 1", "holds a Attribute"),
        ("a[0] < 1", "holds a Subscript"),
        ("9 ** 9 ** 9 > a", "holds a Pow"),
        ("a + 1", "must be true or false, got 1.5"),
        ("a < 'x'", "does not fit the figures"),
        ("a / 0 < 1", "does not fit the figures"),
    ],
)
def test_what_is_no_rule(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claims.evaluate(rule, {"a": 0.5})


def test_the_page_cannot_show_what_was_not_handed_over() -> None:
    with pytest.raises(ValueError, match=r"does not fit the figures \['error'\]"):
        claims.verdict(claims.Claim(**(vars(T3) | {"rule": "error < 1"})), {"error": 0.5})


ROW = {"id": "T3", "page": "p", "paper": "x", "shown": "{a}", "rule": "a < 1", "holds": "y", "fails": "n"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW | {"colour": "red"}], "T3 has the unknown field 'colour'"),
        ([ROW | {"rule": " "}], "T3 lacks the field 'rule'"),
        ([ROW | {"rule": "a <"}], "does not parse"),
        ([ROW, ROW], "T3 occurs twice"),
        ([ROW | {"needs": "a > 0"}], "T3 lacks the field 'lacks'"),
        ([ROW | {"lacks": "length"}], "T3 lacks the field 'needs'"),
        ([ROW | {"needs": "a >", "lacks": "length"}], "rule 'a >' does not parse"),
    ],
)
def test_what_is_no_file_of_claims(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    yaml = pytest.importorskip("yaml")
    file = tmp_path / "claims.yml"
    file.write_text(yaml.safe_dump(rows), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        claims.read_claims(file)


def test_words_end_where_their_last_line_does(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    (tmp_path / "claims.yml").write_text(yaml.safe_dump([ROW | {"holds": " It\nholds.\n"}]), encoding="utf-8")
    assert claims.read_claims(tmp_path / "claims.yml")[0].holds == "It\nholds."


def test_the_book_has_a_row_for_every_claim_done_so_far() -> None:
    pytest.importorskip("yaml")
    pages = {row.id: row.page for row in claims.read_claims(BOOK / "claims.yml")}
    theory = {"A1", "T1", "T2", "T3", "T4", "T5", "T6"}
    assert {"I1", "N1", "N2", "N3", "F1", "E1", "P1", "X1", "F2", "F3"} | theory <= set(pages)
    assert [page for page in pages.values() if not (BOOK / f"{page}.md").exists()] == []
