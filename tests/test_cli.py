"""A user's mistake is one line on stderr and status 2; a bug of ours keeps its traceback."""

import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sbert_repro.cli import hydra_command, one_line_errors, quoted, split_words
from sbert_repro.compose import word_of
from sbert_repro.errors import UserError

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
    assert "ZeroDivisionError: a bug" in done.stderr


def test_a_sweep_runs_every_job_and_one_mistake_does_not_stop_the_others(tmp_path):
    done = command(tmp_path, "-m", "pooling=mean,max", "seed=range(1,4,2)")
    assert done.returncode == 2
    assert "pooling mean seed 3 ['pooling=mean', 'seed=3']" in done.stdout
    assert "pooling max seed 3 ['pooling=max', 'seed=3']" in done.stdout
    assert done.stderr.count("error: nli/train.parquet") == 2


def test_ctrl_c_is_one_line_and_status_130(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        one_line_errors(interrupted)
    assert stop.value.code == 130
    assert "goes on where" in capsys.readouterr().err


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


def test_a_commands_own_words_are_told_from_options():
    typed = ["table=1", "seed=1", "--dry-run", "+profile.x=1"]
    own, others, flags = split_words(typed, {"table": "", "jobs": "1"}, ["--dry-run"])
    assert own == {"table": "1", "jobs": "1"}
    assert others == ["seed=1", "+profile.x=1"] and flags == {"--dry-run"}
    assert split_words(["-h"], {})[2] == {"-h"}


@pytest.mark.parametrize("word", ["--dryrun", "stsb", "-x=1"])
def test_a_word_that_is_no_option_is_refused(word):
    with pytest.raises(UserError, match=f"{word}: no such option; there are name=value, --dry-run"):
        split_words([word], {"table": ""}, ["--dry-run"])


@pytest.mark.parametrize(
    "word", ["+hydra.callbacks.x._target_=os.x", "hydra.launcher._target_=a.B"]
)
def test_code_named_by_hydras_own_options_is_refused(monkeypatch, capsys, word):
    @hydra_command("train")
    def main(config, overrides):
        pytest.fail("the command ran")

    monkeypatch.setattr(sys, "argv", ["train.py", "data=stsb", word])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and "only components of sbert_repro" in capsys.readouterr().err
