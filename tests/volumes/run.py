#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""runcvm-volumes, called over loopback: every procedure, both identities, errors, restarts, retransmissions, abuse.

    run.py [NAME...]     VOLUMES: the program; RACE_SECONDS: how long the race runs; more than 10, and it runs beside all the others
"""
import os
import subprocess
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
    race = None
    if not wanted and float(os.environ.get("RACE_SECONDS", "4")) > 10:
        race = subprocess.Popen([sys.executable, __file__, "races"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for t in harness.tests:
        name = t.__name__[2:]
        if wanted and name not in wanted:
            continue
        if race and name == "races":
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
    if race:
        said = race.communicate()[0]
        print(said.rsplit("volumes: ", 1)[0], end="")
        counts["passed" if race.returncode == 0 and "1 passed" in said else "failed"] += 1
    print("volumes: %(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
