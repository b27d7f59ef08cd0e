"""What pyproject.toml can't say: the cffi module, and that `benchmarks/` is installed as `ipc._bench`."""

import os

from setuptools import find_packages, setup

# `make` compiles in place by itself and wants only the metadata from its editable install.
metadata_only = "IPC_METADATA_ONLY" in os.environ

setup(
    packages=[
        *find_packages(include=["ipc", "ipc.*"]),
        *("ipc._bench" + name for name in ["", *(f".{name}" for name in find_packages("benchmarks"))]),
    ],
    package_dir={"ipc._bench": "benchmarks"},
    cffi_modules=[] if metadata_only else ["native/build_ffi.py:ffibuilder"],
)
