"""A system that is not as the program thinks: a few calls of the C library are replaced (LD_PRELOAD)."""

import os
import shutil
import subprocess

from .failure import LeftOut


def replaced(directory, source):
    """The environment in which the functions that `source`, a text in C, defines stand before the C library's."""
    compiler = shutil.which("cc")
    if not compiler:
        raise LeftOut("needs a C compiler, to replace calls of the C library")
    code, library = directory / "replaced.c", directory / "replaced.so"
    code.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, code, "-ldl"], check=True)
    # A sanitizer's build wants to come first, but need not (its runtime's own message names this way out).
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
