from typing import Any

# Every native function takes and gives ints and opaque pointers; Any stops at ipc._core.
ffi: Any
lib: Any
