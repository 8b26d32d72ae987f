#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What runcvm-mkguest makes, and what it refuses.
guest=$(dirname "$0")/../../guest
exec bash "$(dirname "$0")/../guest/test_mkguest.sh" "$BUILD/guest/runcvm-mkguest" "$BUILD/guest/rcvm-init" "$guest/modules.list"
