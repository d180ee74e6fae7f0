"""Writes firings.txt: when expressions are due, as croniter has it.

    python3 -m venv venv && venv/bin/pip install croniter==7.0.0 tzdata==2026.6
    venv/bin/python firings.py > firings.txt

Lines are `expression | zone | from | moments`: the moment after which to look and the first moment due in seconds since
the epoch, then the distance of each from the one before it.
"""

import importlib.metadata
import os
import re
from datetime import datetime, timezone

os.environ["PYTHONTZPATH"] = ""  # zoneinfo then reads the package tzdata
from zoneinfo import ZoneInfo

from croniter import croniter

# The patterns of the crontab reference that users come with, and those of its examples.
REFERENCE = """
* * * * *
0 * * * *
0 0 * * *
0 9 * * 1
0 0 1 * *
*/15 * * * *
0 8 * * 1-5
0 9,12,17 * * *
0 */2 * * *
30 2 * * *
*/5 * * * *
0 6 * * *
"""

# Beyond them, all zones in UTC.
FURTHER = """
0 0 29 2 *
0 12 29 2 1
0 0 28-31 * *
0 0 31 * *
0 0 30 4,6,9,11 *
0 0 L * *
0 0 L 2 *
30 23 L 1,3 *
0 0 15W * *
0 0 1W * *
0 0 31W * *
0 0 * * 5#2
0 0 * * 1#1
0 0 * * 0#5
0 0 * * 3#5
0 0 * * 5L
0 0 * * 0L
0 18 * 3,6,9,12 1L
0 0 16W 6,8 *
0 9 * 6 5#3
0 0 13 * 5
30 4 1,15 * 5
0 0 */2 * 1
0 0 1 * */2
0 0 1-7 * 1
0 0 1,15 */3 MON,WED
0 0 L * 1
0 22 * * 0
0 22 * * 7
0 22 * * 5-7
0 22 * * 0-7
0 22 * * SAT-SUN
0 22 * * sun
5 4 * JAN-MAR mon-fri
0 0 1 1,apr,JUL,10 *
5-10/2 * * * *
1-59/7 0-23/5 * * *
0 0-6,20-23/3 * * *
*/20,5 3 * * *
59 23 31 12 *
*/7 * * * *
0 0 */10 * *
0 0 * */5 *
15,45 8-18/2 * * 1-5
*/10 * * * * *
0 30 2 * * *
5,35 */20 12 * * *
"""

# Around what clocks do: (zone, just before it, expressions).
CHANGES = [
    ("America/New_York", "2024-03-09T22:00", ["30 2 * * *", "*/30 * * * *", "0 * * * *", "0 2 * * 0"]),
    ("America/New_York", "2024-11-02T22:00", ["30 1 * * *", "*/30 * * * *", "0 1 * * *", "0 0-5 * * *"]),
    ("Europe/Berlin", "2025-03-29T22:00", ["30 2 * * *", "15 * * * *", "0 3 * * *"]),
    ("Europe/Berlin", "2025-10-25T22:00", ["30 2 * * *", "*/20 2 * * *", "0 2,3 * * *"]),
    ("Australia/Lord_Howe", "2024-10-05T22:00", ["15 2 * * *", "*/15 * * * *"]),
    ("Australia/Lord_Howe", "2025-04-05T22:00", ["45 1 * * *", "*/15 * * * *"]),
    ("America/Sao_Paulo", "2018-11-03T22:00", ["0 0 * * *", "30 0 * * *", "0 * * * *"]),
    ("America/Sao_Paulo", "2018-02-17T22:00", ["30 23 * * *", "*/30 * * * *"]),
    ("Asia/Beirut", "2024-03-30T22:00", ["0 0 * * *", "0 */4 * * *"]),
    ("Asia/Beirut", "2024-10-26T22:00", ["30 23 * * *", "0 0 * * *"]),
    ("Pacific/Auckland", "2024-09-28T22:00", ["30 2 * * *"]),
    ("Asia/Kolkata", "2024-03-09T22:00", ["30 2 * * *", "0 */6 * * 1-5"]),
    ("Pacific/Apia", "2011-12-28T22:00", ["0 12 * * *"]),
]


def seconds(moment):
    return int(moment.timestamp())


def line(expression, zone, start):
    tz = timezone.utc if zone == "UTC" else ZoneInfo(zone)
    start = datetime.fromisoformat(start).replace(tzinfo=tz)
    # What croniter calls the cron bug is Vixie's rule for a day field that starts with `*`.
    # `5L` is `L5` there.
    theirs = re.sub(r"\b(\d)L$", r"L\1", expression)
    due = croniter(
        theirs, start, implement_cron_bug=True, second_at_beginning=True, max_years_between_matches=400
    )
    moments = [seconds(due.get_next(datetime)) for _ in range(20)]
    gaps = [later - earlier for earlier, later in zip(moments, moments[1:])]
    return f"{expression} | {zone} | {seconds(start)} | {' '.join(map(str, moments[:1] + gaps))}"


versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ["croniter", "tzdata"])
print(f"# Written by firings.py with {versions} (PyPI); it tells what the columns are.")
for expression in REFERENCE.strip().splitlines():
    print(line(expression, "UTC", "2026-02-03T10:07:30"))
for expression in FURTHER.strip().splitlines():
    print(line(expression, "UTC", "2023-11-05T10:07:30"))
print(line("0 0 29 2 *", "UTC", "2094-01-01T00:00"))
for zone, start, expressions in CHANGES:
    for expression in expressions:
        print(line(expression, zone, start))
