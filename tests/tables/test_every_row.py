"""Every row of every table composes in every profile, or says that its encoder is not there."""

import re

import pytest

from sbert_repro.config import CONFIG_DIR
from sbert_repro.tables import spec

PROFILES = sorted(path.stem for path in (CONFIG_DIR / "profile").glob("*.yaml"))
NOT_THERE = re.compile(
    r"encoder not available: configs/encoder/\w+\.yaml does not exist"
    r"|no stand-in for \w+ in profile \w+"
    r"|the paper's number is that of .+; there is no model to run"
)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", spec.existing())
def test_every_row_composes(planned, name, profile):
    made = planned(profile, table=spec.load(name))
    said = {subject.reason for subject in made.subjects if subject.reason}
    assert [reason for reason in said if not NOT_THERE.fullmatch(reason)] == []
    assert any(not subject.reason for subject in made.subjects)
