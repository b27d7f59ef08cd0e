"""What pyproject.toml can't say: the extension modules, and that `benchmarks/` is installed as `ipc._bench`."""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup

# `make` compiles in place by itself and wants only the metadata from its editable install.
metadata_only = "IPC_METADATA_ONLY" in os.environ

sanitize = [f"-fsanitize={names}"] if (names := os.environ.get("IPC_SANITIZE")) else []

# The fast cases of the hottest methods.  Where it can't be built, everything goes over cffi.
accelerator = Extension(
    "ipc._core._fast",
    sorted(map(str, Path("native/fast").glob("*.c"))),
    depends=sorted(map(str, Path("native").rglob("*.h"))),
    include_dirs=["native"],
    extra_compile_args=["-std=c11", "-D_GNU_SOURCE", "-O3", "-fvisibility=hidden", "-Wall", *sanitize],
    extra_link_args=sanitize,
    optional=True,
)
wants_accelerator = (
    sys.implementation.name == "cpython"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")  # it relies on the interpreter lock
    and not metadata_only
)

setup(
    packages=[
        *find_packages(include=["ipc", "ipc.*"]),
        *("ipc._bench" + name for name in ["", *(f".{name}" for name in find_packages("benchmarks"))]),
    ],
    package_dir={"ipc._bench": "benchmarks"},
    ext_modules=[accelerator] if wants_accelerator else [],
    cffi_modules=[] if metadata_only else ["native/build_ffi.py:ffibuilder"],
)
