#!/usr/bin/env python3
"""Draws what `conclave ... --trace FILE.qlog` wrote: the congestion window by phase, and the round trip below it.

    python3 docs/plot_reno.py FILE.qlog reno.svg [FROM_SECONDS TO_SECONDS]

Needs matplotlib (Debian: python3-matplotlib; or pip install matplotlib in a virtual environment).
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PHASES = {
    "slow_start": ("slow start", "#4c78a8"),
    "congestion_avoidance": ("congestion avoidance", "#54a24b"),
    "fast_recovery": ("fast recovery", "#f58518"),
    "timeout_recovery": ("timeout", "#e45756"),
    "yielding": ("yields to the call", "#b279a2"),
}


def read(path, begin, end):
    """The events between two times, in seconds, each with its name and data."""
    events = []
    with open(path, encoding="utf-8") as lines:
        next(lines)  # the header
        for line in lines:
            event = json.loads(line)
            time = event["time"] / 1e3
            if begin <= time <= end:
                events.append((time, event["name"], event["data"]))
    return events


def draw_window(axes, events):
    """cwnd in the colour of its phase, ssthresh, what is in flight, and a mark for each loss."""
    times = [time for time, _, _ in events]
    kilobytes = lambda key: [data[key] / 1e3 if data[key] else None for _, _, data in events]
    axes.plot(times, kilobytes("bytes_in_flight"), color="#bbbbbb", linewidth=0.7, label="in flight")
    ssthresh = [float("nan") if value is None else value for value in kilobytes("ssthresh")]
    axes.plot(times, ssthresh, color="#555555", linewidth=0.9, linestyle="--", label="ssthresh")
    window = kilobytes("congestion_window")
    for phase, (label, color) in PHASES.items():
        points = [value if data["phase"] == phase else float("nan") for value, (_, _, data) in zip(window, events)]
        if any(point == point for point in points):
            axes.plot(times, points, color=color, linewidth=1.6, label=f"cwnd: {label}")
    losses = [(time, data) for time, name, data in events if name == "recovery:packet_lost" and data["window_reduced"]]
    axes.plot([time for time, _ in losses], [0] * len(losses), "|", color="#e45756", markersize=8, label="loss")
    axes.set_ylabel("kB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right", fontsize=7, ncols=3)


def draw_round_trip(axes, events):
    points = [(time, data["smoothed_rtt"]) for time, _, data in events if data["smoothed_rtt"] is not None]
    axes.plot([time for time, _ in points], [value for _, value in points], color="#4c78a8", linewidth=1.0)
    axes.set_ylabel("SRTT, ms")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")


def main():
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    begin, end = map(float, sys.argv[3:5]) if len(sys.argv) == 5 else (0.0, float("inf"))
    events = read(sys.argv[1], begin, end)
    if not events:
        sys.exit(f"{sys.argv[1]} holds no events of that time.")
    figure, (window, round_trip) = plt.subplots(2, 1, sharex=True, figsize=(9, 4.5), height_ratios=[3, 1])
    draw_window(window, events)
    draw_round_trip(round_trip, events)
    figure.tight_layout()
    figure.savefig(sys.argv[2])


if __name__ == "__main__":
    main()
