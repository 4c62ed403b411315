"""Recipes: every one that ships is valid, and every mistake in one is explained."""

import pytest

from vqcodec.errors import ConfigError
from vqcodec.recipes import config


@pytest.mark.parametrize("name", config.names())
def test_shipped_recipes_load_and_survive_a_round_trip(name: str) -> None:
    recipe = config.load(name)
    assert recipe.model.name == name
    assert config.from_dict(recipe.to_dict()) == recipe
    assert config.load(f"{name}.toml") == recipe


def test_the_default_recipe_ships() -> None:
    assert "speech_16k" in config.names()


def test_overrides() -> None:
    recipe = config.load(
        "speech_16k", ["run.steps=7", "optimizer.kind=muon", "data.gain_db=[-3.0, 3]", "model.latent_dim=32"]
    )
    assert recipe.run.steps == 7
    assert recipe.optimizer.kind == "muon"
    assert recipe.data.gain_db == (-3.0, 3.0)
    assert recipe.model.latent_dim == 32


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.step=7", "run.step is no known setting; did you mean run.steps?"),
        ("model.latent_dims=7", "model.latent_dims is no setting of a model; did you mean model.latent_dim?"),
        ("optimiser.kind=adamw", "optimiser is no known setting; did you mean optimizer?"),
        ("run.steps=0", "run.steps = 0"),
        ("run.steps=many", "run.steps = 'many'"),
        ("model.latent_dim=many", "model.latent_dim must be int"),
        ("model.kernel_size=0", "model.kernel_size = 0 is too small"),
        ("steps=7", "not of the form section.key=value"),
        ("run.steps", "not of the form section.key=value"),
    ],
)
def test_wrong_overrides_are_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        config.load("speech_16k", [override])
    assert message in str(caught.value)


def test_unknown_recipe(tmp_path) -> None:
    with pytest.raises(ConfigError, match="speech_16k"):
        config.load("music_96k")
    (tmp_path / "broken.toml").write_text("[run\n")
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        config.load(tmp_path / "broken.toml")
