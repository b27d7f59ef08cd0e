"""Interpreters that can't run this are told so by `import ipc`: subinterpreters, and those without the lock."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from ipc._core import interpreter

REFUSED_AND_GONE_ON = """
    import sys
    import ipc

    try:
        import _interpreters as interpreters
        create = lambda config: interpreters.create(config)
    except ImportError:
        import _xxsubinterpreters as interpreters
        create = lambda config: interpreters.create(isolated=config == "isolated")

    code = '''if True:
        import sys
        sys.path[:] = {path}
        for _ in range(2):  # and the second time as well
            try:
                import ipc
            except ImportError as error:
                print(error, flush=True)
            else:
                print("imported", flush=True)
    '''.replace("{path}", repr(sys.path))

    tx, rx = ipc.channel(capacity=4096)
    with tx, rx:
        tx.send(b"before")
        other = create(sys.argv[1])
        interpreters.run_string(other, code)
        interpreters.destroy(other)
        tx.send(b"after")
        print([rx.recv(), rx.recv()], ipc.__version__)
"""


@pytest.mark.parametrize("config", ["isolated", "legacy"])
def test_a_subinterpreter_is_refused_with_the_reason_and_the_main_one_goes_on(config: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REFUSED_AND_GONE_ON), config],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 2
    assert all(line.startswith("ipc can't be used in a subinterpreter") and "ipc.spawn" in line for line in refused)
    assert last.startswith("[b'before', b'after']")


def test_the_main_interpreter_is_the_main_one() -> None:
    assert interpreter._is_main()
    interpreter.refuse_unsupported()


def test_an_interpreter_without_its_lock_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(ImportError, match=r"without Python's global interpreter lock.*PYTHON_GIL=1"):
        interpreter.refuse_unsupported()


def test_a_free_threaded_build_that_was_started_with_its_lock_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    interpreter.refuse_unsupported()


def test_import_asks_before_anything_is_loaded() -> None:
    code = """
        import sys
        sys._is_gil_enabled = lambda: False
        try:
            import ipc
        except ImportError as error:
            print(error)
        print([name for name in sys.modules if name.startswith(("ipc._core._native", "ipc._core._fast", "numpy"))])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert "PYTHON_GIL=1" in done.stdout
    assert done.stdout.endswith("\n[]\n")
