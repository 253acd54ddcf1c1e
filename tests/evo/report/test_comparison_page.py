"""The page of a comparison: what it says, and in a real browser that it is silent, alone and safe and fits."""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evo.report.arms import group, read_result
from evo.report.compare import write_comparison
from evo.report.comparison import compare_arms
from evo.report.headline import headline, tell
from evo.report.marks import Scale
from evo.report.statistics import Interval
from tests.browser import CHROMIUM, Browser
from tests.evo import fake_ablation, fake_run

FEW = {"joint": 0.74, "selection": 0.5, "grpo": 0.72}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return fake_ablation.write(tmp_path_factory.mktemp("few"), FEW, seeds=6)


@pytest.fixture(scope="module")
def page(few: list[Path]) -> Path:
    write_comparison(few)
    return few[0].parent / "comparison" / "report.html"


def check(browser: Browser, path: Path) -> None:
    assert browser.complaints == []
    assert browser.requests == [path.as_uri()]
    assert browser.nameless() == []
    assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.ask("window.hacked") is None


def said(folders: list[Path], against: str | None = None) -> str:
    arms = group([read_result(folder) for folder in folders])
    return headline(compare_arms(arms, np.random.default_rng(0), against))


def test_one_sentence_says_what_was_found(few: list[Path]) -> None:
    assert said(few).startswith("joint beats selection by 0.24 (0.")
    assert said(few).endswith("); no difference can be told between joint and grpo.")
    assert said(few, "grpo").startswith("selection falls short of grpo by 0.22 (0.")
    assert said(few, "selection").startswith("joint beats selection by 0.24 (0.")
    assert said(few, "selection").endswith("), and so does grpo.")
    assert said(few[:6]).startswith("joint scores 0.74 (0.")
    assert said(few[:6]).endswith("over 6 runs; there is no other arm to compare it with.")
    assert said([*few[:6], *few[12:]]) == "no difference can be told between joint and grpo."


def test_nothing_is_said_to_be_less_than_nothing() -> None:
    assert tell(Interval(-0.004, -0.01, 0.003)) == "0.00 (-0.01 to 0.00)"
    assert tell(Interval(0.5, math.nan, math.nan)) == "0.50"


def test_too_few_runs_to_tell_anything_are_said(few: list[Path]) -> None:
    # Three runs of each: of all 20 ways to deal six out, two are as extreme, and there are three pairs.
    arms = group([read_result(few[start + run]) for start in (0, 6, 12) for run in range(3)])
    told = [one for one in compare_arms(arms, np.random.default_rng(0)).warnings if "however large" in one]
    assert told[0].startswith(
        "no difference can be told, however large: for 3 pairs of so few runs p (Holm) is at least 0.3"
    )


@pytest.mark.parametrize(("low", "high", "marks"), [(-0.1, 1.1, [0, 0.25, 0.5, 0.75, 1]), (0, 30, [0, 10, 20, 30])])
def test_scales_have_round_numbers(low: float, high: float, marks: list[float]) -> None:
    assert Scale(low, high).marks() == marks
    assert Scale(low, high).place((low + high) / 2) == pytest.approx(50)


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_the_page_is_silent_alone_and_fits(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width=width, prefers_color_scheme=scheme)
    check(browser, page)
    assert "joint beats selection by 0.24" in browser.ask("document.querySelector('.headline').textContent")
    dots = "document.querySelectorAll('.strips li:first-child .dot').length"
    assert browser.ask(dots) == 6  # a dot for every run of the best arm
    dark = browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert dark == (scheme == "dark")
    texts = "[...document.querySelectorAll('.axis text, td, .ends, .panel span')]"
    assert browser.ask(f"Math.min(...{texts}.map(text => parseFloat(getComputedStyle(text).fontSize)))") >= 12


def test_every_run_is_reached_with_keys_and_its_link_leads_to_its_page(browser: Browser, page: Path) -> None:
    browser.open(page)
    links = browser.ask("[...document.querySelectorAll('a')].map(link => link.href)")
    assert len(links) == 18
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)
    reached = []
    for _ in range(60):
        browser.press("Tab")
        reached.append(browser.ask("document.activeElement.tagName + document.activeElement.textContent.slice(0, 7)"))
    assert {"Ajoint-0", "Agrpo-5"} <= {*reached}
    assert any(one.startswith("SUMMARY") for one in reached)


def test_every_way_to_end_has_its_colour_in_every_generation(browser: Browser, tmp_path: Path) -> None:
    folders = fake_ablation.write(tmp_path, {"joint": 0.7}, seeds=7)  # as many as there are colours
    write_comparison(folders)
    browser.open(tmp_path / "comparison" / "report.html")
    keys = browser.ask("[...document.querySelectorAll('.key li')].map(one => one.textContent)")
    paints = browser.ask("[...document.querySelectorAll('.key span')].map(s => getComputedStyle(s).backgroundColor)")
    assert len(keys) == len({*keys}) == len({*paints}) > 2
    (panel,) = (
        one
        for one in browser.ask("[...document.querySelectorAll('.panel svg')].map(one => one.ariaLabel)")
        if "how lives ended" in one
    )
    counted = [Counter[str]() for _ in range(2)]
    for run in map(read_result, folders):
        for total, record in zip(counted, (run.generations[0], run.generations[-1]), strict=True):
            total.update(dict(record.deaths))
    first, last = (f"{100 * total['outlived'] / total.total():.0f}%" for total in counted)
    assert panel == f"joint: how lives ended by generation; outlived {first} to {last}"


def test_names_and_settings_stay_texts(browser: Browser, tmp_path: Path) -> None:
    folders = fake_ablation.write(tmp_path, {"a&b<i>": 0.7, "plain": 0.2}, seeds=2)
    for folder in folders:
        settings = (folder / "config.yaml").read_text()
        told = repr(fake_run.HOSTILE + folder.name[:1]).replace("'", "''").strip('"')
        (folder / "config.yaml").write_text(settings + f"told: '{told}'\n")
        summary = read_result(folder).summary
        rows = tuple(summary.heldout)
        hostile = replace(summary, run=fake_run.HOSTILE, environment=fake_run.HOSTILE, heldout=rows)
        (folder / "summary.json").write_text(hostile.to_json())
    write_comparison(folders)
    path = tmp_path / "comparison" / "report.html"
    browser.open(path, width=390)
    check(browser, path)
    assert "a&b<i>" in browser.ask("document.querySelector('.strips').textContent")
    assert fake_run.HOSTILE.replace("\u2028", "") in browser.ask("document.body.textContent").replace("\u2028", "")


def test_runs_without_curves_pages_or_company_have_a_page(browser: Browser, tmp_path: Path) -> None:
    (folder,) = fake_ablation.write(tmp_path, {"frozen": 0.23}, seeds=1)
    for name in ("report.html", "generations.parquet"):
        (folder / name).unlink()
    write_comparison([folder])
    path = tmp_path / "comparison" / "report.html"
    browser.open(path, width=390)
    check(browser, path)
    text = browser.ask("document.body.textContent")
    assert "1 arm in 1 run" in text
    assert "no curves, generations are not known" in text
    assert browser.ask("document.querySelectorAll('a').length") == 0
    assert browser.ask("[...document.querySelectorAll('h2')].map(h => h.textContent)") == ["Held-out scores", "Runs"]


@pytest.mark.slow
def test_eleven_arms_of_ten_seeds_are_small_and_take_seconds(browser: Browser, tmp_path: Path) -> None:
    folders = fake_ablation.write(tmp_path)
    since = time.process_time()
    write_comparison(folders)
    assert time.process_time() - since < 60  # of this process: others may use the machine
    path = tmp_path / "comparison" / "report.html"
    assert path.stat().st_size < 1_000_000
    for width in (1200, 390):
        browser.open(path, width=width)
        check(browser, path)
        names = browser.ask("[...document.querySelectorAll('.strips .name')].map(e => [e.scrollWidth, e.clientWidth])")
        assert len(names) == 22
        assert all(needed <= there for needed, there in names)


def test_where_the_gain_sits_is_told_of_arms_that_have_two_parts(browser: Browser, tmp_path: Path) -> None:
    folders = fake_ablation.write(tmp_path, {"joint": 0.74, "prompt_only": 0.5, "adapter_only": 0.4, "frozen": 0.23}, 6)
    found = compare_arms(group([read_result(folder) for folder in folders]), np.random.default_rng(0))
    (one,) = found.splits
    assert (one.arm, one.runs) == ("joint", 6)
    assert [one.prompt.value, one.weights.value] == pytest.approx([0.1, 0.2])
    # Its runs score 0.69, 0.71 to 0.79; neither part has 0.23, and both alone account for 0.3 of the rest.
    assert (one.whole.value, one.interaction.value) == pytest.approx((0.74 - 0.23, 0.74 - 0.23 - 0.3))
    assert one.prompt.low == pytest.approx(one.prompt.high)  # the same in all runs
    assert 0.69 - 0.53 < one.interaction.low < one.interaction.value < one.interaction.high < 0.79 - 0.53
    text = write_comparison(folders)
    assert "| where the gain sits | runs | prompt | weights | interaction | whole |" in text
    assert "| joint | 6 | 0.10 (0.10 to 0.10) | 0.20 (0.20 to 0.20) | 0.21 (" in text
    told = json.loads((tmp_path / "comparison/comparison.json").read_text())
    assert [split["arm"] for split in told["splits"]] == ["joint"]
    assert told["splits"][0]["weights"]["value"] == pytest.approx(0.2)
    path = tmp_path / "comparison" / "report.html"
    browser.open(path, width=390)
    check(browser, path)
    assert "Where the gain sits" in browser.ask("document.body.textContent")
