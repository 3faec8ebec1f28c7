#!/usr/bin/env python3
"""scaleout-plot.py DIR <LINES: draws DIR/scaleout-K.svg for each K in lines of tests/bench/scaleout.sh.

Two pictures in one: which share of the requests had their first token after how long, and tokens a
second over the time since the burst began, a mean of one second, in all modes of that K.
"""
import json
import sys

MODES = {  # what it is called, and its colour
    "kway": ("execute while loading", "#5b8def"),
    "kway-load": ("load, then run; our cast", "#ee7f5b"),
    "tree-load": ("load, then run; tree", "#2fb39a"),
    "store-load": ("load, then run; one store", "#a97bd1"),
}
LEFT, WIDE, RIGHT, HEAD, HIGH, FOOT, LEGEND = 64, 800, 16, 30, 220, 40, 28
STYLE = """svg{color:#1f2328}
@media(prefers-color-scheme:dark){svg{color:#e6edf3}}
path{fill:none}text{fill:currentColor;font:12px system-ui,sans-serif}
.dim{opacity:.75}.head{font-weight:600}
.axis{stroke:currentColor}.grid{stroke:currentColor;opacity:.15}.line{stroke-width:1.7}
.end{stroke-width:1.2;stroke-dasharray:3 4}"""


def nice(top, n):
    """A step that divides a range into n parts or fewer."""
    step = 1
    while top / step > n:
        step *= 2.5 if str(step).startswith("2") else 2
    return step


class Panel:
    def __init__(self, y, title, most_x, most_y, unit_y):
        self.y, self.most_x, self.most_y = y + HEAD, most_x, most_y
        self.out = ['<text x="%d" y="%d" class="head">%s</text>' % (LEFT, y + 20, title),
                    '<path class="axis" d="M%d %dv%dh%d"/>' % (LEFT, self.y, HIGH, WIDE)]
        for share, label in unit_y:
            at = self.at_y(share)
            self.out.append('<path class="grid" d="M%d %.1fh%d"/>' % (LEFT, at, WIDE))
            self.out.append('<text x="%d" y="%.1f" text-anchor="end" class="dim">%s</text>' % (LEFT - 6, at + 4, label))
        step = nice(most_x, 10)
        for i in range(int(most_x / step) + 1):
            at = self.at_x(i * step)
            self.out.append('<path class="grid" d="M%.1f %dv%d"/>' % (at, self.y, HIGH))
            self.out.append('<text x="%.1f" y="%d" text-anchor="middle" class="dim">%g s</text>' % (at, self.y + HIGH + 16, i * step))

    def at_x(self, x):
        return LEFT + WIDE * min(x / self.most_x, 1)

    def at_y(self, y):
        return self.y + HIGH * (1 - y / self.most_y)

    def line(self, points, colour, kind="line"):
        path = "L".join("%.1f %.1f" % (self.at_x(x), self.at_y(y)) for x, y in points if x <= self.most_x)
        self.out.append('<path class="%s" stroke="%s" d="M%s"/>' % (kind, colour, path))


def rates(line):
    """Means of one second, at its end."""
    out, bin_s = line["out"], line["bin_s"]
    n = max(int(round(1 / bin_s)), 1)
    return [((i + 1) * bin_s, sum(out[max(i + 1 - n, 0):i + 1]) / (n * bin_s)) for i in range(len(out))]


def waits(line):
    """Steps of the share that had waited no longer."""
    ttft, points, before = sorted(line["ttft"]), [(0, 0)], 0
    for i, t in enumerate(ttft):
        share = (i + 1) / len(ttft)
        points += [(t, before), (t, share)]
        before = share
    return points


def draw(k, lines):
    longest = max(line["ttft"][-1] for line in lines)
    last = max(line["seconds"] for line in lines)
    top = max(rate for line in lines for _, rate in rates(line))
    step = nice(top, 6)
    ttft = Panel(LEGEND, "Share of requests whose first token came within", longest * 1.02, 1,
                 [(i / 4, "%d %%" % (25 * i)) for i in range(5)])
    speed = Panel(LEGEND + HEAD + HIGH + FOOT, "Tokens a second; dashed: the last node is complete", last, top,
                  [(i * step, "%g" % (i * step)) for i in range(int(top / step) + 1)])
    legend = []
    for i, line in enumerate(lines):
        name, colour = MODES[line["mode"]]
        x = LEFT + i * 200
        legend.append('<path class="line" stroke="%s" d="M%d 18h18"/><text x="%d" y="22">%s</text>' % (colour, x, x + 24, name))
        ttft.line(waits(line) + [(longest * 1.02, 1)], colour)
        speed.line(rates(line), colour)
        if line["last_complete_s"] and line["completed"] >= line["nodes"] - k:
            speed.line([(line["last_complete_s"], 0), (line["last_complete_s"], top)], colour, "end")
    size = (LEFT + WIDE + RIGHT, LEGEND + 2 * (HEAD + HIGH + FOOT))
    what = "%d of %d nodes have the model when a burst begins." % (k, lines[0]["nodes"])
    head = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" '
            'aria-labelledby="title desc">\n<title id="title">Scale-out under a burst</title>\n'
            '<desc id="desc">%s Time to the first token, and tokens a second, in four ways to scale out.</desc>\n'
            "<style>\n%s\n</style>" % (size + size + (what, STYLE)))
    return "\n".join([head] + legend + ttft.out + speed.out + ["</svg>\n"])


by_k = {}
for text in sys.stdin:
    line = json.loads(text)
    if line.get("name") == "scaleout" and line.get("ttft"):
        by_k.setdefault(line["k"], {})[line["mode"]] = line
for k, lines in sorted(by_k.items()):
    with open("%s/scaleout-%d.svg" % (sys.argv[1], k), "w") as f:
        f.write(draw(k, [lines[mode] for mode in MODES if mode in lines]))
