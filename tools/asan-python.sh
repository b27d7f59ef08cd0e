#!/bin/sh
# The Python tests over a core and an accelerator that were built with AddressSanitizer and UBSan.
#
#   tools/asan-python.sh PYTHON [more arguments for pytest]
#
# Works on a copy of the checkout, so that the extensions in place stay as they are.  Python itself is not instrumented,
# so the runtime is preloaded; it allocates by malloc, so that what overruns a bytes object is seen.  Reports go to
# files, because many of the tests' processes are killed, or end without a word.
set -eu

PYTHON=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
copy=build/asan-python
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
cd "$copy"

echo "==> building with sanitizers"
IPC_SANITIZE=address,undefined "$PYTHON" setup.py --quiet build_ext --inplace

reports=$PWD/reports
mkdir "$reports"
export PYTHONPATH="$PWD" PYTHONMALLOC=malloc
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:log_path=$reports/asan:handle_segv=0"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:log_path=$reports/ubsan"

status=0
"$PYTHON" -m pytest -m "not slow and not stress" "$@" || status=$?
unset LD_PRELOAD
found=$(find "$reports" -type f | wc -l)
find "$reports" -type f -exec head -40 {} +
echo "==> $found reports of sanitizers"
[ "$found" -eq 0 ] && exit "$status"
exit 1
