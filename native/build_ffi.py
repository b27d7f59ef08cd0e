"""Builds `ipc._core._native`: the C core behind a cffi (API mode) binding.

cffi executes this file by its path, from the root of the checkout, so it imports nothing of ours and its paths stay
relative to that root. `cdef.h` says what Python may call, `api.h` gives the compiler the same declarations.

IPC_SANITIZE=address,undefined (any list that gcc knows) builds with sanitizers.
"""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("*.c"))  # fast/ is an extension of its own: setup.py

compile_flags = ["-std=c11", "-D_GNU_SOURCE", "-O3", "-fvisibility=hidden", "-Wall"]
link_flags = []
if sanitizers := os.environ.get("IPC_SANITIZE"):
    compile_flags += ["-g", "-fno-omit-frame-pointer", f"-fsanitize={sanitizers}"]
    link_flags += [f"-fsanitize={sanitizers}"]

ffibuilder = FFI()
ffibuilder.cdef((HERE / "cdef.h").read_text(encoding="utf-8"))
ffibuilder.set_source(
    "ipc._core._native",
    '#include "api.h"',
    sources=[str(path) for path in SOURCES],
    depends=[str(path) for path in sorted(HERE.glob("*.h"))],  # else an edited header rebuilds nothing
    include_dirs=[str(HERE)],
    extra_compile_args=compile_flags,
    extra_link_args=link_flags,
    py_limited_api=False,  # one wheel per Python version
)
