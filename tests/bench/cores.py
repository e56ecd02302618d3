"""
What a second core is worth: two processes that work at once, beside one that works alone.

    slowdown    the time of two at once over the time of one alone

1.0 is what two cores give. Virtual ones that are two threads of one real core give 1.3 to 1.6,
and a machine can be either by turns, as others come and go on it. Whatever works in two
processes then takes longer, in wall and in CPU time, beside what works in one.
"""

import statistics
import subprocess
import sys
import time
from typing import Final

_ROWS: Final = 800_000
_TURNS: Final = 3


def slowdown() -> float:
    """Return the time of two at once over the time of one alone, median of three turns."""
    return statistics.median(_took_s(2) / _took_s(1) for _ in range(_TURNS))


def _took_s(processes: int) -> float:
    """Return the seconds that the slowest of so many needed, its start not counted."""
    command = [sys.executable, __file__]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return max(float(process.communicate()[0]) for process in started)


def main() -> None:
    """Make dicts and tuples for about half a second; print how long it took."""
    began = time.perf_counter()
    kept = []
    for number in range(_ROWS):
        record = {"number": number, "text": str(number), "half": number / 2, "none": None}
        kept.append(tuple(record.values()))
    sys.stdout.write(str(time.perf_counter() - began))


if __name__ == "__main__":
    main()
