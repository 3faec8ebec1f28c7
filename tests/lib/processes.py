#!/usr/bin/env python3
"""Memory, descriptors and threads of processes while they run, and whether they stay flat.

    tests/lib/processes.py watch PID TABLE     until SIGTERM
    tests/lib/processes.py judge TABLE WARM [--memory|--no-memory]
    tests/lib/processes.py now PID             a line: kilobytes, descriptors, threads

"watch" looks once a second at every lsc-* process below PID and appends a line a process to TABLE:
seconds, pid, name, resident kilobytes, those of them that are no file's (anonymous), descriptors and
threads, separated by tabs.  A name is the program's and the folder that it serves.

"judge" prints a table, and for each process that is not flat a line that begins with "not flat".
A process is judged that lived for WARM seconds and half of them again; its first WARM seconds are
its plateau.  It is flat when, after them,

    - memory is never above the plateau's most by more than a twentieth and a megabyte, and the line
      of least squares through it rises by no more than that until the end;
    - descriptors are never above the plateau's most by more than four, and threads not at all.

The load is not judged: lsc-replay has a descriptor for each request under way.
"""
import os
import signal
import sys
import time

KEYS = ("rss", "anonymous", "fds", "threads")
SHARE, ROOM_KB, MORE_FDS = 0.05, 1024, 4
LONG = 1.5  # times WARM: who lived so long is judged


def field(text, name):
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def read(path):
    with open(path) as f:
        return f.read()


def look(pid):
    """[kB, anonymous kB, descriptors, threads], or None: it has gone."""
    try:
        rollup, status = read(f"/proc/{pid}/smaps_rollup"), read(f"/proc/{pid}/status")
        return [field(rollup, "Rss"), field(rollup, "Anonymous"), len(os.listdir(f"/proc/{pid}/fd")),
                field(status, "Threads")]
    except OSError:
        return None


def name_of(pid):
    """The program and what it serves; None for what is no program of ours."""
    try:
        args = read(f"/proc/{pid}/cmdline").split("\0")
    except OSError:
        return None
    program = os.path.basename(args[0])
    if not program.startswith("lsc-"):
        return None
    folder = args[args.index("--dir") + 1] if "--dir" in args[:-1] else ""
    return f"{program} {os.path.basename(folder)}".strip()


def below(root):
    """The pids of all processes that root started, or theirs."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(read(f"/proc/{entry}/stat").rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [root]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def watch(root, path):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start = time.monotonic()
    with open(path, "w", buffering=1) as table:
        for second in range(1 << 30):
            for pid in below(root):
                name = name_of(pid)
                seen = look(pid) if name else None
                if seen:
                    table.write("\t".join(map(str, [round(time.monotonic() - start, 2), pid,
                                                    name] + seen)) + "\n")
            time.sleep(max(0, start + second + 1 - time.monotonic()))


def rise(points):
    """What the line of least squares through (t, value) rises by, from the first to the last."""
    n, mt, mv = len(points), sum(t for t, _ in points) / len(points), sum(v for _, v in points) / len(points)
    spread = sum((t - mt) ** 2 for t, _ in points)
    slope = sum((t - mt) * (v - mv) for t, v in points) / spread if n > 1 and spread else 0
    return slope * (points[-1][0] - points[0][0])


def judge_one(rows, warm, memory):
    """The most in the plateau and after it, what the lines rise by, and why it is not flat."""
    start = rows[0][0]
    early = [max(r[1][i] for r in rows if r[0] - start < warm) for i in range(4)]
    later = [r for r in rows if r[0] - start >= warm]
    late = [max(r[1][i] for r in later) for i in range(4)]
    rises = [rise([(t, r[i]) for t, r in later]) for i in range(4)]
    whys = []
    for i in (0, 1) if memory else ():
        room = early[i] * SHARE + ROOM_KB
        if late[i] > early[i] + room or rises[i] > room:
            whys.append(f"{KEYS[i]}: {early[i]} kB in its first {warm:g} s, then up to {late[i]} kB, "
                        f"rising by {rises[i]:.0f}")
    if late[2] > early[2] + MORE_FDS:
        whys.append(f"descriptors: {early[2]}, then up to {late[2]}")
    if late[3] > early[3]:
        whys.append(f"threads: {early[3]}, then up to {late[3]}")
    return early, late, rises, whys


def judge(path, warm, memory):
    series, bad, short = {}, [], []
    for line in open(path):
        t, pid, name, *seen = line.rstrip("\n").split("\t")
        series.setdefault((name, int(pid)), []).append((float(t), list(map(int, seen))))
    print("                         RSS in kB             anonymous    descriptors      threads")
    print("process            s   first  later   rise   first  later   first later  first later")
    for (name, pid), rows in sorted(series.items()):
        lived = rows[-1][0] - rows[0][0]
        if lived < LONG * warm:
            short.append(rows)
            continue
        early, late, rises, whys = judge_one(rows, warm, memory)
        print(f"{name:<15} {lived:>4.0f}  {early[0]:>6} {late[0]:>6} {rises[0]:>+6.0f}  {early[1]:>6} {late[1]:>6}   "
              f"{early[2]:>5} {late[2]:>5}  {early[3]:>5} {late[3]:>5}")
        if name != "lsc-replay":
            bad += [f"not flat: {name} ({pid}): {why}" for why in whys]
    most = [max((r[1][i] for rows in short for r in rows), default=0) for i in range(4)]
    print(f"{len(short)} others lived for less than {LONG * warm:g} s, "
          f"of {most[0]} kB and {most[2]} descriptors at most")
    print("\n".join(bad))


if sys.argv[1] == "watch":
    watch(int(sys.argv[2]), sys.argv[3])
elif sys.argv[1] == "now":
    kb, _, fds, threads = look(int(sys.argv[2])) or [0] * 4
    print(kb, fds, threads)
else:
    judge(sys.argv[2], float(sys.argv[3]), "--no-memory" not in sys.argv)
