# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What quickstart.sh and run-tests.sh share: installs what is missing, builds, makes the guest and the
# root file systems.  Everything that is made lies in build/.  Sourced, from the top of the tree.

top=$(pwd)
build=$top/build
guest=$build/guest-image
export RUNCVM_GUEST_DIR=$guest

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

BUILD_PACKAGES="autoconf automake libtool pkg-config gcc make perl libjson-c-dev libnl-route-3-dev libnftnl-dev libmnl-dev
  libext2fs-dev libblkid-dev libarchive-dev zlib1g-dev libzstd-dev libseccomp-dev nettle-dev libcurl4-gnutls-dev libsystemd-dev libcmocka-dev swig python3-dev musl-tools linux-libc-dev"
RUN_PACKAGES="qemu-system-x86 busybox-static debootstrap cpio kmod lz4 e2fsprogs"
TEST_PACKAGES="dnsmasq-base iproute2 iputils-ping nftables g++ xz-utils valgrind clang libclang-rt-14-dev attr acl libcap2-bin abigail-tools xfsprogs zstd python3 procps runc docker.io containerd iptables
  libnfs13 libnfs-utils wget diod systemd dbus podman netavark"

# Installs those of the packages that are not there.
install_packages() {
  local missing=() p
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "these packages are missing, and this is no Debian: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "these packages are missing; install them as root: ${missing[*]}"
  say "installing ${missing[*]}"
  # The tests have daemons of their own: none of the system's is started by its package.
  local policy=/usr/sbin/policy-rc.d
  if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; fi
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
    >"$build/apt.log" 2>&1 || { rm -f $policy; tail -n 5 "$build/apt.log" >&2; die "apt-get failed; see build/apt.log"; }
  rm -f $policy
}

install_go() {
  # Whatever Go is there will do; Debian's where there is none.
  command -v go >/dev/null || install_packages golang-go
}

# Quiet unless it fails: `logged NAME COMMAND...`
logged() {
  local log=$build/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "'$*' failed; see $log"; }
}

build_tree() {
  mkdir -p "$build"
  if [ ! -x configure ] || [ configure.ac -nt configure ]; then
    say "making ./configure"
    logged autogen ./autogen.sh
  fi
  if [ ! -f "$build/config.status" ] || [ configure -nt "$build/config.status" ]; then
    say "configuring in build/"
    (cd "$build" && logged configure ../configure --prefix=/usr --localstatedir=/var --enable-werror)
  fi
  say "building"
  logged make make -C "$build" -j"$(nproc)"
}

# Kernel and initramfs, in build/: this machine's own kernel stays what it is.
make_guest() {
  if [ "$guest/guest.json" -nt "$build/guest/rcvm-init" ]; then
    say "guest: $guest is up to date"
    return 0
  fi
  say "guest: fetching Debian's cloud kernel and making an initramfs with rcvm-init"
  rm -rf "$guest"
  logged guest "$build/guest/runcvm-mkguest" --debian-package --module-list guest/modules.list --init "$build/guest/rcvm-init" --output "$guest"
}

# What the lab boots (tests/lab/run): another kernel, unpacked from its package.
make_lab() {
  say "lab: Debian's kernel with KVM"
  logged lab tests/lab/make
}

# A Debian userland, bootstrapped once.
make_debian() {
  [ -e "$build/debian/etc/os-release" ] && return 0
  say "bundle: bootstrapping a Debian userland (once; half a minute)"
  rm -rf "$build/debian.new"
  logged debootstrap debootstrap --variant=minbase "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$build/debian.new"
  mv "$build/debian.new" "$build/debian"
}

# unpack_tree NAME PACKAGES: build/NAME, which is that userland with these packages on top; unpacked alone, for their set-up would start
# servers.  False: it is there already.
unpack_tree() {
  local name=$1 packages=$2 tree=$build/$1.new
  [ -e "$build/$name/.packages" ] && [ "$(cat "$build/$name/.packages")" = "$packages" ] && return 1
  say "$name: unpacking $packages"
  rm -rf "$tree"
  cp -a "$build/debian/." "$tree"
  rm -rf "$tree/var/lib/apt/lists" "$tree"/usr/share/{doc,locale,man}
  mkdir -p "$tree/var/cache/apt/archives/partial"
  # shellcheck disable=SC2086
  logged "$name" apt-get -o "Dir::State::status=$tree/var/lib/dpkg/status" -o "Dir::Cache::archives=$tree/var/cache/apt/archives" \
    -o APT::Sandbox::User=root -y --no-install-recommends --download-only install $packages
  # One after the other: two that make the same directory at once fail now and then.
  printf '%s\0' "$tree"/var/cache/apt/archives/*.deb | logged "$name-unpack" xargs -0 -n 1 sh -c \
    'dpkg-deb --fsys-tarfile "$2" | tar -x -C "$1" --exclude=./usr/share/doc --exclude=./usr/share/locale --exclude=./usr/share/man --exclude="*libLLVM*"' sh "$tree"
  rm -rf "$tree/var/cache/apt/archives"
  printf '%s\n' postgres:x:70:70::/var/lib/postgresql:/bin/sh mysql:x:71:71::/var/lib/mysql:/bin/sh >>"$tree/etc/passwd"
  printf '%s\n' postgres:x:70: mysql:x:71: docker:x:72: >>"$tree/etc/group"
  echo "$packages" >"$tree/.packages"
  rm -rf "${build:?}/$name"
  mv "$tree" "$build/$name"
}

# Programs that work on volumes.
make_programs() {
  unpack_tree programs "git sqlite3 fio dbench stress-ng postgresql-15 mariadb-server procps" || :
}

# What people run under Docker, and Compose for this machine.
make_workloads() {
  unpack_tree workloads "nginx-light systemd docker.io containerd runc iptables iproute2 procps" || :
  unpack_tree compose "docker-compose" || :
}

# A tree of one static program with many names.
make_busybox() {
  [ "$build/busybox/bin/probe" -nt tests/vm/probe.c ] && return 0
  rm -rf "$build/busybox.new"
  mkdir -p "$build/busybox.new"/{bin,etc,proc,sys,dev,tmp,root,home/app}
  chmod 1777 "$build/busybox.new/tmp"
  cp "$(command -v busybox)" "$build/busybox.new/bin/busybox"
  (cd "$build/busybox.new/bin" && for n in $(./busybox --list); do [ "$n" = busybox ] || ln -s busybox "$n"; done)
  musl-gcc -static -Os tests/vm/probe.c -o "$build/busybox.new/bin/probe"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh app:x:1000:1000:App:/home/app:/bin/sh >"$build/busybox.new/etc/passwd"
  printf '%s\n' root:x:0: app:x:1000: video:x:44:app audio:x:29:app,root >"$build/busybox.new/etc/group"
  rm -rf "$build/busybox"
  mv "$build/busybox.new" "$build/busybox"
}
