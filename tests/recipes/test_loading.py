"""Recipes: every one that ships is valid, and every mistake in one is explained."""

from pathlib import Path
from typing import get_args

import pytest

from vqcodec.errors import ConfigError
from vqcodec.models.kinds import KINDS
from vqcodec.recipes import config, loading


@pytest.mark.parametrize("name", loading.names())
def test_shipped_recipes_load_and_survive_a_round_trip(name: str) -> None:
    recipe = loading.load(name)
    assert recipe.model.name == name
    assert loading.from_dict(recipe.to_dict()) == recipe
    assert loading.load(f"{name}.toml") == recipe


def test_the_default_recipe_ships() -> None:
    assert "speech_16k" in loading.names()


def test_overrides() -> None:
    recipe = loading.load(
        "speech_16k", ["run.steps=7", "optimizer.kind=muon", "data.gain_db=[-3.0, 3]", "model.latent_dim=32"]
    )
    assert recipe.run.steps == 7
    assert recipe.optimizer.kind == "muon"
    assert recipe.data.gain_db == (-3.0, 3.0)
    assert recipe.model.latent_dim == 32


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.step=7", "run.step is not a known setting; did you mean run.steps?"),
        ("model.latent_dims=7", "model.latent_dims is not a setting of a model; did you mean model.latent_dim?"),
        ("optimiser.kind=adamw", "optimiser is not a known setting; did you mean optimizer?"),
        ("optimizer.lr=1", "optimizer.lr is not a known setting; did you mean optimizer.learning_rate?"),
        ("data.bs=1", "data.bs is not a known setting; did you mean data.batch_size?"),
        ("run.steps=0", "run.steps = 0"),
        ("run.steps=many", "run.steps = 'many'"),
        ("model.latent_dim=many", "model.latent_dim must be int"),
        ("model.kernel_size=0", "model.kernel_size = 0 must lie between 1 and"),
        ("model.name=../../x", "model.name = '../../x' cannot name a file"),
        ("steps=7", "not of the form section.key=value"),
        ("run.steps", "not of the form section.key=value"),
        ("bottleneck.kind=rvk", "bottleneck.kind = 'rvk': input should be 'rvq', 'vq'"),
        ("bottleneck.level=3", "bottleneck.level is not a known setting; did you mean bottleneck.levels?"),
        ("model.bottleneck=vq", "model.bottleneck is not a setting of a recipe; set bottleneck.kind"),
        ("model.lattice_levels=3", "model.lattice_levels is not a setting of a recipe; set bottleneck.levels"),
        ("bottleneck.kind=vq", "model.num_stages = 12 must be 1"),
        ("bottleneck.kind=tree", "model.num_stages = 12 must be at most 1 with codebook_size = 1024"),
        ("loss.sparse_rho=1", "loss.sparse_rho = 1"),
    ],
)
def test_wrong_overrides_are_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        loading.load("speech_16k", [override])
    assert message in str(caught.value)


def test_the_section_of_the_bottleneck_makes_part_of_the_model() -> None:
    settings = ["bottleneck.kind=hierarchical", "bottleneck.coarse_stages=2", "bottleneck.levels=8"]
    recipe = loading.load("tiny", settings)
    assert (recipe.model.bottleneck, recipe.model.coarse_stages, recipe.model.lattice_levels) == ("hierarchical", 2, 8)
    values = recipe.to_dict()
    assert values["bottleneck"] == {"kind": "hierarchical", "levels": 8, "coarse_stages": 2}
    assert not config.OF_BOTTLENECK.keys() & values["model"].keys()
    assert loading.from_dict(values) == recipe


def test_recipes_of_before_there_were_bottlenecks_have_residual_ones() -> None:
    recipe = loading.load("tiny")
    values = recipe.to_dict()
    del values["bottleneck"], values["quantizer"]["learning"]
    for name in ("codebook", "divergence", "sparse", "sparse_rho", "contractive"):
        del values["loss"][name]
    assert loading.from_dict(values) == recipe
    assert recipe.model.bottleneck == "rvq"


@pytest.mark.parametrize(("section", "former"), loading.FORMER_NAMES)
def test_former_names_of_settings_are_accepted(section: str, former: str, tmp_path: Path) -> None:
    name, new = loading.FORMER_NAMES[section, former], 1 if section == "loss" else 0.3
    values = loading.load("tiny", [f"{section}.{name}={new}"]).to_dict()
    values[section][former] = values[section].pop(name)
    assert loading.from_dict(values).to_dict()[section][name] == new
    path = tmp_path / "old.toml"
    path.write_text(f"[{section}]\n{former} = {new}\n")
    assert loading.load(path).to_dict()[section][name] == new
    for either in (former, name):
        assert loading.load(path, [f"{section}.{either}=0"]).to_dict()[section][name] == 0
    path.write_text(f"[{section}]\n{former} = 1\n{name} = 1\n")
    with pytest.raises(ConfigError, match=f"{former} is the former name of {section}.{name}"):
        loading.load(path)


def test_a_recipe_may_have_every_kind_that_a_model_may_have() -> None:
    assert get_args(config.BottleneckConfig.model_fields["kind"].annotation) == tuple(KINDS)


def test_models_that_differ_by_their_bottleneck_are_of_other_sizes() -> None:
    first, second = (loading.load("tiny", [f"bottleneck.kind={kind}"]).model for kind in ("rvq", "vae"))
    assert loading.sizes_that_differ(first, second) == ["bottleneck rvq -> vae"]


def test_unknown_recipe(tmp_path) -> None:
    with pytest.raises(ConfigError, match="speech_16k"):
        loading.load("music_96k")
    (tmp_path / "broken.toml").write_text("[run\n")
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        loading.load(tmp_path / "broken.toml")
