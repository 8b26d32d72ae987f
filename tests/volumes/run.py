#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""runcvm-volumes, called over loopback: every procedure, both identities, errors, restarts, retransmissions, abuse.

    run.py [NAME...]     VOLUMES: the program; RACE_SECONDS: how long the race runs
"""
import sys
import time
import traceback

import harness
import test_procedures  # noqa: F401
import test_identity  # noqa: F401
import test_exports  # noqa: F401
import test_restarts  # noqa: F401
import test_handles  # noqa: F401
import test_abuse  # noqa: F401
import test_process  # noqa: F401
import test_control  # noqa: F401
import test_libnfs  # noqa: F401


def main():
    wanted = sys.argv[1:]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for t in harness.tests:
        name = t.__name__[2:]
        if wanted and name not in wanted:
            continue
        start = time.monotonic()
        try:
            t()
            result, detail = "passed", ""
        except harness.Skip as e:
            result, detail = "skipped", " # %s" % e
        except BaseException:
            result, detail = "failed", "\n" + traceback.format_exc()
        counts[result] += 1
        print("%s %s (%.1f s)%s" % (result, name, time.monotonic() - start, detail), flush=True)
    print("volumes: %(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
