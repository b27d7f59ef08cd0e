"""``python -m ipc``: the same as the script ``ipc``."""

# Spawned children import this module too, under another name: so nothing happens without the guard.
if __name__ == "__main__":
    from ipc.cli import main

    main()
