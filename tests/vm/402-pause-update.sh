#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A VM that is paused stands still and goes on as if nothing had been.
. "$(dirname "$0")/functions.sh"
