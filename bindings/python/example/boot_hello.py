#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""boot_hello.py ROOTFS COMMAND...: runs a command in a directory's tree, in a VM; exits as it did."""

import os
import sys

import runcvm


def main():
    if len(sys.argv) < 3:
        print("usage: boot_hello.py ROOTFS COMMAND...", file=sys.stderr)
        return 125
    try:
        with runcvm.VM(f"boot-hello-{os.getpid()}", rootfs=sys.argv[1], args=sys.argv[2:],
                       stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr) as vm:
            try:
                vm.start()
                return vm.wait()
            finally:
                vm.delete(force=True)
    except runcvm.Error as error:
        print(f"boot_hello.py: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
