"""``python -m hpi.doctor`` is ``hpi doctor --json`` where even the packages of the command line are broken."""

import argparse
import json
import sys


def main() -> int:
    """Print the report as JSON, and return the exit code."""
    from hpi.doctor import Settings, examine
    from hpi.errors import ConfigError
    from hpi.io.times import seconds_of

    parser = argparse.ArgumentParser("python -m hpi.doctor", description="Examine this installation; prints JSON.")
    parser.add_argument("--offline", action="store_true", help="do not try the network")
    parser.add_argument("--limit", help="time for each runtime, such as 90s or 5m")
    given = parser.parse_args()
    try:
        limit_s = seconds_of(given.limit) if given.limit is not None else None
    except ConfigError as error:
        parser.error(f"--limit: {error}")
    report = examine(Settings(given.offline, limit_s))
    sys.stdout.write(f"{json.dumps(report.as_json(), indent=2)}\n")
    return 0 if report.works else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
