# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced: `build` becomes the program that makes images, $ROOTFS_BUILD or rootfs-build.c compiled against the
# library in $BUILD.
tool_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

skip () { echo "SKIP: $*"; exit 77; }

make_tool ()
{
  local top=${TOP:-$tool_dir/../..} out=$1

  if [ -n "${ROOTFS_BUILD:-}" ]; then
    build=$(realpath "$ROOTFS_BUILD")
    return
  fi
  local lib=${BUILD:-$top/build}/lib/.libs
  [ -e "$lib/libruncvm.so" ] || skip "no library in $lib; set BUILD or ROOTFS_BUILD"
  ${CC:-cc} -O2 -I"$top/include" -o "$out/rootfs-build" "$tool_dir/rootfs-build.c" \
    -L"$lib" -Wl,-rpath,"$(realpath "$lib")" -lruncvm
  build=$out/rootfs-build
}
