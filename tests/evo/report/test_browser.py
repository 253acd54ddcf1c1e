"""The page in a real browser: silent, alone, safe, and usable with a keyboard, on a phone, in the dark."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evo.report.lives import MAX_CHARACTERS, MAX_MOMENTS
from evo.report.page import write_report
from fitness.gallery import Gallery, write_gallery
from tests.browser import CHROMIUM, Browser
from tests.evo import fake_run

WHERE = "document.getElementById('replay-where').textContent"
PLAYING = "document.getElementById('replay-play').textContent === 'Pause'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run with everything in it."""
    return page(tmp_path_factory.mktemp("whole"), fake_run.gallery(), generations=13)


def page(folder: Path, gallery: Gallery | None, generations: int = 0) -> Path:
    """Write a page; that of a run without generations has few figures, which take most of the time."""
    fake_run.write_run(folder, generations)
    if gallery:
        write_gallery(folder, fake_run.source(generations), gallery)
    return write_report(folder)


def check(browser: Browser, path: Path) -> None:
    """Fail unless the page is silent, fetches nothing, names everything and fits the screen."""
    assert browser.complaints == []
    assert browser.requests == [path.as_uri()]
    assert browser.nameless() == []
    assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.ask("window.hacked") is None


@pytest.mark.parametrize("width", [1200, 390])
def test_a_life_is_stepped_through_with_keys_alone(browser: Browser, whole: Path, width: int) -> None:
    browser.open(whole, width=width)
    check(browser, whole)
    for _ in range(9):  # the player is reached by Tab, past what scrolls
        browser.press("Tab")
        if browser.ask("document.activeElement.id === 'replay'"):
            break
    assert browser.ask(WHERE) == "Step 0 of 6: east (75%)"
    told = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft"):
        browser.press(key)
        told.append(browser.ask(WHERE).split(":")[0])
    assert told == [f"Step {step} of 6" for step in (1, 2, 1, 6, 6, 0, 0)]
    browser.press("End")
    assert browser.ask(WHERE) == "Step 6 of 6: died (thirst)"
    assert browser.ask("document.getElementById('replay-map').ariaLabel") == "Map: agent in row 1, column 7"
    assert "water0%" in browser.ask("document.getElementById('replay-vitals').textContent")
    browser.press(" ")  # plays from the beginning, for it is at the end
    assert browser.ask(PLAYING)
    browser.wait_for(f"{WHERE}.startsWith('Step 2')")
    browser.press(" ")
    assert not browser.ask(PLAYING)
    check(browser, whole)


def test_texts_of_a_run_stay_texts(browser: Browser, tmp_path: Path) -> None:
    path = page(tmp_path, fake_run.gallery(title=fake_run.HOSTILE))
    browser.open(path, prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    picked = (
        "const life = document.getElementById('replay-life'); life.value = '1'; life.dispatchEvent(new Event('change'))"
    )
    browser.ask(picked)
    assert browser.ask("document.getElementById('replay-read').textContent") == f"{fake_run.HOSTILE} 0"
    assert browser.ask("life.options[1].text.startsWith('</script><script>window.hacked')")
    check(browser, path)
    assert browser.ask("getComputedStyle(document.querySelector('.fill')).transitionDuration") == "0s"


def test_what_a_text_might_smuggle_in_is_not_run(browser: Browser, tmp_path: Path) -> None:
    """The page's policy is a second wall: it stops a script even where escaping is broken."""
    path = page(tmp_path, None)
    path.write_text(path.read_text().replace("</main>", f"{fake_run.HOSTILE}</main>"))
    browser.open(path)
    assert browser.ask("window.hacked") is None
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)


@pytest.mark.parametrize("gallery", [None, fake_run.gallery(signs=False)], ids=["no lives", "no map"])
def test_a_page_without_lives_or_without_a_map_is_whole(
    browser: Browser, tmp_path: Path, gallery: Gallery | None
) -> None:
    path = page(tmp_path, gallery)
    browser.open(path, width=390)
    check(browser, path)
    assert browser.ask("document.getElementById('replay') !== null") == (gallery is not None)
    assert browser.ask("document.getElementById('replay-map') === null")


def test_texts_that_grow_when_they_are_made_harmless_do_not_make_the_page_too_long(tmp_path: Path) -> None:
    (one, _) = (gallery := fake_run.gallery(steps=300)).lives
    brackets = replace(one, observation=tuple("<" * 500 for _ in one.observation))
    path = page(tmp_path, replace(gallery, lives=(brackets, brackets, one)))
    assert 900_000 < path.stat().st_size < 2_000_000
    assert "1 more, too long for a page" in path.read_text()


def test_long_lives_are_cut_and_too_many_left_out(browser: Browser, tmp_path: Path) -> None:
    (one, _) = (gallery := fake_run.gallery(steps=5_000)).lives
    longest = replace(one, observation=tuple(text * 400 for text in one.observation))
    path = page(tmp_path, replace(gallery, lives=(one, longest, one)))
    assert path.stat().st_size < MAX_CHARACTERS
    browser.open(path)
    assert browser.ask(WHERE) == f"Step {5_001 - MAX_MOMENTS} of 5000: rest (25%)"
    assert browser.ask("document.getElementById('replay-life').options.length") == 2
    assert "1 more, too long for a page" in path.read_text()
    check(browser, path)
