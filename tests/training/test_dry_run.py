"""`said check` reports every mistake at once, and soon; without one, the budget of a run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from said_lightning.config.schema import ModelConfig
from said_lightning.errors import UserError
from said_lightning.training.budget import held_to_train, outlined, weights_held
from said_lightning.training.dry_run import check, validate_model_path
from said_lightning.training.run import run

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, time
from said_lightning.cli.app import app
try:
    app(["check", *sys.argv[1:]], standalone_mode=False)
except Exception as error:
    print(*error.messages, sep="\\n")
print("torch" in sys.modules, "transformers" in sys.modules)
spent = time.process_time()
import said_lightning.training.run
print(spent < (time.process_time() - spent) / 2)
"""


def mistakes(*arguments: str) -> tuple[str, ...]:
    """Return the mistakes of a command."""
    with pytest.raises(UserError) as caught:
        check(arguments)
    return caught.value.messages


def test_every_mistake_is_reported_at_once_in_half_the_time_of_trainings_imports(
    tmp_path: Path,
) -> None:
    glue = tmp_path
    (glue / "CoLA").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (glue / "CoLA" / name).write_text("a\t1\t\tgood\nb\t2\t\tbad\n")
    wrong = ["-m", "model=minlm", "model.path=/nowhere", "trainer.epochs=0", "d=hundred"]
    data = ["task=cola", f"task.data_dir={glue}", "task.rows={train:null,eval:null}"]
    found = []
    for arguments in (wrong, data):
        program = [sys.executable, "-c", PROGRAM, *arguments]
        process = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
        *lines, imported, soon = process.stdout.splitlines()
        assert (process.stderr, imported, soon) == ("", "False False", "True")
        found += lines
    assert found == [
        "model=minlm: no such model; did you mean 'minilm'?",
        "d=hundred: Value 'hundred' of type 'str' could not be converted to Integer",
        "trainer.epochs=0: expected at least 1",
        "model.path=/nowhere: no such folder; expected one with a config.json",
        f"{glue}/CoLA/train.tsv:2: column 'label': found '2'; expected 'unacceptable', "
        "'acceptable', '0', '1'",
        f"{glue}/CoLA/dev.tsv:2: column 'label': found '2'; expected 'unacceptable', "
        "'acceptable', '0', '1'",
    ]


def test_the_budget_is_that_of_the_run(tiny: list[str], tmp_path: Path, compose: Any) -> None:
    (text,) = check(tiny)
    folder, *lines = text.splitlines()
    budget = {line.split()[0]: line[7:] for line in lines}
    record = run(compose(tmp_path))
    sizes = ", ".join(f"{name} {group.D:,}" for name, group in record.groups.items())
    assert folder == next(tmp_path.rglob("result.json")).parent.relative_to(tmp_path).as_posix()
    assert budget["D"] == f"{record.D:,}" == "5,554"
    assert budget["d"] == f"20 = 16 theta + {record.m} lambda"
    assert budget["groups"] == sizes
    assert budget["rows"] == "22 train, 2 select (a tenth of train), 10 report (dev)"
    assert budget["steps"] == "6 = 2 epochs of 3 (22 rows)"
    program = "about 0.0 GB:" if torch.cuda.is_available() else "about 0.6 GB: 0.6 of the program,"
    assert budget["memory"].startswith(f"{program} 0.00 of weights")


def test_each_job_of_a_sweep_has_its_budget(tiny: list[str]) -> None:
    swept = ["-m", *tiny[:-1], "d=20,30", "method=full,said", "trainer.accumulate=2"]
    blocks = check(swept)
    assert len(blocks) == 3
    assert all("\nsteps  4 = 2 epochs of 2 (22 rows)" in block for block in blocks)
    assert sum("full fine-tuning" in block for block in blocks) == 1


def test_devices_share_the_steps(tiny: list[str]) -> None:
    (text,) = check([*tiny, "trainer.devices=3"])
    assert "\nsteps  2 = 2 epochs of 1 (22 rows)" in text


@pytest.mark.parametrize("method", ["full", "said"])
def test_bfloat16_weights_take_half_the_memory(method: str, compose: Any, tmp_path: Path) -> None:
    def held(precision: str) -> float:
        config = compose(tmp_path, f"method={method}", f"trainer.precision={precision}").config
        model = outlined(config)
        return weights_held(config, model) + held_to_train(config, model)

    assert held("bf16-true") == held("32-true") / 2 == held("bf16-mixed") / 2


def test_activations_that_are_computed_again_are_not_counted(tiny: list[str]) -> None:
    def gigabytes(*more: str) -> float:
        (text,) = check([*tiny, "trainer.batch_size=100000", "task.max_length=32", *more])
        found = re.search(r"^memory about ([\d.]+) GB", text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    once, again = gigabytes(), gigabytes("trainer.activation_checkpointing=true")
    layer = 100_000 * 32 * 16 * (36 + 16 * 32 / 16 + 12 * 2 * 32 / 16) / 1e9
    assert once - again == pytest.approx(layer - 2 * 100_000 * 32 * 16 * 4 / 1e9, abs=0.11)


def test_what_the_models_shape_forbids_is_reported(tiny: list[str]) -> None:
    assert mistakes("-m", *tiny[:-1], "d=3,20,6000") == (
        "d=3: expected at least 5, since SAID takes its m=4 lambdas out of d",
        "d=6000: the model has only D=5,554 trainable weights; d can be at most 5554",
    )
    assert mistakes(*tiny, "model.layers=3") == (
        "model.layers=3: the model has 2; layers can be at most that",
    )


def test_a_model_that_is_not_here_is_reported_with_the_command_that_fetches_it() -> None:
    model = ModelConfig(name="b", path="google-bert/bert-base-uncased", revision="main")
    assert validate_model_path(model) == [
        "model.path=google-bert/bert-base-uncased: not here, and HF_HUB_OFFLINE is set. Give a "
        "local folder with model.path=FOLDER, or fetch it where there is a network: "
        "hf download google-bert/bert-base-uncased --revision main"
    ]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "its config.json cannot be read: No such file"),
        ("{", "its config.json: Expecting property"),
    ],
)
def test_a_folder_without_a_config_is_reported(
    tmp_path: Path, config: str | None, reason: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    (message,) = validate_model_path(ModelConfig(name="b", path=str(tmp_path)))
    assert message.startswith(f"model.path={tmp_path}: {reason}")


@pytest.mark.parametrize("spoil", ["weights", "tokenizer", "config", "length"])
def test_what_check_refuses_of_a_model_is_refused_by_train_before_anything_is_written(
    spoil: str, encoder: Path, tiny: list[str], tmp_path: Path, main: Any
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder, folder)
    arguments = [f"model.path={folder}"]
    if spoil == "weights":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[:-1])
    elif spoil == "tokenizer":
        (folder / "tokenizer.json").write_text("{")
    elif spoil == "config":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 0}))
    else:
        arguments.append("task.max_length=33")
    (message,) = mistakes(*tiny, *arguments)
    assert message.startswith(("model.path=", "task.max_length="))
    ended = main(*arguments)
    assert (ended.code, ended.err.splitlines()) == (2, [message])
    assert not (tmp_path / "out").exists()
