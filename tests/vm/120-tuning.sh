#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How devices and memory are driven: limits, the io engine, huge pages, CPU templates.
. "$(dirname "$0")/functions.sh"

# tuned NAME ANNOTATION COMMAND...: in the busybox tree
tuned() {
  local id=$1 annotation=$2
  shift 2
  runcvm run --memory 160M --log-level error --annotation "org.runcvm.$annotation" --rootfs "$BUSYBOX" --rootfs-changes discard "$id" -- "$@"
}
# refused ANNOTATION PATTERN NAME
refused() {
  tuned refused "$1" true 2>"$work/err"
  is "$?" 125 "$3: 125"
  like "$(cat "$work/err")" "$2" "$3: it says so"
  no_leaks "$3: nothing is left"
}

# A slow machine only keeps further below the limit: which is what is asked for, with the burst that the bucket allows.
read -r start end < <(tuned slow disk-bandwidth=4M sh -c 'read -r a _ </proc/uptime; dd if=/dev/zero of=/f bs=1M count=12 conv=fsync 2>/dev/null; read -r b _ </proc/uptime; echo $a $b')
rate=$(awk -v a="$start" -v b="$end" 'BEGIN { print (b > a ? int(12582912 / (b - a)) : 999999999) }')
succeeds "a disk with a limit of 4 MiB a second is written no faster ($rate bytes a second)" [ "$rate" -lt 6500000 ]
is "$(tuned ops disk-ops=200 sh -c 'dd if=/dev/urandom of=/f bs=4k count=100 2>/dev/null; sync; wc -c </f')" 409600 "a limit of requests a second"
sum=$(runcvm run --memory 160M --log-level error --annotation org.runcvm.io-engine=async --rootfs "$BUSYBOX" async -- \
  sh -c 'seq 1 1000000 | tee /numbers | md5sum')
is "$(md5sum <"$BUSYBOX/numbers")" "$sum" "what is written with io_uring is what is on the disk"

memory=$(($(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 2>/dev/null || echo 0) * 2 + 160))
runcvm run --memory "${memory}M" --annotation org.runcvm.huge-pages=on --rootfs "$BUSYBOX" huge -- true 2>"$work/err"
is "$?" 125 "more huge pages than there are: 125"
like "$(cat "$work/err")" 'huge pages.*(vm.nr_hugepages|none of 2 MiB)' "and what to do"
no_leaks "and nothing is left"

case $(hypervisor) in
  qemu)
    refused net-bandwidth=1M 'QEMU cannot limit the bandwidth of an interface: ' "an interface with a limit, in QEMU"
    refused cpu-template=T2 'QEMU has no CPU templates: ' "a CPU template, in QEMU"
    ;;
  firecracker)
    refused cpu-template=/no/such/file 'the CPU template /no/such/file is no file with a JSON object' "a CPU template that is not there"
    refused cpu-template=Z80 "Firecracker refused .*'?Z80|Z80" "a CPU template of no known name"
    # One bit less: CPUID.1:ECX[30], rdrand.
    printf '%s' '{"cpuid_modifiers":[{"leaf":"0x1","subleaf":"0x0","flags":0,"modifiers":[{"register":"ecx","bitmap":"0bx0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}]}' >"$work/template"
    is "$(tuned template "cpu-template=$work/template" sh -c 'grep -c rdrand /proc/cpuinfo')" 0 "a CPU template of one's own hides what it says"
    ;;
esac
