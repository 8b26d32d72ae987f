# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What people run under Docker: the rows that take their time (rows.sh), all of them and no others.  They need the trees of make_programs and
# make_workloads in tests/setup.sh.

WORKLOADS=all ONLY_WORKLOADS=yes
run_rows
check_rows
