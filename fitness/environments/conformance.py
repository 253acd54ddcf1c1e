"""An executable contract: what every environment must keep so that the rest of Forager can rely on it.

Owns `check_environment`, to be run over any `EnvironmentConfig`, ours or yours, and `digest`, the fingerprint of lives.
Does not own what is right in one world only: the rules of a world belong to that world's own tests.

To add a demand, write one small function that raises through `_demand` and name it in `_CHECKS`.

Example: `check_environment(MyConfig(horizon=50))` returns nothing, or raises `ConformanceError` that says what broke.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from fitness.environments.base import EnvironmentConfig, Ints, TextVectorEnv, random_actions
from fitness.environments.chance import uniform
from fitness.errors import ForagerError, StrategyError

_SEEDS = np.arange(700, 712, dtype=np.int64)
"""Worlds that every check is made on: half lived by chance, half by the expert."""
_CHANCE = 2_000_000
"""A stream of chance that no environment draws from."""
_WORD = re.compile(r"[a-z][a-z_]*")
_PRINTABLE = re.compile(r"[ -~]+")


class ConformanceError(ForagerError):
    """An environment breaks the contract."""


def check_environment(config: EnvironmentConfig) -> None:
    """Check that the environment of `config` keeps the contract of `fitness.environments.base`.

    Raises:
        ConformanceError: the first demand that is not met, with what was expected and what was given.
    """
    for check in _CHECKS:
        check(config)


def digest(config: EnvironmentConfig, seeds: Ints, actions: Ints) -> str:
    """Return the SHA-256 of all that n lives show: observations, vitals and ends, step by step.

    Args:
        config: makes the worlds.
        seeds: [n] world seeds.
        actions: [steps, n] index into the environment's action names.
    """
    return hashlib.sha256("".join(life_digests(config, seeds, actions)).encode()).hexdigest()


def life_digests(config: EnvironmentConfig, seeds: Ints, actions: Ints) -> list[str]:
    """Return what `digest` is made of: the SHA-256 of each of the n lives."""
    env = config.make(len(seeds))
    env.begin(np.asarray(seeds, np.int64), np.arange(len(seeds)))
    shas = [hashlib.sha256() for _ in seeds]
    for chosen in [*actions, None]:
        ends = np.stack([env.died, env.outlived, env.cause, env.length], axis=1).astype("<i8")
        vitals = np.asarray(env.vitals, "<f4")
        for sha, text, vital, end in zip(shas, env.observe(), vitals, ends, strict=True):
            sha.update(text.encode() + vital.tobytes() + end.tobytes())
        if chosen is not None:
            env.advance(chosen)
    return [sha.hexdigest() for sha in shas]


def sample_actions(config: EnvironmentConfig, seeds: Ints) -> Ints:
    """Return actions [horizon, n] worth checking: the first half of the lives by chance, the rest by the expert."""
    env = config.make(len(seeds))
    env.begin(seeds, np.arange(len(seeds)))
    lucky = np.arange(len(seeds)) < len(seeds) // 2
    actions = np.zeros((env.horizon, len(seeds)), np.int64)
    for step in range(env.horizon):
        actions[step] = np.where(lucky, random_actions(env, _luck(seeds, step)), env.expert_actions())
        env.advance(actions[step])
    return actions


def _check_names(config: EnvironmentConfig) -> None:
    """Names are plain words that differ; the environment has an id, a version, a manual and a horizon."""
    env = config.make(1)
    for field in ("action_names", "vital_names", "causes"):
        names = getattr(env, field)
        words = isinstance(names, tuple) and bool(names) and all(_WORD.fullmatch(str(name)) for name in names)
        _demand(words and len(set(names)) == len(names), field, "a tuple of different lower-case words", names)
    _demand(env.idle in ("", *env.action_names), "idle", "the name of an action, or an empty text", env.idle)
    for field, text in (("env_id", config.env_id), ("version", config.version), ("manual", env.manual)):
        _demand(isinstance(text, str) and bool(_PRINTABLE.fullmatch(text)), field, "printable ASCII text", text)
    _demand(isinstance(env.horizon, int) and env.horizon >= 1, "horizon", "an integer of at least 1", env.horizon)


def _check_spaces(config: EnvironmentConfig) -> None:
    """Gymnasium's spaces are declared for the batch, and nothing resets itself."""
    env = config.make(3)
    _demand(env.num_envs == 3, "num_envs", "3, as asked for", env.num_envs)
    mode = env.metadata.get("autoreset_mode")
    _demand(mode == AutoresetMode.DISABLED, "metadata['autoreset_mode']", "AutoresetMode.DISABLED", mode)
    actions = gymnasium.spaces.Discrete(len(env.action_names))
    _demand(env.single_action_space == actions, "single_action_space", actions, env.single_action_space)
    texts = env.single_observation_space
    _demand(isinstance(texts, gymnasium.spaces.Text), "single_observation_space", "a Text space", texts)


def _check_steps(config: EnvironmentConfig) -> None:
    """`reset` and `step` return Gymnasium's shapes and types; every text fits the declared space; rewards are right."""
    env, actions = config.make(len(_SEEDS)), sample_actions(config, _SEEDS)
    observations, info = env.reset(seed=_SEEDS.tolist())
    _demand(isinstance(info, dict), "reset's info", "a dict", info)
    _check_texts(env, observations)
    over = np.zeros(len(_SEEDS), bool)
    for chosen in actions:
        observations, reward, died, outlived, info = env.step(chosen)
        _check_texts(env, observations)
        _demand(isinstance(info, dict), "step's info", "a dict", info)
        for name, array in (("terminated", died), ("truncated", outlived)):
            _demand(_is_array(array, (env.num_envs,), np.bool_), name, f"bool [{env.num_envs}]", array)
        _demand(_is_array(reward, (env.num_envs,), np.float64), "reward", f"float64 [{env.num_envs}]", reward)
        right = np.array_equal(reward, (~over & ~died).astype(np.float64))
        _demand(right, "reward", "1 for a step survived and 0 for any other", reward)
        over = died | outlived


def _check_texts(env: TextVectorEnv, observations: Any) -> None:
    """Observations are one text per episode, printable ASCII, no longer than declared."""
    sized = isinstance(observations, tuple) and len(observations) == env.num_envs
    _demand(sized, "observations", f"a tuple of {env.num_envs} texts", observations)
    for text in observations:
        _demand(isinstance(text, str) and bool(_PRINTABLE.fullmatch(text)), "observation", "printable ASCII", text)
        longest = env.single_observation_space.max_length  # type: ignore[attr-defined]
        _demand(len(text) <= longest, "observation", f"at most {longest} characters", text)


def _check_ends(config: EnvironmentConfig) -> None:
    """A life ends by death or at the horizon, never both; causes are told of the dead and of nobody else."""
    env, actions = config.make(len(_SEEDS)), sample_actions(config, _SEEDS)
    env.begin(_SEEDS, np.arange(len(_SEEDS)))
    for step, chosen in enumerate([*actions, actions[-1]]):
        both = env.died & env.outlived
        _demand(not both.any(), "terminated, truncated", "never both", f"both in episodes {np.flatnonzero(both)}")
        _demand(_is_array(env.cause, (env.num_envs,), np.int64), "cause", f"int64 [{env.num_envs}]", env.cause)
        _demand(bool((env.cause < len(env.causes)).all()), "cause", f"below {len(env.causes)}", env.cause)
        told = np.array_equal(env.cause >= 0, env.died)
        _demand(told, "cause", f"at least 0 for the dead alone {np.flatnonzero(env.died)}", env.cause)
        lived = np.array_equal(env.length[~env.over], np.full((~env.over).sum(), step))
        _demand(lived, "length", f"{step} for all who live after {step} steps", env.length)
        late = env.length[env.outlived]
        _demand(bool((late == env.horizon).all()), "length", f"{env.horizon} for who outlived the horizon", late)
        env.advance(chosen)
    _demand(bool(env.over.all()), "over", f"all, after {env.horizon} steps", env.over)


def _check_rest(config: EnvironmentConfig) -> None:
    """Nothing about an episode changes once it is over."""
    env, actions = config.make(len(_SEEDS)), sample_actions(config, _SEEDS)
    env.begin(_SEEDS, np.arange(len(_SEEDS)))
    final: dict[int, tuple[Any, ...]] = {}
    for step in range(len(actions) + len(env.action_names)):
        shown = _shown(env)
        for i in np.flatnonzero(env.over).tolist():
            _demand(final.setdefault(i, shown[i]) == shown[i], "an ended episode", final[i], shown[i])
        env.advance(actions[step] if step < len(actions) else (np.arange(env.num_envs) + step) % len(env.action_names))


def _check_vitals(config: EnvironmentConfig) -> None:
    """Vitals are finite shares between 0 and 1, one column per name."""
    env, actions = config.make(len(_SEEDS)), sample_actions(config, _SEEDS)
    env.begin(_SEEDS, np.arange(len(_SEEDS)))
    shape = (env.num_envs, len(env.vital_names))
    for chosen in actions:
        env.advance(chosen)
        _demand(_is_array(env.vitals, shape, np.float32), "vitals", f"float32 {shape}", env.vitals)
        finite = bool((np.isfinite(env.vitals) & (env.vitals >= 0) & (env.vitals <= 1)).all())
        _demand(finite, "vitals", "finite numbers in [0, 1]", env.vitals)


def _check_pictures(config: EnvironmentConfig) -> None:
    """A map has lines of equal length made of the environment's signs, and drawing it changes nothing."""
    env, actions = config.make(len(_SEEDS)), sample_actions(config, _SEEDS)
    marks = {sign.mark for sign in env.signs}
    _demand(len(marks) == len(env.signs), "signs", "different marks", [sign.mark for sign in env.signs])
    env.begin(_SEEDS, np.arange(len(_SEEDS)))
    for chosen in actions:
        before = _shown(env)
        maps = env.picture()
        again = env.picture()
        _demand(isinstance(maps, list) and len(maps) == env.num_envs, "picture", f"{env.num_envs} maps", maps)
        _demand(again == maps and _shown(env) == before, "picture", "no change by drawing", "a changed episode")
        for one in maps:
            _demand(isinstance(one, str) and bool(one) == bool(marks), "picture", "a map if there are signs", one)
            _demand({*one} - {"\n"} <= marks, "picture", f"marks of signs ({''.join(sorted(marks))})", one)
            _demand(len({len(line) for line in one.split("\n")}) == 1, "picture", "lines of equal length", one)
        env.advance(chosen)


def _check_actions(config: EnvironmentConfig) -> None:
    """The expert's actions are legal, looking changes nothing, and illegal actions are refused."""
    env = config.make(4)
    env.reset(seed=_SEEDS[:4].tolist())
    before = _shown(env)
    expert = env.expert_actions()
    legal = _is_array(expert, (4,), np.int64) and bool(((expert >= 0) & (expert < len(env.action_names))).all())
    _demand(legal, "expert_actions", f"int64 [4] below {len(env.action_names)}", expert)
    _demand(_shown(env) == before, "observe, expert_actions", "no change by looking", "a changed episode")
    for illegal in (np.full(4, len(env.action_names)), np.full(4, -1), np.zeros(3, np.int64)):
        _demand(_refuses(partial(env.step, illegal)), "step", "a ValueError", f"none for actions {illegal}")
    _demand(_refuses(partial(env.reset, seed=[1, 2])), "reset", "a ValueError", "none for 2 seeds of 4")


def _check_determinism(config: EnvironmentConfig) -> None:
    """A life is a function of its own seed and actions: neighbours and their order do not matter, seeds do."""
    actions = sample_actions(config, _SEEDS)
    whole = life_digests(config, _SEEDS, actions)
    _demand(life_digests(config, _SEEDS, actions) == whole, "same seeds and actions", "the same lives", "others")
    order = np.argsort(_luck(_SEEDS, 0))
    shuffled = life_digests(config, _SEEDS[order], actions[:, order])
    _demand(shuffled == [whole[i] for i in order], "another order of the batch", "the same lives", "others")
    for i in (0, len(_SEEDS) - 1):
        alone = life_digests(config, _SEEDS[i : i + 1], actions[:, i : i + 1])
        _demand(alone == whole[i : i + 1], f"episode {i} without neighbours", "the same life", "another")
    same = np.repeat(actions[:, :1], len(_SEEDS), axis=1)
    different = len(set(life_digests(config, _SEEDS, same)))
    _demand(different > 1, f"{len(_SEEDS)} seeds under the same actions", "different lives", "one")


def _check_reset(config: EnvironmentConfig) -> None:
    """`reset_mask` begins the marked episodes anew and leaves the others; a batch can be used again."""
    env, actions = config.make(len(_SEEDS)), sample_actions(config, _SEEDS)
    env.reset(seed=_SEEDS.tolist())
    first = _shown(env)
    for chosen in actions:
        env.advance(chosen)
    last, mask = _shown(env), np.arange(len(_SEEDS)) % 3 == 0
    env.reset(seed=_SEEDS.tolist(), options={"reset_mask": mask})
    expected = [f if anew else x for f, x, anew in zip(first, last, mask, strict=True)]
    _demand(_shown(env) == expected, "reset_mask", "marked episodes begun, the others as they were", "something else")
    env.reset(seed=_SEEDS.tolist())
    _demand(_shown(env) == first, "reset after use", "the episodes as first begun", "something else")
    env.reset(seed=int(_SEEDS[0]))
    _demand(_shown(env) == first, f"reset(seed={_SEEDS[0]})", "seeds counted up from it", "something else")
    drawn = env.reset()[0]
    env.reset(seed=int(_SEEDS[0]))
    _demand(env.reset()[0] == drawn, "reset without a seed", "the worlds that follow from the last seed", "others")


def _check_grammar(config: EnvironmentConfig) -> None:
    """Every strategy that can be drawn reads back as it was written; nonsense is refused."""
    grammar, rng = config.make(1).grammar, np.random.default_rng(0)
    for _ in range(100):
        strategy = grammar.random(rng)
        text = grammar.render(strategy)
        _demand(bool(_PRINTABLE.fullmatch(text)), "grammar", "strategies in printable ASCII", text)
        _demand(grammar.parse(text) == strategy, "grammar", f"parse(render({strategy})) to return it", text)
    refused = _refuses(partial(grammar.parse, "no\tsuch\tclause."), StrategyError)
    _demand(refused, "grammar", "a StrategyError", "none for 'no\\tsuch\\tclause.'")


_CHECKS: Sequence[Callable[[EnvironmentConfig], None]] = (
    _check_names,
    _check_spaces,
    _check_actions,
    _check_steps,
    _check_ends,
    _check_rest,
    _check_vitals,
    _check_pictures,
    _check_determinism,
    _check_reset,
    _check_grammar,
)


def _demand(kept: bool, field: str, expected: object, given: object) -> None:
    """Raise unless a demand is kept."""
    if not kept:
        raise ConformanceError(f"{field}: expected {expected}, got {given!r}")


def _shown(env: TextVectorEnv) -> list[tuple[Any, ...]]:
    """Return, per episode, all that can be seen of it from outside."""
    columns = (env.observe(), env.vitals.tolist(), env.died, env.outlived, env.cause, env.length)
    return [(text, tuple(vitals), *map(int, ends)) for text, vitals, *ends in zip(*columns, strict=True)]


def _is_array(value: Any, shape: tuple[int, ...], dtype: type[Any]) -> bool:
    """Tell whether `value` is an array of this shape and type."""
    return isinstance(value, np.ndarray) and value.shape == shape and value.dtype == dtype


def _refuses(call: Callable[[], Any], error: type[Exception] = ValueError) -> bool:
    """Tell whether `call` raises `error`."""
    try:
        call()
    except error:
        return True
    return False


def _luck(seeds: Ints, step: int) -> NDArray[np.float64]:
    """Return a uniform number [n] per life."""
    return uniform(seeds, step, _CHANCE)[:, 0]
