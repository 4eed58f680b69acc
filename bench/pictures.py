"""Pictures of a run as SVG, readable on a light and on a dark page. Standard library only."""

import math
import statistics

import measure

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 78, 150, 46, 52
COLOURS = {"boskos": "#d1495b", "raw": "#7a7f87", "redis": "#e09f3e", "postgresql": "#3d7ea6", "etcd": "#5b8e4d",
           "beanstalkd": "#8e6bb0", "upstream": "#2a9d8f", "disk": "#3d7ea6", "open loop": "#d1495b"}
OTHER_COLOURS = ("#d1495b", "#3d7ea6", "#e09f3e", "#5b8e4d")
STYLE = """<style>
text { font: 13px sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: bold }
.line { fill: none; stroke-width: 2.2 }
.axis { stroke: #8b949e; stroke-width: 1 }
.grid { stroke: #8b949e; stroke-width: 0.5; stroke-opacity: 0.35 }
.page { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .page { fill: #0d1117 } }
</style>"""


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def short(value):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


class Scale:
    """Numbers to places, linear or by powers of ten."""

    def __init__(self, low, high, start, end, logarithmic):
        self.logarithmic = logarithmic
        self.low, self.high, self.start, self.end = self.of(low), self.of(high), start, end

    def of(self, value):
        return math.log10(value) if self.logarithmic else value

    def place(self, value):
        share = (self.of(value) - self.low) / ((self.high - self.low) or 1)
        return self.start + share * (self.end - self.start)


def linear_ticks(high):
    step = 10 ** math.floor(math.log10(high)) if high > 0 else 1
    while high / step < 4:
        step /= 2
    return [i * step for i in range(int(high / step) + 1)]


def log_ticks(low, high):
    return [10**i for i in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def chart(title, x_title, y_title, lines, x_ticks, x_log=True, y_log=False):
    """`lines`: {name: [(x, y), ...]}; `x_ticks`: [(x, text), ...]"""
    points = [p for line in lines.values() for p in line]
    x_low, x_high = min(x for x, _ in x_ticks), max(x for x, _ in x_ticks)
    y_high, y_low = max(y for _, y in points), min(y for _, y in points)
    if y_log:
        y_low, y_high = 10 ** math.floor(math.log10(y_low)), 10 ** math.ceil(math.log10(y_high))
        y_ticks = log_ticks(y_low, y_high)
    else:
        y_low, y_high = 0, y_high * 1.08
        y_ticks = linear_ticks(y_high)
    x_of = Scale(x_low, x_high, LEFT, WIDTH - RIGHT, x_log)
    y_of = Scale(y_low, y_high, HEIGHT - BOTTOM, TOP, y_log)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
           f'aria-label="{escape(title)}">', STYLE, f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
           f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>']
    for y in y_ticks:
        place = y_of.place(y)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{place + 4:.1f}" text-anchor="end">{short(y)}</text>')
    for x, text in x_ticks:
        place = x_of.place(x)
        out.append(f'<line class="axis" x1="{place:.1f}" x2="{place:.1f}" y1="{HEIGHT - BOTTOM}" '
                   f'y2="{HEIGHT - BOTTOM + 5}"/>')
        out.append(f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{escape(text)}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
               f'{escape(x_title)}</text>')
    out.append(f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
               f'{escape(y_title)}</text>')
    out += draw_lines(lines, x_of, y_of)
    return "\n".join(out + ["</svg>", ""])


def draw_lines(lines, x_of, y_of):
    """Each with its name at its end; names that would lie on each other move apart."""
    out, ends = [], []
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS.get(name, OTHER_COLOURS[i % len(OTHER_COLOURS)])
        places = [(x_of.place(x), y_of.place(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        if len(places) < 12:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        ends.append([places[-1][1], places[-1][1], name, colour])
    ends.sort()
    for before, after in zip(ends, ends[1:]):
        after[0] = max(after[0], before[0] + 17)
    over = (ends[-1][0] if ends else 0) - (HEIGHT - BOTTOM)
    if over > 0:
        for end in ends:
            end[0] -= over
    for place, _, name, colour in ends:
        x = WIDTH - RIGHT + 12
        out.append(f'<rect x="{x}" y="{place - 5:.1f}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{x + 16}" y="{place + 5:.1f}">{escape(name)}</text>')
    return out


def throughput(group):
    lines = {}
    for name, clients in sorted(group.found, key=lambda k: k[1]):
        lines.setdefault(name, []).append((clients, group.middle((name, clients))))
    order = sorted(lines, key=lambda name: -lines[name][-1][1])
    numbers = sorted({clients for _, clients in group.found})
    return chart("Durable acquires and releases a second", "clients", "requests a second",
                 {name: lines[name] for name in order}, [(n, str(n)) for n in numbers])


PERCENTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def curve(figures):
    """The medians of the rounds' percentiles, at 1 / (1 - percentile), in milliseconds."""
    points = []
    for p in PERCENTILES:
        at = [t for f in figures for q, t in f["latency_us"]["curve"] if abs(q - p) < 1e-9]
        if at:
            points.append((1 / (1 - p), max(0.001, statistics.median(at) / 1000)))
    return points


PERCENTILE_TICKS = [(1 / (1 - p), f"{p:.2%}".rstrip("0%").rstrip(".") + "%") for p in PERCENTILES]


def latencies(group):
    lines = {name: curve(group.found[name, 64]) for name, clients in group.found if clients == 64}
    return chart("Latency at 64 clients, closed loop", "percentile", "milliseconds", lines, PERCENTILE_TICKS,
                 y_log=True)


def open_loop(group):
    lines = {"open loop": curve(group.found["open"]), "disk": curve(group.found["disk"])}
    return chart(f"Latency at half the peak rate ({group.middle('open', 'offered'):,.0f}/s, open loop)", "percentile", "milliseconds",
                 lines, PERCENTILE_TICKS, y_log=True)


def memory(group):
    points = sorted((n, size / measure.MIB) for n, size in group.memory.items() if n > 1)
    goal = [(n, group.memory[1] / measure.MIB + n * 320 / measure.MIB) for n, _ in points]
    return chart("Memory (RssAnon) of boskosd, two states", "resources", "MiB",
                 {"boskos": points, "320 B each": goal}, [(n, short(n)) for n, _ in points], y_log=True)


def draw(groups):
    """[(file name, picture)]"""
    for group in groups:
        if isinstance(group, measure.Cycle):
            yield "throughput.svg", throughput(group)
            yield "latency.svg", latencies(group)
        elif isinstance(group, measure.HalfPeak):
            yield "open-loop.svg", open_loop(group)
        elif isinstance(group, measure.Cost):
            yield "memory.svg", memory(group)
