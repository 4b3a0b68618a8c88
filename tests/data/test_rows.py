"""Other people's files, in our columns."""

from __future__ import annotations

from typing import Any

import datasets
import pytest

from sbert_repro.data.download import hub_rows, line_rows, sts_rows, tsv_rows
from sbert_repro.data.schema import Source, dataset
from sbert_repro.errors import UserError

HUB = Source(
    split="train",
    place="someone/nli",
    format="hub_table",
    part="train",
    columns={"premise": "text_a", "hypothesis": "text_b", "label": "gold"},
    labels=("entailment", "neutral", "contradiction"),
    constants={"source": "here"},
)
TSV = Source(
    split="dev",
    place="https://example.org/dev.tsv",
    format="tsv",
    part="dev.tsv",
    columns={"sentence1": "A", "sentence2": "B", "score": "gold"},
)
STS = Source(
    split="test",
    place="someone/bundle",
    format="sts_folder",
    part="STS/STS15-en-test",
    subsets=("images", "belief"),
)


def on_the_hub(names: list[str]) -> datasets.Dataset:
    features = datasets.Features(
        text_a=datasets.Value("string"),
        text_b=datasets.Value("string"),
        gold=datasets.ClassLabel(names=names),
        parse=datasets.Value("string"),
    )
    rows = {
        "text_a": ["a", "b", "c"],
        "text_b": ["d", "e", "f"],
        "gold": [2, -1, 0],
        "parse": ["(", "(", "("],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_class_ids_of_the_hub_become_labels() -> None:
    table = hub_rows(on_the_hub(["entailment", "neutral", "contradiction"]), HUB)
    assert table.to_pydict() == {
        "premise": ["a", "b", "c"],
        "hypothesis": ["d", "e", "f"],
        "label": ["contradiction", "-", "entailment"],
        "source": ["here", "here", "here"],
    }


def test_a_copy_with_another_label_order_is_refused() -> None:
    with pytest.raises(UserError, match="someone/nli: gold stands for"):
        hub_rows(on_the_hub(["contradiction", "entailment", "neutral"]), HUB)


def test_a_copy_with_other_columns_is_refused() -> None:
    loaded = datasets.Dataset.from_dict({"text_a": ["a"], "gold": [1]})
    with pytest.raises(UserError, match="someone/nli has no column text_b; it has text_a, gold"):
        hub_rows(loaded, HUB)


def test_scores_of_the_hub_stay_numbers() -> None:
    source = Source("dev", "x/y", "hub_table", "dev", columns={"sentence1": "s", "score": "score"})
    loaded = datasets.Dataset.from_dict({"s": ["a", "b"], "score": [1.5, 5.0]})
    assert hub_rows(loaded, source).to_pydict() == {"sentence1": ["a", "b"], "score": [1.5, 5.0]}


def test_tab_separated_quotes_are_characters() -> None:
    content = 'id\tgold\tA\tB\n1\t4.5\t"Hi" he said\tshe "said\n2\t0\t\u2028odd\tb\textra\r\n'
    assert tsv_rows(content.encode(), TSV).to_pydict() == {
        "sentence1": ['"Hi" he said', "\u2028odd"],
        "sentence2": ['she "said', "b"],
        "score": [4.5, 0.0],
    }


def test_tab_separated_labels_are_lower_case() -> None:
    source = Source("dev", "x", "tsv", "d", columns={"label": "entailment_judgment"})
    assert tsv_rows(b"entailment_judgment\nNEUTRAL\n", source)["label"].to_pylist() == ["neutral"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A\tB\n1\t2\n", "dev.tsv has no column gold; it has"),
        (b"gold\tA\tB\n1\tx\ty\n2\tx\n", "dev.tsv, line 3: 2 of 3 columns"),
        (b"gold\tA\tB\nn/a\tx\ty\n", "dev.tsv: a score is no number"),
        (b"gold\tA\tB\n1\t\xff\ty\n", "dev.tsv is no UTF-8 text"),
    ],
)
def test_tab_separated_and_wrong(content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        tsv_rows(content, TSV)


def sts(**changed: str) -> Any:
    files = {
        "STS.input.images.txt": "a dog\ta cat\none\ttwo\thttp://where\nno gold\tat all\n",
        "STS.gs.images.txt": "1.5\n5\n\n",
        "STS.input.belief.txt": "x y\tz\nun\tscored\np\tq",
        "STS.gs.belief.txt": "0\n\n2.25",
    } | changed
    return sts_rows(lambda name: files[name.removeprefix("STS/STS15-en-test/")].encode(), STS)


def test_sts_pairs_and_their_gold_scores_line_by_line() -> None:
    assert sts().to_pydict() == {
        "subset": ["images", "images", "belief", "belief"],
        "sentence1": ["a dog", "one", "x y", "p"],
        "sentence2": ["a cat", "two", "z", "q"],
        "score": [1.5, 5.0, 0.0, 2.25],
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"STS.gs.belief.txt": "1\n2\n3\n4\n"}, "belief.txt holds 3 pairs for 4 gold scores"),
        ({"STS.input.belief.txt": "a\tb\nno tab\n"}, r"belief.txt holds 2 pairs for 3"),
        ({"STS.input.belief.txt": "a\tb\nno tab\nc\td"}, "line 2: expected two sentences"),
        ({"STS.gs.images.txt": "1\nhigh\n3"}, "a score is no number"),
    ],
)
def test_sts_files_that_do_not_fit(changed: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        sts(**changed)


def lines(**changes: Any) -> Source:
    options = {"split": "all", "place": "someone/bundle", "format": "lines", "part": "CR"}
    return Source(**{**options, **changes})


def test_each_line_of_a_file_gets_the_label_of_its_file() -> None:
    files = {"CR/pos": b"good , \n\nM-CM-) \xe9\n\n", "CR/neg": b"bad\n"}
    source = lines(subsets=("pos", "neg"), labels=("1", "0"), encoding="latin-1")
    table = line_rows(files.__getitem__, source)
    # An empty text is a text, at the end of a file too: CR has such.
    assert table["text"].to_pylist() == ["good ,", "", "M-CM-) é", "", "bad"]
    assert table["label"].to_pylist() == ["1", "1", "1", "1", "0"]


@pytest.mark.parametrize(
    ("name", "line", "row"),
    [
        ("trec", b"DESC:manner How did  it go ?\n", ("DESC", "How did  it go ?")),
        ("sst2", b"a tab\tand a label\t1\n", ("1", "a tab\tand a label")),
    ],
)
def test_lines_of_the_records(name: str, line: bytes, row: tuple[str, str]) -> None:
    table = line_rows(lambda _: line, dataset(name).sources[0])
    assert (table["label"][0].as_py(), table["text"][0].as_py()) == row


def test_a_line_of_another_form_is_named() -> None:
    with pytest.raises(UserError, match=r"train_5500\.label, line 2: expected"):
        line_rows(lambda _: b"HUM:ind Who ?\nWho ?\n", dataset("trec").sources[0])
