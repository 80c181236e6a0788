"""Being run when it is time, on a machine that is busy with something else.

A MASTER that does not get the processor for three adverts has lost its place. So
vrrpd asks for round-robin real-time scheduling, and for its memory to stay in
memory. What the system refuses is said, and nothing else changes.
"""

import contextlib
import ctypes
import os
import resource

NICE = -10
"""Of who keeps connections: nearly ten times the processor of an ordinary process that wants it as well."""
PRIORITY = 10
"""Of 1-99: before everything that is not real-time, after the kernel's own threads."""
SYNC_THREADS = "ipvs-"
"""Begins the names of the kernel threads that send and take sync messages: ``ipvs-m:0:0``, ``ipvs-b:0:0``."""
_PF_KTHREAD = 0x00200000
RUNAWAY_S = 3
"""Of processor time without ever waiting: then the kernel ends us (SIGXCPU), and a successor starts."""

_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4

_libc = ctypes.CDLL(None, use_errno=True)


def run_first() -> str:
    """Round-robin at ``PRIORITY``, for this process and not for its children.

    Returns:
        Why not, and what to do about it; empty when it is so.
    """
    try:
        # The limit comes first: a real-time process that never waits leaves nobody else the processor.
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        resource.setrlimit(resource.RLIMIT_RTTIME, (RUNAWAY_S * 1_000_000, hard))
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except (OSError, ValueError) as error:
        return (
            f"real-time scheduling: {getattr(error, 'strerror', None) or error}; "
            f"give the unit LimitRTPRIO={PRIORITY}, a container --cap-add SYS_NICE"
        )
    return ""


def run_ahead() -> None:
    """Before ordinary work, for the calling thread and not for what it starts: no nice value where refused.

    Everything that a director has not passed on when it dies is lost, so its share of a busy processor
    decides over connections.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    # Where the kernel gives each session its share, nice values count within one only.
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as session:
        session.write(str(NICE))


def sync_threads_run_ahead() -> int:
    """The kernel's sync threads before ordinary work: a message that waits for them is not sent.

    Returns:
        How many there are; those of other network namespaces are among them.
    """
    count = 0
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"{entry.path}/stat") as stat:
            before, _, after = stat.read().rpartition(")")
            name, flags = before.partition("(")[2], int(after.split()[6])
            if name.startswith(SYNC_THREADS) and flags & _PF_KTHREAD:
                os.setpriority(os.PRIO_PROCESS, int(entry.name), NICE)
                count += 1
    return count


def own_memory() -> None:
    """After a fork: touch every page now, instead of one after another when it is first needed.

    A fault costs 0.1 us to 0.2 ms, by the machine, and a Python process has ten thousand pages. Only for a
    process with one thread: each page that may be written has its first byte written over with itself.
    """
    with open("/proc/self/maps") as maps:
        lines = maps.readlines()
    page = resource.getpagesize()
    for line in lines:
        span, access, *_, name = line.split()
        start, end = (int(word, 16) for word in span.split("-"))
        if name.startswith("[v"):
            continue  # the kernel's own: vdso, vvar, vsyscall
        if access.startswith("rw-p"):
            for address in range(start, end, page):
                ctypes.memmove(address, address, 1)
        elif access.startswith("r") and access.endswith("p"):
            for address in range(start, end, page):
                ctypes.string_at(address, 1)


def get_ready() -> None:
    """What a worker that others wait for does before it waits: touch its memory, then run first.

    In this order: touching takes long, and is nothing that others should wait for.
    """
    own_memory()
    run_first()


def lock_memory() -> str:
    """Keep every page that was touched once in memory.

    Returns:
        Why not, and what to do about it; empty when it is so.
    """
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        if os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
            return ""
        # With a limit, growing beyond it later would be an error instead of a page in swap.
        _libc.munlockall()
    return "memory may be swapped out; give the unit LimitMEMLOCK=infinity, a container --cap-add IPC_LOCK"
