"""A user's mistake is one line on stderr and status 2; a bug of ours keeps its traceback."""

import ast
import errno
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from sbert_repro.cli import hydra_command, one_line_errors, quoted, split_flags, split_words
from sbert_repro.compose import options_of, word_of
from sbert_repro.errors import UserError
from sbert_repro.signals import Interrupted

ROOT = Path(__file__).resolve().parents[1]

SAYS = """
from sbert_repro.cli import hydra_command
from sbert_repro.compose import word_of
from sbert_repro.errors import UserError

@hydra_command("train")
def main(config, overrides):
    if config.seed == 1:
        raise UserError("nli/train.parquet: no such file: run `make data`")
    if config.seed == 2:
        raise ZeroDivisionError("a bug")
    print(f"pooling {word_of(config.pooling)} seed {config.seed} {overrides}")

main()
"""


def command(folder, *overrides):
    return subprocess.run(
        [sys.executable, "-c", SAYS, *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_users_mistake_is_one_line_and_status_2(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: nli/train.parquet: no such file: run `make data`\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_one_line_and_status_2(tmp_path):
    done = command(tmp_path, "poling=max")
    assert done.returncode == 2
    assert done.stderr.startswith("error: poling: there is no such option (did you mean pooling?)")
    assert done.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback(tmp_path):
    done = command(tmp_path, "seed=2")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and "ZeroDivisionError: a bug" in done.stderr
    assert "overrides" not in done.stderr, "Hydra would quote all that was typed"


def test_a_sweep_runs_every_job_and_one_mistake_does_not_stop_the_others(tmp_path):
    done = command(tmp_path, "-m", "pooling=mean,max", "seed=range(1,4,2)")
    assert done.returncode == 2
    assert "pooling mean seed 3 ['pooling=mean', 'seed=3']" in done.stdout
    assert "pooling max seed 3 ['pooling=max', 'seed=3']" in done.stdout
    assert done.stderr.count("error: nli/train.parquet") == 2
    assert "\n2. pooling=mean seed=3\n" in done.stdout and "#" not in done.stderr
    assert done.stdout.endswith(
        "\nAll runs:\n"
        "  pooling=mean seed=1  failed: nli/train.parquet: no such file: run `make data`\n"
        "  pooling=mean seed=3  done\n"
        "  pooling=max seed=1   failed: nli/train.parquet: no such file: run `make data`\n"
        "  pooling=max seed=3   done\n"
    )


@pytest.mark.parametrize(
    ("stopped", "where"),
    [
        (KeyboardInterrupt(), "where this one stopped"),
        (Interrupted(0, 9), "with this training from its beginning"),
        (Interrupted(1500, 9000), "with this training at step 1,500 of 9,000"),
    ],
)
def test_ctrl_c_is_one_line_and_status_130(capsys, stopped, where):
    def interrupted():
        raise stopped

    with pytest.raises(SystemExit) as stop:
        one_line_errors(interrupted)
    assert stop.value.code == 130
    assert capsys.readouterr().err == f"interrupted: the same command goes on {where}\n"


def test_the_same_process_may_run_two_commands(monkeypatch, capsys):
    seen = []

    @hydra_command("train")
    def main(config, overrides):
        seen.append((word_of(config.loss), overrides))
        if len(seen) == 1:
            raise UserError("first")

    for loss in ("regression", "triplet"):
        monkeypatch.setattr(sys, "argv", ["train.py", f"loss={loss}", "data=stsb"])
        if seen:
            main()
        else:
            with pytest.raises(SystemExit):
                main()
    assert seen == [
        ("regression", ["loss=regression", "data=stsb"]),
        ("triplet", ["loss=triplet", "data=stsb"]),
    ]


PARSER = OverridesParser.create()


@pytest.mark.parametrize(
    "value", ["stsb", "sts12,stsb", "[a,b]", "12345678e9012345", "0123456789012345", "'sts,stsb'"]
)
def test_values_survive_hydras_grammar(value):
    parsed = PARSER.parse_override(quoted([f"task={value}"], {"task"})[0])
    assert parsed.value() == value.strip("'")
    assert not parsed.is_sweep_override()


def test_only_named_options_are_quoted_and_none_in_a_sweep():
    words = ["encoder=a", "tasks=a,b", "task=", "task=null", "--cfg"]
    assert quoted(words, {"task"}) == words
    assert quoted(["-m", "task=a,b"], {"task"}) == ["-m", "task=a,b"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("-m a=1,2 b=3", "a=1,2 b=3 -m"),
        ("a=1 --cfg job b=2 -p trainer", "a=1 b=2 --cfg job -p trainer"),
        ("--cfg=all a=1", "a=1 --cfg=all"),
        ("--info a=1", "a=1 --info"),
        ("--info config a=1 b", "a=1 b --info config"),
    ],
)
def test_hydras_flags_may_stand_anywhere(typed, expected):
    words, flags = split_flags(typed.split())
    assert [*words, *flags] == expected.split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--nonsense", "--nonsense: no such flag; there are --cfg, "),
        ("-x=1", "-x=1: no such flag"),
        ("--cfg nothing", "--cfg nothing: expected one of: job, hydra, all"),
        ("a=1 --cfg", "--cfg: a word is missing behind it"),
        ("--resolve", "--resolve: belongs to --cfg: add --cfg job"),
        ("--info all -m", "--info -m: one of them at a time"),
        ("--config-dir /tmp", "--config-dir: all options are in configs/"),
    ],
)
def test_a_flag_that_hydra_would_answer_with_its_usage_is_one_line(typed, said):
    with pytest.raises(UserError) as refused:
        split_flags(typed.split())
    assert str(refused.value).startswith(said)


def test_a_sweep_and_the_options_are_had_wherever_the_flag_stands(tmp_path):
    done = command(tmp_path, "seed=4", "-m", "pooling=mean,max")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pooling m") == 2
    alone = command(tmp_path, "seed=4", "-m")
    assert alone.stdout.endswith("\nAll runs:\n  seed=4  done\n")
    shown = command(tmp_path, "--cfg", "job", "seed=4")
    assert shown.returncode == 0, shown.stderr
    assert "\nseed: 4\n" in shown.stdout and "pooling m" not in shown.stdout


def test_a_commands_own_words_are_told_from_options():
    typed = ["table=3", "table=1", "seed=1", "--dry-run", "+profile.x=1"]
    own, others, flags = split_words(typed, {"table": "", "jobs": "1"}, ["--dry-run"])
    assert own == {"table": "1", "jobs": "1"}
    assert others == ["seed=1", "+profile.x=1"] and flags == {"--dry-run"}
    assert split_words(["-h"], {})[2] == {"-h"}


@pytest.mark.parametrize("word", ["--dryrun", "stsb", "-x=1"])
def test_a_word_that_is_no_option_is_refused(word):
    with pytest.raises(UserError, match=f"{word}: no such option; there are name=value, --dry-run"):
        split_words([word], {"table": ""}, ["--dry-run"])


@pytest.mark.parametrize(
    "word", ["+hydra.callbacks.x._target_=os.x", "hydra.launcher._target_=a.B", "--config-dir=x"]
)
def test_code_named_by_hydras_own_options_is_refused(monkeypatch, capsys, word):
    @hydra_command("train")
    def main(config, overrides):
        pytest.fail("the command ran")

    monkeypatch.setattr(sys, "argv", ["train.py", "data=stsb", word])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "is Hydra's own and fixed here" in said or "all options are in configs/" in said


def ended(command, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        one_line_errors(command)
    return stop.value.code, capsys.readouterr().err


def raising(problem):
    def command():
        raise problem

    return command


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (OSError(errno.ENOSPC, "x", "a.npy"), "a.npy: refused by the system: no space left on"),
        (OSError(errno.ENAMETOOLONG, "x", "a" * 999), "…: refused by the system: the name is too"),
        (PermissionError(errno.EACCES, "x", "a"), "a: refused by the system: permission denied"),
        (MemoryError(), "out of memory: free some"),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, problem, said):
    code, line = ended(raising(problem), capsys)
    assert code == 2 and line.startswith("error: ") and said in line and line.count("\n") == 1
    assert len(line) < 500


def test_memory_that_torch_is_refused_is_one_line(capsys):
    code, line = ended(lambda: torch.empty(2**50), capsys)
    assert (code, line) == (2, ended(raising(MemoryError()), capsys)[1])
    code, said = ended(lambda: torch.empty(2) @ torch.empty(3), capsys)
    assert code == 1 and said.startswith("Traceback")


def test_a_traceback_is_shown_without_secrets(capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_KEY", "0123456789abc")
    code, said = ended(raising(ValueError("of 0123456789abc")), capsys)
    assert code == 1 and said.startswith("Traceback") and said.endswith("of <hidden>\n")


PRINTS = """
import sys
from sbert_repro.cli import one_line_errors
one_line_errors(lambda: print("r\\u00e9sum\\u00e9 \\u00b1" + " x" * int(sys.argv[1])))
"""


def printed(folder, redirection, **variables):
    line = f"exec \"{sys.executable}\" -c '{PRINTS}' {redirection}"
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
    )


def test_a_closed_a_full_and_a_plain_output_are_no_tracebacks(tmp_path):
    for closed in ("1 >&-", "1 2>&-", "1 >&- 2>&- <&-", "1 2>/dev/full"):
        assert printed(tmp_path, closed).returncode == 0
    ascii_only = printed(tmp_path, "1", PYTHONIOENCODING="ascii")
    assert (ascii_only.returncode, ascii_only.stdout) == (0, b"r\\xe9sum\\xe9 \\xb1 x\n")
    if Path("/dev/full").exists():
        full = printed(tmp_path, "1 >/dev/full")
        assert full.returncode == 2
        assert full.stderr.startswith(b"error: standard output: refused by the system: no space")
        assert full.stderr.count(b"\n") == 1
    gone = printed(tmp_path, "100000 | head -c 5; exit ${PIPESTATUS[0]}")
    assert gone.stderr == b""


def test_what_is_opened_later_is_not_taken_for_an_output_that_was_closed(tmp_path):
    code = """
import os, sys
from sbert_repro.cli import one_line_errors
def write():
    with open("f", "w") as f:
        os.system("echo from elsewhere")
        f.write("mine")
one_line_errors(write)
"""
    subprocess.run(
        ["bash", "-c", f"exec '{sys.executable}' -c '{code}' >&-"], cwd=tmp_path, check=True
    )
    assert (tmp_path / "f").read_text() == "mine"


@pytest.mark.parametrize("name", ["train", "encode", "evaluate", "search", "export"])
def test_help_says_what_may_be_chosen_and_every_option(name, monkeypatch, capsys):
    path = ROOT / ("train.py" if name == "train" else f"scripts/{name}.py")
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert said.startswith(str(ast.get_docstring(ast.parse(path.read_text()))).splitlines()[0])
    assert "powered by Hydra" not in said and "_target_" not in said
    known = {k for k in options_of(name) if "." in k and "_target_" not in k}
    shown = {line.strip().partition("=")[0] for line in said.splitlines() if "=" in line}
    left = {k for k in known - shown if not k.startswith(("profile.", "classifier."))}
    parents = {k.rpartition(".")[0] for k in known}
    assert left <= parents, left
    if name == "train":
        assert "pooling: cls max mean" in said and "last | second_to_last" in said


OF_THE_CHECKOUT = {"lock", "data_cards"}
SCRIPTS = [path for path in (ROOT / "scripts").glob("*.py") if path.stem not in OF_THE_CHECKOUT]


@pytest.mark.parametrize("path", sorted(SCRIPTS), ids=lambda path: path.stem)
def test_every_script_answers_a_call_for_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        assert not end.code
    said, first = capsys.readouterr().out, ast.get_docstring(ast.parse(path.read_text()))
    assert said.startswith(str(first).splitlines()[0]) and f"python scripts/{path.name}" in said


def test_help_shows_what_a_word_brings(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "trainer.batch_size=32", "optimizer=adamw", "-h"])
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "trainer.batch_size=32" in said and "optimizer.correct_bias=true" in said


TERMINATES_ITSELF = """
import os, signal
from sbert_repro.cli import one_line_errors

def command():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("locks are freed")

before = signal.getsignal(signal.SIGTERM)
try:
    one_line_errors(command)
finally:
    assert signal.getsignal(signal.SIGTERM) == before
"""


def test_sigterm_ends_a_command_in_one_line_after_its_finally_blocks():
    ended = subprocess.run(
        [sys.executable, "-c", TERMINATES_ITSELF], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (143, "locks are freed\n")
    assert ended.stderr == ("ended by SIGTERM: the same command goes on where this one stopped\n")
