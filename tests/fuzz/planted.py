"""Plant known bugs in the core one by one, and see whether fuzzing hostile memory finds each.

Each is what a careless change could do: a check left out, a word fetched twice, a loop without a bound.  All must be
found, or the fuzzer checks less than it says.  Prints a table: the bug, how it was found, after how many inputs.

    python tests/fuzz/planted.py [--compiler gcc] [--runs 200000] [WORD...]     only those whose names have the words

It uses the driver (no libFuzzer needed), so that it can be had wherever there is a C compiler.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
FUZZ = ROOT / "tests" / "fuzz"
BUILT = ROOT / "build" / "fuzz"
NOT_FUZZED = {"os.c", "fast_calls.c"}
NOT_LINKED = {"seeds.c", "loads.c"}
UNWATCHED = {"watch.c", "kernel.c", "kernel_memory.c", "kernel_time.c", "peer.c"}
SHARED = UNWATCHED - {"watch.c"} | {"driver.c", "input.c"}
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-DIPCR_MOST_SUBSCRIBERS=4u", "-g1", "-O1", "-fno-omit-frame-pointer", "-w"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@dataclass(frozen=True)
class Bug:
    """A text of the core that stands there once, and what stands there instead; and whose target must find it."""

    name: str
    file: str
    right: str
    wrong: str
    target: str = ""  # the folder beside this file: "" is that of channels


LENGTH_CHECK = """    if (length > there - IPCR_RECORD_HEADER)
        return IPCR_CORRUPT;
"""

CHANNELS = (
    Bug("record length unchecked", "ring.h", LENGTH_CHECK, ""),
    Bug("record length checked without its header", "ring.h", "if (length > there - IPCR_RECORD_HEADER)",
        "if (length > there)"),
    Bug("record length fetched twice", "ring.h", "out->length = length;",
        "out->length = load_relaxed64(&record->length);"),
    Bug("record info fetched twice", "ring.h", "out->info = load_relaxed64(&record->info);",
        "out->info = load_relaxed64(&record->info) | load_relaxed64(&record->info);"),
    Bug("write position: bound unchecked", "ring.h", "if (there > r->capacity || (write & 7) != 0)",
        "if ((write & 7) != 0)"),
    Bug("write position: parity unchecked", "ring.h", "if (there > r->capacity || (write & 7) != 0)",
        "if (there > r->capacity)"),
    Bug("write position fetched twice", "ring.h", "r->cached_write = write;",
        "r->cached_write = load_acquire64(&r->peer->position);"),
    Bug("room for a record's header unchecked", "ring.h", """    if (there < IPCR_RECORD_HEADER)
        return IPCR_CORRUPT;
""", ""),
    Bug("read position: bound unchecked", "ring.h", "if (used > w->capacity || (read & 7) != 0)",
        "if ((read & 7) != 0)"),
    Bug("read position: parity unchecked", "ring.h", "if (used > w->capacity || (read & 7) != 0)",
        "if (used > w->capacity)"),
    Bug("read position fetched twice", "ring.h", "w->cached_read = read;",
        "w->cached_read = load_acquire64(&w->peer->position);"),
    Bug("positions unchecked when an end is taken", "ring.c",
        "return write - read <= capacity && ((write | read) & 7) == 0 ? IPCR_OK : IPCR_CORRUPT;",
        "return write + read + capacity != 1 ? IPCR_OK : IPCR_CORRUPT;"),
    Bug("a third mark looked for", "ring.c", "for (uint32_t i = 0; i < 2; i++)", "for (uint32_t i = 0; i < 3; i++)"),
    Bug("a snapshot of the marks without a bound", "stats.c", "for (int i = 0; i < SNAPSHOT_TRIES; i++)", "for (;;)"),
    Bug("a batch that stays keeps the later write position", "receiving.c",
        "    e->reader.cached_write = before->cached_write;\n", ""),
    Bug("the capacity read again from the segment", "receiving.c",
        "e->lent_payload = e->segment->data + (e->reader.position & e->reader.mask)",
        "e->lent_payload = e->segment->data + (e->reader.position & (e->segment->header->geometry.capacity - 1))"),
    Bug("a file shorter than it says", "geometry.c", "facts->size < out->total_bytes ||", ""),
    Bug("a state that there is not is handed on", "ends.c", """    default:
        return IPCR_CORRUPT;
    }
    const int rc = ipcr_probe""", """    default:
        return -(int)state;
    }
    const int rc = ipcr_probe"""),
    Bug("a receiver's lock is kept after close", "ends.c", "    ipcr_hold_drop(&e->claim);\n", ""),
    Bug("a receiver stores into the ring", "ring.h", "    out->info = load_relaxed64(&record->info);\n",
        "    out->info = load_relaxed64(&record->info);\n    store_relaxed64((ipcr_word64 *)&record->info, 0);\n"),
)  # fmt: skip

QUEUES = (
    Bug("message length unchecked", "taking.c", "length <= q->segment->capacity && (position", "(position"),
    Bug("message length checked against twice the lane", "taking.c", "length <= q->segment->capacity &&",
        "length <= 2 * q->segment->capacity + 4096 &&"),
    Bug("message length fetched twice", "taking.c", ".length = length,", ".length = load_relaxed64(&slot->length),"),
    Bug("message position fetched twice", "taking.c", "const uint64_t offset = position &",
        "const uint64_t offset = load_relaxed64(&slot->position) &"),
    Bug("message position unmasked", "taking.c", "const uint64_t offset = position & (q->segment->capacity - 1);",
        "const uint64_t offset = position;"),
    Bug("message position: parity unchecked", "taking.c", "(position & 7) == 0 && load", "load"),
    Bug("lane count unchecked by a scan", "taking.c", "s.lanes > q->segment->lanes ? IPCR_CORRUPT : scan(q, &s, out)",
        "scan(q, &s, out)"),
    Bug("lane count unchecked by repair", "repair.c",
        """    const uint32_t high = load_acquire32(&q->header->lanes_high);
    uint64_t looked = 0;
    int rc = high <= q->segment->lanes ? IPCR_OK : IPCR_CORRUPT;
    for (uint32_t i = 0;""",
        """    const uint32_t high = load_acquire32(&q->header->lanes_high);
    uint64_t looked = 0;
    int rc = IPCR_OK;
    for (uint32_t i = 0;"""),
    Bug("lane count unchecked by counts", "queue_counts.c",
        "rc == IPCR_OK && i < high && i < q->segment->lanes; i++) {\n        struct",
        "rc == IPCR_OK && i < high; i++) {\n        struct"),
    Bug("lane count unchecked by whoever waits", "queue_waits.c", "i < high && i < q->segment->lanes;", "i < high;"),
    Bug("holder count unchecked", "repair.c", "i < high && i < IPCR_MOST_HOLDERS;", "i < high;"),
    Bug("the hint head believed", "lanes.c", "        if (at - first > slots)\n            at = first;\n", ""),
    Bug("the hint settled believed by repair", "repair.c",
        "    if (settled - at <= next - at) /* a hint: believed only where it makes sense */\n", ""),
    Bug("the hint settled believed by counts", "queue_counts.c", "    if (settled - at <= next - at)\n", ""),
    Bug("the end of the dead lane's payloads unchecked", "lanes.c",
        "return p->position - p->free_upto <= p->capacity && ((p->position | p->free_upto) & 7) == 0 ?",
        "return p->position != 1 ?"),
    Bug("what is freed unchecked", "lanes.c", "if (p->position - upto > p->capacity || (upto & 7) != 0)",
        "if ((upto & 7) != 0)"),
    Bug("a length fetched twice by who frees", "lanes.c", "p->bytes += length;",
        "p->bytes += load_relaxed64(&slot->length);"),
    Bug("a phase that there is not is handed on", "lanes.c",
        "return ipcr_is_sound(state) ? (int)ipcr_phase_of(state) : IPCR_CORRUPT;",
        "return ipcr_is_sound(state) ? (int)ipcr_phase_of(state) : -100;"),
    Bug("the capacity read again from the segment", "taking.c", "position & (q->segment->capacity - 1);",
        "position & (q->segment->header->geometry.capacity - 1);"),
    Bug("maxsize read again from the segment", "queue_counts.c",
        "maxsize = q->segment->options.maxsize;", "maxsize = q->header->options.maxsize;"),
    Bug("options of a queue unchecked", "geometry.c", """    if (!ipcr_are_sound_for_queue(out))
        return IPCR_CORRUPT;
""", ""),
    Bug("a copy from a lease's place without looking at its length", "taking.c",
        "        if (l->length > room)\n            return IPCR_TOO_LARGE;\n", ""),
    Bug("statistics of more lanes than there is room for", "queue_stats.c",
        "i < s->lanes && i < most; i++) {\n        lanes", "i < s->lanes; i++) {\n        lanes"),
    Bug("a holder's lock is kept after close", "queue.c", "        ipcr_hold_drop(&q->hold);\n", ""),
    Bug("a consumer stores into the slot", "taking.c", "    fence_load_load(); /* V: stopped",
        "    store_relaxed64((ipcr_word64 *)&slot->stamp, 0);\n    fence_load_load(); /* V: stopped"),
)  # fmt: skip

ENTRY_LENGTH = """ (m->topic_at & 7) == 0 &&
           m->length <= s->capacity - ipcr_padded(m->topic_length);"""

MULTICASTS = (
    Bug("message length unchecked", "subscribing.c", ENTRY_LENGTH, " (m->topic_at & 7) == 0;"),
    Bug("message length checked without its topic", "subscribing.c",
        "m->length <= s->capacity - ipcr_padded(m->topic_length);", "m->length <= s->capacity;"),
    Bug("message length fetched twice", "subscribing.c", "copy(s, out, m.payload_at, m.length);",
        "copy(s, out, m.payload_at, load_relaxed64(&s->entries[s->next & s->mask].length));"),
    Bug("message position fetched twice", "subscribing.c", "m->payload_at = m->topic_at +",
        "m->payload_at = load_relaxed64(&e->position) +"),
    Bug("message position: parity unchecked", "subscribing.c", " && (m->topic_at & 7) == 0 &&", " &&"),
    Bug("topic length unchecked", "subscribing.c", " && m->topic_length <= IPCR_MOST_TOPIC && (", " && ("),
    Bug("topic length fetched twice", "subscribing.c", "m->payload_at = m->topic_at + ipcr_padded(m->topic_length);",
        "m->payload_at = m->topic_at + ipcr_padded(load_relaxed32(&e->topic_length));"),
    Bug("the number that an entry says unchecked", "subscribing.c",
        "return load_relaxed64(&e->sequence) == s->next && m->topic", "return m->topic"),
    Bug("a topic compared before its message is known to be sound", "subscribing.c", "sound && is_wanted(s, m)",
        "is_wanted(s, m)"),
    Bug("a message of a larger length than there is room for", "subscribing.c", "if (m.length > room)",
        "if (m.length > room + 8)"),
    Bug("a copy beyond the end of what an observer maps", "subscribing.c",
        "const uint64_t first = s->mapped == NULL ||", "const uint64_t first = s->mapped != NULL ||"),
    Bug("an observer stores", "subscribing.c", """    if (s->cursor == NULL)
        return;
    store_relaxed64(&s->cursor->received""", """    if (s->cursor == NULL)
        ipcr_gate_open_wide(&ipcr_multicast_header(s->segment)->readers_parked);
    if (s->cursor == NULL)
        return;
    store_relaxed64(&s->cursor->received"""),
    Bug("an observer's mapping is kept", "subscribing.c", """    ipcr_subscriber_close(s);
    ipcr_os_unmap(s->mapped, s->mapped_bytes);
""", """    ipcr_subscriber_close(s);
"""),
    Bug("number of subscribers unchecked by a publisher", "multicast_room.c",
        """ slowest = IPCR_NO_SUBSCRIBER, evicted = 0;
    for (uint32_t i = 0; i < high && i < IPCR_MOST_SUBSCRIBERS; i++) {""",
        """ slowest = IPCR_NO_SUBSCRIBER, evicted = 0;
    for (uint32_t i = 0; i < high; i++) {"""),
    Bug("number of subscribers unchecked by who looks for the dead", "multicast_room.c",
        """    for (uint32_t i = 0; i < high && i < IPCR_MOST_SUBSCRIBERS; i++) {
        struct ipcr_cursor *c = &p->header->cursor[i];
        uint32_t state = load_acquire32(&c->state);
        const uint32_t kind""", """    for (uint32_t i = 0; i < high; i++) {
        struct ipcr_cursor *c = &p->header->cursor[i];
        uint32_t state = load_acquire32(&c->state);
        const uint32_t kind"""),
    Bug("number of subscribers unchecked by statistics", "multicast_stats.c",
        "i < high && i < IPCR_MOST_SUBSCRIBERS && out", "i < high && out"),
    Bug("statistics of more subscribers than there is room for", "multicast_stats.c",
        " && i < IPCR_MOST_SUBSCRIBERS && out->subscribers < most;", " && i < IPCR_MOST_SUBSCRIBERS;"),
    Bug("statistics without the mask", "multicast_stats.c", "[(published - 1) & (entries - 1)]", "[(published - 1)]"),
    Bug("who is to blame believed from the segment", "multicast_waits.c",
        "const struct ipcr_cursor *c = &p->header->cursor[p->blocked_by];\n    const uint32_t state = load_acquire32"
        "(&c->state) & IPCR_CURSOR_MASK;\n    if (state == IPCR_CURSOR_ACTIVE)",
        "const struct ipcr_cursor *c = &p->header->cursor[load_relaxed32(&p->header->blocked_by)];\n    const uint32_t "
        "state = load_acquire32(&c->state) & IPCR_CURSOR_MASK;\n    if (state == IPCR_CURSOR_ACTIVE)"),
    Bug("positions unchecked when the role is taken", "publishing.c",
        "return p->position - p->oldest_position <= p->segment->capacity && (", "return p->position != 1 && ("),
    Bug("the oldest unchecked when the role is taken", "publishing.c",
        " || p->next - p->announced > p->mask + 1)", ")"),
    Bug("more messages than any can have are taken over", "publishing.c", "p->next > LAST_NUMBER || ", ""),
    Bug("a position believed when room is made", "multicast_room.c",
        "return *position - older <= p->position - older && (*position & 7) == 0 ?", "return (*position & 7) == 0 ?"),
    Bug("a step back of a position believed", "multicast_room.c", "const uint64_t older = *position;",
        "const uint64_t older = p->oldest_position;"),
    Bug("one message more than there are entries", "multicast_room.c", "p->next + 1 - target > entries))",
        "p->next - target > entries))"),
    Bug("the capacity read again from the segment", "subscribing.c",
        "const uint64_t offset = position & (s->capacity - 1);",
        "const uint64_t offset = position & (s->header->geometry.capacity - 1);"),
    Bug("the policy read again from the segment", "multicast_room.c",
        "const bool lossy = p->segment->multicast.policy == IPCR_LOSSY;",
        "const bool lossy = p->header->options.policy == IPCR_LOSSY;"),
    Bug("options of a multicast unchecked", "geometry.c",
        "return ipcr_are_sound_for_multicast(out) ? IPCR_OK : IPCR_CORRUPT;", "return IPCR_OK;"),
    Bug("number of entries unchecked", "geometry.c", "multicast ? !ipcr_is_number_of_entries(out->lanes) : out",
        "multicast ? out->lanes == 0 : out"),
    Bug("a state that there is not is handed on", "subscribing.c",
        "return load_relaxed32(&s->cursor->state) == s->state ? IPCR_OK : IPCR_LAGGED_OUT;",
        "return -(int)((load_relaxed32(&s->cursor->state) ^ s->state) & 0xfff);"),
    Bug("a subscriber's lock is kept after it left", "joining.c", "    ipcr_hold_drop(&s->hold);\n", ""),
    Bug("a publisher's lock is kept after close", "publishing.c", """(&p->header->readers_parked);
    ipcr_registry_lock();
    ipcr_hold_drop(&p->hold);
""", """(&p->header->readers_parked);
    ipcr_registry_lock();
"""),
    Bug("a claim that is refused leaves its topic", "publishing.c",
        "    if (rc == IPCR_OK) {\n        p->lent = true;",
        "    p->lent_topic = *topic;\n    if (rc == IPCR_OK) {\n        p->lent = true;"),
    Bug("laps without a bound", "subscribing.c", """    for (int laps = 0; rc == IPCR_OK && laps < LAPS_AT_ONCE;) {
        rc = is_published(s);""", """    for (int laps = 0; rc == IPCR_OK;) {
        rc = is_published(s);"""),
)  # fmt: skip
BUGS = (
    *CHANNELS,
    *(replace(bug, target="queues") for bug in QUEUES),
    *(replace(bug, target="multicasts") for bug in MULTICASTS),
)


def core_of(native: Path) -> list[Path]:
    return sorted(path for path in native.glob("*.c") if path.name not in NOT_FUZZED)


def sources_of(target: str) -> list[Path]:
    of_target = {path for path in (FUZZ / target).glob("*.c") if path.name not in NOT_LINKED}
    return sorted(of_target | {FUZZ / name for name in SHARED})


def object_of(where: Path, source: Path) -> Path:
    return where / f"{source.parent.name}-{source.stem}.o"


def compile_all(where: Path, native: Path, compiler: str, sources: list[Path]) -> list[Path]:
    """Compile sources against the headers in `native`."""
    for source in sources:
        extra = [] if source.name in UNWATCHED else SANITIZERS
        if source.parent == native:
            extra = [*extra, "-include", str(FUZZ / "watched_atomics.h")]
        command = [compiler, *FLAGS, *extra, f"-I{native}", f"-I{FUZZ}", "-c", str(source)]
        subprocess.run([*command, "-o", str(object_of(where, source))], check=True, cwd=where)
    return [object_of(where, source) for source in sources]


def build(where: Path, native: Path, bug: Bug, compiler: str, ready: Path) -> Path:
    """The driver of a bug's target.  What a bug in a .c file leaves alone stands compiled in `ready`."""
    sources = [*core_of(native), *sources_of(bug.target)]
    changed = [path for path in sources if bug.file.endswith(".h") or path == native / bug.file]
    objects = compile_all(where, native, compiler, changed)
    objects += [object_of(ready, path) for path in sources if path not in changed]
    driver = where / "driver"
    subprocess.run([compiler, *SANITIZERS, *map(str, objects), "-lpthread", "-o", str(driver)], check=True)
    return driver


def plant(bug: Bug, native: Path) -> None:
    native.mkdir()
    for path in NATIVE.glob("*.[ch]"):
        text = path.read_text(encoding="utf-8")
        if path.name == bug.file:
            if text.count(bug.right) != 1:
                raise SystemExit(f"planted.py: '{bug.name}' does not fit {bug.file} any more")
            text = text.replace(bug.right, bug.wrong)
        (native / path.name).write_text(text, encoding="utf-8")


def verdict(output: str) -> str:
    """What the driver says that it found, in a few words."""
    for pattern in (r"VIOLATION: (?!signal)(.*)", r"AddressSanitizer: (\S+)", r"(runtime error: .*)"):
        found = re.search(pattern, output)
        if found:
            return found.group(1)
    return "nothing that it could name"


def try_out(bug: Bug, compiler: str, runs: int, ready: Path) -> tuple[Bug, str, str]:
    """(bug, how it was found or "", after how many inputs: "?" when the sanitizer doesn't let the driver say it)."""
    with tempfile.TemporaryDirectory(prefix="ipc-planted-") as made:
        where = Path(made)
        plant(bug, where / "native")
        driver = build(where, where / "native", bug, compiler, ready)
        seeds = [str(path) for path in sorted((BUILT / bug.target / "corpus").iterdir())]
        command = [str(driver), "--runs", str(runs), "--failed", str(where / "failed"), *seeds]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    inputs = re.search(r"(\d+) inputs", done.stdout + done.stderr)
    return bug, verdict(done.stdout + done.stderr) if done.returncode else "", inputs.group(1) if inputs else "?"


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("words", nargs="*")
    arguments.add_argument("--compiler", default="gcc")
    arguments.add_argument("--runs", type=int, default=200_000)
    arguments.add_argument("--jobs", type=int, default=2)
    given = arguments.parse_args()
    bugs = [bug for bug in BUGS if all(word in f"{bug.target} {bug.name}" for word in given.words)]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="ipc-planted-") as made, ThreadPoolExecutor(given.jobs) as pool:
        ready = Path(made)
        kinds = [sources_of(target) for target in sorted({bug.target for bug in bugs})]
        sources = sorted({*core_of(NATIVE), *(path for kind in kinds for path in kind)})
        list(pool.map(lambda path: compile_all(ready, NATIVE, given.compiler, [path]), sources))
        for bug, how, inputs in pool.map(lambda one: try_out(one, given.compiler, given.runs, ready), bugs):
            missed += not how
            print(f"{bug.target or 'channels':<10} {bug.name:<56} {inputs:>7}  {how or 'NOT FOUND'}", flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} planted bugs found")
    return 1 if missed or not bugs else 0


if __name__ == "__main__":
    sys.exit(main())
