"""Many runs of the default test profile, each with another seed: every test that draws examples must pass every time.

    python -m tests.seeds --runs 100

A false alarm is a fault of the test or of the code; the seed that it prints shows it again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DRAWN = "hypothesis and not slow"
"""The mark that Hypothesis gives to tests that draw examples."""
DRAWING = re.compile(r"^from hypothesis |^import hypothesis|SwarmMachine", re.MULTILINE)
"""What every file with such a test has in it; to collect all others would take a third of the time."""


def main() -> None:
    """Run, and report; exit code 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    seeds = range(chosen.first, chosen.first + chosen.runs)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        failed = [seed for seed, passed in zip(seeds, pool.map(run, seeds), strict=True) if not passed]
    print(f"{len(seeds) - len(failed)} of {len(seeds)} runs passed")
    sys.exit(bool(failed))


def run(seed: int) -> bool:
    """One run; whether it passed."""
    files = [str(path) for path in sorted(ROOT.glob("tests/**/test_*.py")) if DRAWING.search(path.read_text("utf-8"))]
    chosen = ["-m", DRAWN, f"--hypothesis-seed={seed}", "-p", "no:cacheprovider", *files]
    command = [sys.executable, "-m", "pytest", "-q", *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"seed {seed}:\n{done.stdout[-4000:]}", flush=True)
    print(f"seed {seed}: {done.stdout.strip().splitlines()[-1]}", flush=True)
    return not done.returncode


if __name__ == "__main__":
    main()
