#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# rcvm-init by its protocol alone, without the library.
exec /usr/bin/python3 "$(dirname "$0")/../guest/test_guest.py" "$RUNCVM_GUEST_DIR"
