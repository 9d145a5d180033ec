"""Progress: lines in a log, a bar on a terminal, nothing if switched off."""

from __future__ import annotations

import io
import sys

import pytest
from scenes import planted_cube
from tqdm import tqdm

import xcontrast as xc
from xcontrast import progress
from xcontrast.progress import Lines, hush, track


def test_a_log_gets_the_first_line_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abcd"), what="mapping", total=4)) == list("abcd")
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["mapping: 0 %", "mapping: 100 %"]


def test_between_them_one_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with track(what="reading", total=100) as bar:
        for _ in range(100):
            now[0] += 0.5
            bar.set_postfix({"failed": 0, "loss": 0.12345})
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"reading: {share} %" for share in (0, 20, 40, 60, 80, 100)
    ]
    assert lines[1] == "reading: 20 %, 10 s gone, 40 s left, failed 0, loss 0.123"


def test_what_was_done_before_counts_for_the_share_and_not_for_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with track(what="collecting", total=100, initial=80) as bar:
        now[0] = 20.0
        bar.update(10)
    assert "collecting: 90 %, 20 s gone, 20 s left" in capsys.readouterr().err


def test_an_end_that_is_not_left_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with track(what="reading", total=2, leave=False) as bar:
        bar.update(2)
    assert capsys.readouterr().err == "reading: 0 %, 0 s gone\n"


def test_a_loop_that_breaks_off_tells_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with track(what="mapping", total=4) as bar:
            bar.update()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "mapping: 25 %" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with track(what="mapping", total=3) as bar:
        assert isinstance(bar, tqdm)
    assert not isinstance(bar, Lines)


@pytest.mark.parametrize("how", ["call", "environment"])
def test_it_can_be_switched_off(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if how == "environment":
        monkeypatch.setenv(progress.SWITCH, "0")
    assert list(track(range(3), what="mapping", on=how != "call")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_what_has_no_switch_is_silent_within_a_call_that_shall_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with hush(True), hush(False):
        assert list(track("ab", what="reading")) == ["a", "b"]
    assert capsys.readouterr().err == ""
    with hush(False):
        assert list(track("ab", what="reading")) == ["a", "b"]
    assert "reading" in capsys.readouterr().err
    options = xc.PretrainOptions(chip_size=32, progress=False)
    xc.pretrain(planted_cube().chunk(), max_steps=0, cache=False, options=options)
    assert capsys.readouterr().err == ""
