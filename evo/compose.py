"""From YAML files and `field=value` overrides to one plain, resolved tree.

Owns everything that knows Hydra's composition: where `conf/` is, which overrides choose a file and which set a field,
and turning Hydra's errors into one sentence each. Does not own the meaning of a field: every override of a field is
accepted here, and `evo/build.py` names those that no component has. No `DictConfig` leaves this module, and nothing
heavy is imported. To add a swappable part, add a folder to `conf/` and a slot to `RunConfig`: nothing here changes.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evo.config import RunConfig
from fitness.errors import ConfigError, nearest
from fitness.secrets import without_secrets

CONF_FOLDER = Path(__file__).resolve().parent.parent / "conf"
"""Found beside the package and not by its name, so that a `conf` in the working folder cannot take its place."""

EXPERIMENT = "experiment"
"""The one group that is no part of a run: its files choose among the others."""

HYDRA_FIELDS = ("hydra.run.dir", "hydra.searchpath")
"""What may be set of Hydra's own: the run's folder, and more places to look for groups (`[file:///abs/conf]`)."""

NO_GROUPS = ("sweep",)
"""Folders of `conf/` whose files are no parts of a run: definitions of sweeps, for those who begin the runs."""

_FORCE = "++"
_KEY = re.compile(r"^\+{0,2}[\w./]+$")
_LINK = re.compile(r"^\$\{([\w.]+)\}$")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What a command line asks for, in plain Python values.

    Example:
        tree={"seed": 0, "selection": {"_target_": "evo.operators.selection.Tournament", "size": 3}, ...}
        links={"algorithm.population": "population"}
    """

    tree: dict[str, Any]
    """The resolved configuration, without Hydra's own part."""
    links: dict[str, str]
    """Dotted fields that only repeat another field, and which: a complaint names the one that the user set."""
    experiment: str
    """Name of the chosen file in `conf/experiment/`."""
    folder: Path
    """Where the run is to be written: `hydra.run.dir`."""

    @property
    def yaml(self) -> str:
        """The tree as YAML text."""
        return to_yaml(without_secrets(self.tree))


def compose_run(overrides: Sequence[str], conf_folder: Path = CONF_FOLDER) -> Composition:
    """Compose `conf/config.yaml` with the command line's overrides.

    Args:
        overrides: `field=value` for a field, `group=name` for a file of `conf/group/`.
        conf_folder: The folder that holds `config.yaml` and the groups.

    Raises:
        ConfigError: An override cannot be read, a group has no such file, a file is no UTF-8, a top field is unknown,
            or a reference leads nowhere. One line per problem.
    """
    with initialize_config_dir(str(conf_folder), version_base="1.3", job_name="forager"):
        try:
            checked = _check_overrides(overrides)
            config = compose("config", overrides=checked, return_hydra_config=True)
            composition = _flatten(config)
        except UnicodeDecodeError as error:
            raise ConfigError(_not_text(overrides, conf_folder, error)) from error
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError(_one_sentence(error)) from error
    _raise_if_any([*_unknown_fields(composition.tree), *_lost_overrides(checked, composition.tree)])
    return composition


def to_yaml(tree: dict[str, Any]) -> str:
    """Return plain values as YAML text, in the order given."""
    return OmegaConf.to_yaml(OmegaConf.create(tree))


def from_yaml(text: str, *, resolve: bool = True) -> dict[str, Any]:
    """Return the plain values that `to_yaml` wrote, with what references lead to unless `resolve` is false.

    Raises:
        ValueError: The text is something else.
    """
    try:
        tree = OmegaConf.to_container(OmegaConf.create(text), resolve=resolve)
    except (OmegaConfBaseException, yaml.YAMLError, RecursionError) as error:
        raise ValueError(_first_line(error)) from error
    if not isinstance(tree, dict):
        raise ValueError(f"expected fields and values, given a {type(tree).__name__}")
    return _as_mapping(tree)


def known_groups() -> set[str]:
    """Return the names of all groups of `conf/`, such as `variation/adapter_crossover`; while Hydra is initialised."""
    loader = GlobalHydra.instance().config_loader()
    tops = [name for name in loader.list_groups("") if name not in ("hydra", *NO_GROUPS)]
    return {*tops, *(f"{top}/{inner}" for top in tops for inner in loader.list_groups(top))}


def _check_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides as Hydra shall apply them, having named every one that cannot be read."""
    loader = GlobalHydra.instance().config_loader()
    groups = known_groups()
    places = [text for text in overrides if text.startswith("hydra.searchpath=")]
    checked: list[str] = []
    problems: list[str] = []
    for text in map(quoted, overrides):
        try:
            override = _parse(text)
            if override.key_or_group in groups:
                inner = loader.list_groups(EXPERIMENT) if override.key_or_group == EXPERIMENT else []
                options = [
                    f"{prefix}{name}"
                    for prefix in ("", *(f"{folder}/" for folder in inner))
                    for name in loader.get_group_options(
                        f"{override.key_or_group}/{prefix}".rstrip("/"), config_name="config", overrides=places
                    )
                ]
                checked.append(_check_choice(override, options))
            else:
                checked.append(_check_field(override, text))
        except ConfigError as problem:
            problems.append(str(problem))
    _raise_if_any(problems)
    return checked


def _raise_if_any(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))


def _check_field(override: Override, text: str) -> str:
    key = override.key_or_group
    if key in NO_GROUPS:
        raise ConfigError(f"{key}: expected a field or a group of the run, given {text}, which begins runs itself")
    if re.match(r"hydra\b", key):
        if key not in HYDRA_FIELDS:
            raise ConfigError(
                f"{key}: expected one of {', '.join(HYDRA_FIELDS)}, given {key}{nearest(key, HYDRA_FIELDS)}"
            )
        if key == "hydra.run.dir" and not str(override.value() or "").strip():
            raise ConfigError(f"{key}: expected a path, given {text}")
        return text
    # Set it whether or not the YAML mentions it: a component's own default is a field as well.
    return f"{_FORCE}{text.lstrip('+')}"


def quoted(text: str) -> str:
    """Put quotes around a value that Hydra's grammar knows nothing of, such as a path with a tilde or an umlaut."""
    key, equals, value = text.partition("=")
    if not equals or not _KEY.match(key) or not value or value[0] in "[{'\"$":
        return text
    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        escaped = value.replace("'", "\\'")
        return f"{key}='{escaped}'"
    return text


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(
            f"overrides: expected field=value, given {text!r} (lists are [a,b], and text of any kind stands in quotes)"
        ) from error
    if override.is_delete() or override.is_sweep_override() or override.package is not None:
        several = "; for each of several values: evolve --multirun" if override.is_sweep_override() else ""
        raise ConfigError(f"{override.key_or_group}: expected one value as field=value, given {text!r}{several}")
    return override


def _check_choice(override: Override, options: Sequence[str]) -> str:
    group, name = override.key_or_group, override.value()
    if name not in options:
        raise ConfigError(
            f"{group}: expected one of {', '.join(options)}, given {_given(name)}{nearest(str(name), options)}"
        )
    return f"{group}={name}"


def _flatten(config: DictConfig) -> Composition:
    hydra = config.hydra
    experiment, folder = str(hydra.runtime.choices[EXPERIMENT]), Path(str(hydra.run.dir)).expanduser()
    names = [str(name) for name in config if name != "hydra"]
    raw = OmegaConf.to_container(OmegaConf.masked_copy(config, names), resolve=False)
    tree = {name: _resolved(config[name]) for name in names}  # one by one, for a field may refer to Hydra's own part
    return Composition(tree=tree, links=dict(_links(raw, "")), experiment=experiment, folder=folder)


def _resolved(node: object) -> Any:
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node


def _as_mapping(tree: object) -> dict[str, Any]:
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _links(node: object, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _links(value, f"{field}.{key}" if field else str(key))
    elif isinstance(node, str) and (link := _LINK.match(node)):
        yield field, link[1]


def _unknown_fields(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield a complaint for every name at the top that is no field of a run."""
    valid = [field.name for field in dataclasses.fields(RunConfig)]
    choices = [*valid, EXPERIMENT]
    for name in tree:
        if name not in valid:
            yield (
                f"{name}: expected a field of the run ({', '.join(choices)}), given {name}={_given(tree[name])}"
                f"{nearest(name, choices)}"
            )


def _lost_overrides(checked: Sequence[str], tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield a complaint for every field that was set on a part that is switched off.

    What an experiment's file sets there may stay: the same file then serves with and without the part.
    """
    for text in checked:
        if text.startswith(_FORCE):
            key = text.removeprefix(_FORCE).partition("=")[0]
            top, _, rest = key.partition(".")
            node = tree.get(top)
            if rest and isinstance(node, Mapping) and node.get("_target_", ...) is None:
                yield f"{key}: expected no field, because {top} is switched off, given {text.removeprefix(_FORCE)}"


def _given(value: object) -> str:
    return "null" if value is None else str(value)


def _one_sentence(error: Exception) -> str:
    """Return what went wrong in a YAML file, with the valid names where Hydra knows them."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}: expected one of {', '.join(error.options)}, given {name}{nearest(name, error.options)}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: expected a value, given one that cannot be resolved ({_first_line(error)})"
    return f"{CONF_FOLDER.name}: expected files that can be composed, given some that cannot ({_first_line(error)})"


def _not_text(overrides: Sequence[str], conf_folder: Path, error: UnicodeDecodeError) -> str:
    """Name the file that is no UTF-8, among all that may have been read; Hydra does not say which it was."""
    found = re.findall(
        r"file://([^,\]'\"]+)", " ".join(one for one in overrides if one.startswith("hydra.searchpath="))
    )
    for path in (path for place in (*map(Path, found), conf_folder) for path in sorted(place.rglob("*.yaml"))):
        try:
            path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as reason:
            return f"{path}: expected a file in UTF-8, got one that is not ({_first_line(reason)})"
    return f"{conf_folder.name}: expected files in UTF-8, got one that is not ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    if isinstance(error, yaml.YAMLError):
        return " ".join(str(error).split())
    return (str(error).strip().splitlines() or [f"a {type(error).__name__}"])[0]
