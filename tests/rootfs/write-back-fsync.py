#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""write-back-fsync.py DIR: every file's data and the journal are on disk; what the journal is for need not be."""

import os
import stat
import sys

for path, dirs, files in os.walk(os.fsencode(sys.argv[1])):
    for name in files:
        p = os.path.join(path, name)
        if stat.S_ISREG(os.lstat(p).st_mode):
            fd = os.open(p, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
top = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(top)
