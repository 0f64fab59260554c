"""The programs are hardened as the Makefile asks: flags that a linker ignores are not noticed otherwise."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = sorted([*(path.name for path in ROOT.glob("0?-*")), "chat"])


def readelf(program, *options):
    path = ROOT / "bin" / program
    assert path.exists(), f"bin/{program} is missing: make"
    return subprocess.run(["readelf", "--wide", *options, path], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_can_be_loaded_anywhere(program):
    """A position-independent executable: its addresses differ from run to run."""
    assert "(Position-Independent Executable file)" in readelf(program, "--file-header")


@pytest.mark.parametrize("program", PROGRAMS)
def test_tables_of_the_linker_are_read_only(program):
    """RELRO, and all symbols bound at the start: no pointer to a function is left to overwrite there."""
    assert "GNU_RELRO" in readelf(program, "--program-headers")
    assert "BIND_NOW" in readelf(program, "--dynamic")


@pytest.mark.parametrize("program", PROGRAMS)
def test_stack_is_guarded_and_not_executable(program):
    stack = [line for line in readelf(program, "--program-headers").splitlines() if "GNU_STACK" in line]
    assert len(stack) == 1 and stack[0].split()[-2] == "RW", stack
    assert "__stack_chk_fail" in readelf(program, "--dyn-syms")


@pytest.mark.parametrize("program", PROGRAMS)
def test_copies_are_checked(program):
    """_FORTIFY_SOURCE: calls of the C library with a buffer of known size are replaced by ones that look at it."""
    assert "_chk@" in readelf(program, "--dyn-syms").replace("__stack_chk_fail@", "")
