"""``make bench``: every ratio with its target."""

from __future__ import annotations

from tests.benchmarks import bench_centered_clip, bench_step


def main() -> None:
    """Run all benchmarks and print one line per ratio."""
    for module in (bench_centered_clip, bench_step):
        for name, ratio, target in module.run():
            print(f"{ratio:8.3f}  target {target:8}  {name}", flush=True)


if __name__ == "__main__":
    main()
