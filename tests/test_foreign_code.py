"""Code that a model folder or the command line brings along never runs, whatever is answered."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from sbert_repro.backbone.transformer import load, load_config, load_network, load_tokenizer
from sbert_repro.benchmarks.peers import load_library_model
from sbert_repro.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
RUN_ALL = """
import json, logging, runpy, sys
root, commands = json.loads(sys.argv[1])
sys.path.insert(0, root)
for words in commands:
    sys.argv = [f"{root}/{words[0]}", *words[1:]]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
    print("STATUS", status, flush=True)
"""


def plant(source: Path, folder: Path, marker: Path, **settings: object) -> Path:
    """Copy a model that works, and let its configuration name code that touches a marker."""
    shutil.copytree(source, folder)
    code = f"""
        open({str(marker)!r}, "w").close()
        from transformers import BertConfig, BertModel, BertTokenizer
        class Config(BertConfig):
            model_type = "planted"
        class Model(BertModel):
            config_class = Config
        class Tokenizer(BertTokenizer):
            pass
    """
    (folder / "planted.py").write_text(textwrap.dedent(code), encoding="utf-8")
    names = {f"Auto{kind}": f"planted.{kind}" for kind in ("Config", "Model")}
    change(folder / "config.json", auto_map=names, **settings)
    tokenizer = {"AutoTokenizer": ["planted.Tokenizer", "planted.Tokenizer"]}
    change(folder / "tokenizer_config.json", auto_map=tokenizer)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": n, "name": str(n), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for n, (place, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    change(
        folder / "1_Pooling" / "config.json",
        word_embedding_dimension=32,
        pooling_mode_mean_tokens=True,
    )
    return folder


def change(file: Path, **settings: object) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(content | settings), encoding="utf-8")


def on_a_terminal(*command: str) -> str:
    """Run a command on a pty on which everything is answered with y; return what it printed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(command[0], command)
    os.write(terminal, b"y\n" * 30)
    said = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # Linux's word for the end
            break
        if not piece:
            break
        said += piece
    os.close(terminal)
    os.waitpid(pid, 0)
    return said.decode(errors="replace")


@pytest.mark.timeout(300)
def test_no_command_runs_the_code_of_a_model_folder(tiny_bert, tmp_path):
    marker, texts = tmp_path / "marker", tmp_path / "texts.txt"
    texts.write_text("a man plays guitar\na dog\n", encoding="utf-8")
    folder = plant(tiny_bert, tmp_path / "planted", marker, model_type="planted")
    places = [f"paths.{name}={tmp_path / name}" for name in ("results", "cache")]
    common = ["profile=demo", f"encoder.path={folder}", *places]
    evaluate = ["scripts/evaluate.py", "task=stsb", *common]
    commands = [
        ["train.py", *common, "trainer.max_steps=1", "wandb.mode=disabled"],
        [
            "scripts/encode.py",
            *common,
            "encoder=transformer",
            f"input={texts}",
            f"output={tmp_path / 'e.npy'}",
        ],
        [
            "scripts/search.py",
            *common,
            "encoder=transformer",
            f"corpus={texts}",
            f"queries={texts}",
        ],
        [*evaluate, "encoder=transformer"],
        [*evaluate, "encoder=padded"],
        [*evaluate, "encoder=released"],
    ]
    plan = json.dumps([str(ROOT), commands])
    said = on_a_terminal(sys.executable, "-c", RUN_ALL, plan)
    lines = [line.strip() for line in said.splitlines()]
    assert [line for line in lines if line.startswith("STATUS")] == ["STATUS 2"] * len(commands)
    errors = [line for line in lines if line.startswith("error: ")]
    expected = f"error: {folder}/config.json: transformers has no architecture 'planted'"
    assert len(errors) == len(commands) and all(line.startswith(expected) for line in errors), said
    assert not marker.exists()
    assert not [word for word in ("[y/N]", "trust_remote_code", "Traceback") if word in said]


READERS = [load, load_config, load_network, load_tokenizer]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["planted", "", None, 7, ["bert"]])
def test_an_unknown_architecture_is_one_line_that_names_the_file(
    tiny_bert, tmp_path, monkeypatch, read, kind
):
    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail("a prompt was shown"))
    folder = plant(tiny_bert, tmp_path / "planted", tmp_path / "marker", model_type=kind)
    with pytest.raises(UserError) as refused:
        read(folder)
    assert refused.value.where == str(folder / "config.json")
    assert "\n" not in str(refused.value) and "never run" in str(refused.value)
    assert not (tmp_path / "marker").exists()


def test_a_known_architecture_is_read_by_transformers_own_code(tiny_bert, tmp_path):
    folder = plant(tiny_bert, tmp_path / "planted", tmp_path / "marker")
    for read in READERS:
        read(folder)
    assert not (tmp_path / "marker").exists()


def test_a_configuration_that_makes_no_sense_is_one_line(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "odd")
    change(folder / "config.json", num_attention_heads="many", hidden_size=[1])
    with pytest.raises(UserError) as refused:
        load(folder)
    assert "\n" not in str(refused.value) and str(folder) in refused.value.where


def test_modules_of_others_are_not_imported_for_sentence_transformers(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "odd")
    marker = tmp_path / "marker"
    listed = [{"idx": 0, "name": "0", "path": "", "type": "planted.Module"}]
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / "planted.py").write_text(f"open({str(marker)!r}, 'w').close()", encoding="utf-8")
    with pytest.raises(UserError, match=r"modules.json: names planted.Module"):
        load_library_model(None, folder)
    (folder / "modules.json").write_text('{"type": 1}', encoding="utf-8")
    with pytest.raises(UserError, match=r"modules.json: damaged \(content: Input should be"):
        load_library_model(None, folder)
    assert not marker.exists()
