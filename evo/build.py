"""The single composition root: from plain YAML values to frozen components, and from those to a run.

Owns `instantiate_component`, the only place that turns a `_target_` into an object, and `build_run`, which makes the
whole `RunConfig` and names every problem at once. Does not own reading YAML (`evo/compose.py`) or what a component
checks in its own `__post_init__`. A new component needs nothing here: write a frozen, keyword-only dataclass anywhere
that Python can import, and name it in a YAML file with `_target_`.
"""

import dataclasses
import hashlib
import importlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_object, instantiate

from evo.compose import Composition, compose_run, from_yaml, to_yaml
from evo.config import RunConfig
from evo.fields import describe, fit
from fitness.errors import ConfigError, OutputError, listed, nearest
from fitness.secrets import HIDDEN, is_secret, without_secrets

TARGET = "_target_"

_BROKEN = object()
"""Stands where a component could not be made and has been complained of."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that is ready to start: every field is checked, every component is made, nothing is on disk yet."""

    config: RunConfig
    """The components and numbers of the run."""
    folder: Path
    """Where it is to be written."""
    yaml: str
    """The resolved configuration with the components' defaults filled in; `config.yaml` of the run."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings in `yaml`; secrets do not count, which may have to be written there anew."""
        given = _flat(from_yaml(self.yaml, resolve=False))
        settings = {field: HIDDEN if is_secret(field) else value for field, value in given}
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def build_run(overrides: Sequence[str]) -> Plan:
    """Compose, check and make everything that the command line asks for.

    Args:
        overrides: As in `compose_run`.

    Raises:
        ConfigError: One line per problem, each with the dotted field, what was expected and what was given.
    """
    composition = compose_run(overrides)
    config = _make_config(composition.tree, composition.links)
    return Plan(
        config=config, folder=composition.folder, yaml=to_yaml(without_secrets(_complete_tree(composition, config)))
    )


def read_plan(folder: Path) -> Plan:
    """Return the plan that a run's config.yaml holds.

    Raises:
        OutputError: There is no such file, it is no YAML, or it lacks settings that every run has.
        ConfigError: As `build_run`.
    """
    path = folder / "config.yaml"
    try:
        text = path.read_text(encoding="utf-8")
        tree = from_yaml(text)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"run: expected the folder of a run (with config.yaml in it), given {folder} ({error})"
        ) from error
    missing = [field.name for field in dataclasses.fields(RunConfig) if field.name not in tree]
    if missing:
        raise OutputError(
            f"{path}: expected the settings of a run, got a file without {listed(missing)}: restore it, or begin a new "
            "run with `forager evolve`"
        )
    hidden = [field for field, value in _flat(tree) if HIDDEN in str(value)]
    if hidden:
        raise ConfigError(
            f"{hidden[0]}: expected a secret that can be had again, given {HIDDEN} in {path}: write it there for now, "
            f"and begin runs with a reference to a variable of the environment (${{oc.env:NAME}})"
        )
    return Plan(config=_make_config(tree, {}), folder=folder, yaml=text)


def _flat(node: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted field, value) of everything in `node`."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _flat(value, f"{field}.{name}" if field else str(name))
    else:
        yield field, node


def _make_config(tree: Mapping[str, Any], links: Mapping[str, str]) -> RunConfig:
    """Make the whole configuration, or name every problem."""
    problems = _Problems(links)
    arguments = {name: _make(node, name, problems) for name, node in tree.items()}
    config: RunConfig = _call(RunConfig, arguments, "", problems)
    problems.raise_if_any()
    return config


def instantiate_component(node: Mapping[str, Any], field: str) -> Any:
    """Make the component that `node` describes, with every component inside it.

    Args:
        node: Plain values with `_target_`, the dotted path of a class or function; `_target_: null` stands for None.
        field: Dotted name of the node in the configuration, for the messages.

    Raises:
        ConfigError: The target cannot be imported, a field is unknown or missing, or a value is refused; one line each.
    """
    problems = _Problems({})
    component = _make(node, field, problems)
    problems.raise_if_any()
    return component


class _Problems:
    """Collects one complaint for each field, under the name that the user set."""

    def __init__(self, links: Mapping[str, str]) -> None:
        self._links = links
        self._complaints: dict[str, str] = {}

    def add(self, field: str, complaint: str) -> None:
        if field in self._links:  # the field that it repeats may have a complaint of its own, which is the better one
            self._complaints.setdefault(self._links[field], complaint)
        else:
            self._complaints[field] = complaint

    def raise_if_any(self) -> None:
        if self._complaints:
            raise ConfigError("\n".join(f"{field}{complaint}" for field, complaint in self._complaints.items()))

    def __len__(self) -> int:
        return len(self._complaints)


def _make(node: Any, field: str, problems: _Problems) -> Any:
    """Return `node` with every mapping that has a `_target_` replaced by its component, at any depth."""
    if isinstance(node, Mapping):
        if TARGET in node and node[TARGET] is None:
            return None
        inner = {key: _make(value, f"{field}.{key}", problems) for key, value in node.items() if key != TARGET}
        if TARGET in node:
            return _make_target(str(node[TARGET]), inner, field, problems)
        return _whole(inner, inner.values())
    if isinstance(node, list):
        items = [_make(value, f"{field}[{index}]", problems) for index, value in enumerate(node)]
        return _whole(items, items)
    return node


def _whole(container: Any, members: Collection[Any]) -> Any:
    return _BROKEN if any(member is _BROKEN for member in members) else container


def _make_target(target: str, arguments: dict[str, Any], field: str, problems: _Problems) -> Any:
    try:
        # Made in two steps, because Hydra would turn the dataclasses among the arguments into its own containers.
        build = instantiate({TARGET: target, "_partial_": True})
        signature_of = get_object(target)
    except (HydraException, ImportError) as error:
        problems.add(f"{field}.{TARGET}", _why_not(target, error))
        return _BROKEN
    return _call(build, arguments, field, problems, signature_of)


def _why_not(target: str, error: Exception) -> str:
    if "blocklisted" in str(error):
        return f": expected the class of a component, given {target!r}, which could run any command"
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as reason:
        return f": expected the dotted path of a class, given {target!r} ({reason})"
    classes = [known for known, value in vars(module).items() if isinstance(value, type)]
    return f": expected the dotted path of a class, given {target!r}{nearest(name, classes)}"


def _call(
    build: Callable[..., Any],
    arguments: Mapping[str, Any],
    field: str,
    problems: _Problems,
    signature_of: Callable[..., Any] | None = None,
) -> Any:
    """Call `build` if every argument is known, there and of its type; else add to `problems` and return `_BROKEN`."""
    before = len(problems)
    hints = _hints(signature_of or build)
    _check_names(arguments, signature_of or build, field, problems)
    fitted = {}
    for name, value in arguments.items():
        try:
            fitted[name] = value if value is _BROKEN else fit(value, hints.get(name, Any))
        except TypeError as error:
            problems.add(_join(field, name), f": {error}")
    if len(problems) > before or any(value is _BROKEN for value in fitted.values()):
        return _BROKEN
    try:
        return build(**fitted)
    except HydraException as error:
        _add_refusal(error.__cause__ or error, field, list(fitted), problems)
    except (ValueError, TypeError) as error:
        _add_refusal(error, field, list(fitted), problems)
    return _BROKEN


def _check_names(arguments: Mapping[str, Any], build: Callable[..., Any], field: str, problems: _Problems) -> None:
    parameters = inspect.signature(build).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    valid, hints = list(parameters), _hints(build)
    for name, value in arguments.items():
        if name not in valid:
            where = field or "the run"
            problems.add(
                _join(field, name),
                f": expected a field of {where} ({', '.join(valid) or 'it has none'}), given {name}={value}"
                f"{nearest(name, valid)}",
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            problems.add(_join(field, name), f": expected {describe(hints.get(name, 'a value'))}, given nothing")


def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations by parameter; none where they name what only a type checker imports."""
    try:
        return typing.get_type_hints(build.__init__ if isinstance(build, type) else build)  # type: ignore[misc]
    except (NameError, TypeError):
        return {}


def _add_refusal(error: BaseException, field: str, names: list[str], problems: _Problems) -> None:
    """Add a component's own complaint, line by line, under the dotted field that the line begins with."""
    for line in str(error).splitlines():
        path, colon, rest = line.partition(":")
        path = path.removeprefix(f"{field}.")
        if colon and re.split(r"[.\[]", path)[0] in names:
            problems.add(_join(field, path), f":{rest}")
        else:
            problems.add(field, f": {line}" if field else line)


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _complete_tree(composition: Composition, config: RunConfig) -> dict[str, Any]:
    """Return the composed tree with every component's defaults, so that a run's file says all that it ran with."""
    return {name: _complete(node, getattr(config, name)) for name, node in composition.tree.items()}


def _complete(node: Any, made: Any) -> Any:
    if not isinstance(node, Mapping) or not dataclasses.is_dataclass(made):
        return node
    defaults = {field.name: getattr(made, field.name) for field in dataclasses.fields(made) if field.init}
    plain = {name: _plain(value) for name, value in defaults.items() if name not in node}
    inner = {key: _complete(value, getattr(made, key, None)) for key, value in node.items()}
    return {**inner, **{name: value for name, value in plain.items() if value is not _HIDDEN}}


_HIDDEN = object()


def _plain(value: Any) -> Any:
    """Return `value` as YAML can hold it; `_HIDDEN` for what no YAML could have said."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _HIDDEN if any(item is _HIDDEN for item in items) else items
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else _HIDDEN
