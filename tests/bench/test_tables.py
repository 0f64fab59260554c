"""What is refused, what is summarised, and that the page says what the data says."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import page     # noqa: E402
import quick    # noqa: E402
import tables   # noqa: E402


def line(number, calibration=100, busy=0.5, rate=1000, failed="", server="03-epoll", measured="today"):
    return {"measured": measured, "round": number, "scenario": "pairs", "server": server, "calibration_ns": calibration,
            "failed": failed, "generator_utilisation": busy, "messages_per_second": rate,
            "messages_per_cpu_second": rate * 2}


def test_the_page_says_what_the_data_says():
    assert list(page.faults(page.PAGE.read_text())) == []


def test_a_wrong_figure_in_the_prose_is_found():
    text = page.PAGE.read_text()
    assert "writes -->0.157" in text
    assert "the page says 0.158" in "".join(page.faults(text.replace("writes -->0.157", "writes -->0.158")))
    assert "nothing is known" in "".join(page.faults(text.replace("03-epoll, fan-10, writes", "09-none, fan-10, writes")))


def test_a_table_of_what_was_measured(tmp_path, monkeypatch):
    """A line a server; what was not measured, or refused, is a dash."""
    lines = [line(number, rate=rate) for number, rate in enumerate((800, 1000, 1100), 1)]
    lines += [line(number, rate=400, busy=0.99, server="redis") for number in (1, 2, 3)]
    tables.refuse(lines)
    tables.write_csv(tmp_path / "summary.csv", tables.summarise(lines))
    monkeypatch.setattr(page, "DATA", tmp_path)
    text = page.with_tables("<!-- table: messages_per_second of pairs storm -->\nold\n<!-- end -->")
    assert text.splitlines()[1:-1] == ["| | pairs | storm |", "| --- | ---: | ---: |", "| 03-epoll | 1,000 ±20 % | – |",
                                       "| redis | – | – |"]
    assert list(page.faults(text)) == []


def test_a_line_after_a_slow_calibration_does_not_count():
    lines = [line(1), line(2, calibration=116, rate=5000), line(3), line(4, calibration=114), line(5, calibration=84)]
    tables.refuse(lines)
    assert [bool(some["refused"]) for some in lines] == [False, True, False, False, True]
    row, = tables.summarise(lines)
    assert (row["rounds"], row["refused"]) == (3, 2)
    assert row["messages_per_second_most"] == 1000


def test_what_was_measured_at_another_time_has_a_calibration_of_its_own():
    """The machine may be slower today; then it is so for all servers."""
    lines = [line(number, calibration=calibration, measured=measured)
             for measured, usual in (("today", 100), ("before", 130)) for number, calibration in ((1, usual), (2, usual))]
    tables.refuse(lines)
    assert not any(some["refused"] for some in lines)


def test_a_rate_is_refused_when_the_generator_was_busy():
    """What the server used for it is known all the same."""
    lines = [line(1, busy=0.96)]
    tables.refuse(lines)
    row, = tables.summarise(lines)
    assert (row["messages_per_second"], row["messages_per_cpu_second"]) == (None, 2000)


def test_a_run_that_lost_something_does_not_count():
    lines = [line(1), line(2, failed="1 lost", rate=9000)]
    tables.refuse(lines)
    row, = tables.summarise(lines)
    assert (row["messages_per_second"], row["refused"]) == (1000, 1)


def test_median_least_and_most():
    lines = [line(number, rate=rate) for number, rate in enumerate((5, 1, 9, 3, 4), 1)]
    tables.refuse(lines)
    row, = tables.summarise(lines)
    assert [row[f"messages_per_second{which}"] for which in ("", "_least", "_most")] == [4, 1, 9]


def test_a_count_over_its_budget_is_over():
    assert 1.06 > 1 + quick.margin_of("03-epoll", 1) >= 1.05
    assert quick.margin_of("03-epoll", 0) == quick.MARGIN_ABSOLUTE


def test_the_table_of_strace_is_read():
    text = ("% time seconds usecs/call calls errors syscall\n"
            " 60.0 0.1 5 640 recvfrom\n 40.0 0.1 5 12 3 epoll_ctl\n100.0 0.2 5 652 3 total\n")
    assert quick.counts_of_strace(text) == {"recvfrom": 640, "epoll_ctl": 12, "total": 652}
