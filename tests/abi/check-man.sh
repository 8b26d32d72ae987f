#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The man pages are complete, say what the headers say, lead to pages that exist, and their examples compile.
. "${srcdir-$(dirname "$0")}/functions.sh"
: "${PODCHECKER=podchecker}"

# What examples may use beside C itself; see EXAMPLE in libruncvm(3).
cat > "$work/prelude.h" <<'END'
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <runcvm/runcvm.h>
int fail (rcvm_error *err);
int progress (void *user, const char *phase, uint64_t files, uint64_t bytes);
void log_message (void *user, int level, const char *stage, const char *message);
END

# The lines of a section, without its head.
section ()
{
  awk -v want="$2" '/^=head1 / { on = (substr ($0, 8) == want); next } on' "$1"
}

# Prototypes of the headers, one a line, with every run of space made one.
preprocessed_headers | grep -v '^#' | tr '\n' ' ' | tr ';{}' '\n\n\n' | tr -s ' ' \
  | sed -n 's/^ *//; s/ *$//; /^[a-z].*\<rcvm_[a-z0-9_]* (/p' | grep -v '^typedef' \
  | sed 's/ \* */ */g' | sort -u > "$work/prototypes"

compile ()
{
  # shellcheck disable=SC2086
  $CC -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-function \
    -I"$INCLUDE" -I"$BUILT_INCLUDE" -c "$1" -o "$work/example.o"
}

pages=0
examples=0
for pod in "$POD_DIR"/*.pod; do
  page=$(basename "$pod")
  pages=$((pages + 1))
  if command -v "$PODCHECKER" > /dev/null; then
    "$PODCHECKER" "$pod" > /dev/null 2> "$work/pod" || { fail "$page: is not valid POD"; cat "$work/pod" >&2; }
  fi

  # References lead somewhere: our own pages exist, as a page or a name that shares one.
  grep -oE 'L<(rcvm_[a-z0-9_]+|libruncvm|runcvm[a-z-]*)\([0-9]\)>' "$pod" | sed 's/L<//; s/>//' | sort -u \
    > "$work/links" || :
  while read -r link; do
    test -e "$MAN_DIR/${link%(*}.$(echo "$link" | tr -dc '0-9(' | sed 's/.*(//')" \
      || fail "$page: there is no $link"
  done < "$work/links"

  # Codes that are named exist.
  grep -oE 'RCVM_[A-Z0-9_]*[A-Z0-9]' "$pod" | grep -vE '^RCVM_(E|E_UNKNOWN|VERSION_.*)$' | sort -u > "$work/named" || :
  header_enumerators | sed 's/ .*//' | sort -u > "$work/known"
  comm -23 "$work/named" "$work/known" > "$work/unknown"
  while read -r name; do fail "$page: $name is in no header"; done < "$work/unknown"

  # The examples.
  section "$pod" EXAMPLE | sed -n 's/^ //p; /^$/p' > "$work/example.txt"
  case $page in
    rcvm_*)
      for head in NAME SYNOPSIS DESCRIPTION 'RETURN VALUE' ERRORS EXAMPLE SINCE 'SEE ALSO'; do
        test -n "$(section "$pod" "$head" | tr -d ' \n')" || fail "$page: has no $head"
      done
      section "$pod" SINCE | grep -q '^Added in [0-9]*\.[0-9]*\.$' || fail "$page: SINCE names no version"

      section "$pod" SYNOPSIS | tr '\n' ' ' | tr ';' '\n' | tr -s ' ' | sed 's/^ *//; s/ *$//' \
        | sed -n 's/^#include <[^>]*> *//; /^[a-z].*\<rcvm_[a-z0-9_]* (/p' | grep -v '^typedef' \
        | sort -u > "$work/synopsis" || :
      comm -23 "$work/synopsis" "$work/prototypes" > "$work/wrong"
      while read -r line; do fail "$page: not in the headers: $line;"; done < "$work/wrong"
      for name in $(pod_names "$pod"); do
        grep -q "\\<$name (" "$work/synopsis" || fail "$page: $name is not in its SYNOPSIS"
        grep -q "$name (" "$work/example.txt" && used=yes
      done
      test "${used-no}" = yes || fail "$page: the example does not use the function"
      unset used

      # Between the braces of a function, unless it is a whole program.
      {
        echo "#include \"prelude.h\""
        echo "int example (rcvm_vm *vm, rcvm_process *process, rcvm_rootfs_options *options, rcvm_host *host);"
        echo "int example (rcvm_vm *vm, rcvm_process *process, rcvm_rootfs_options *options, rcvm_host *host) {"
        echo "rcvm_error *err = NULL; int exit_code = 0; (void) err; (void) exit_code; {"
        echo "#line 1 \"$page (EXAMPLE)\""
        cat "$work/example.txt"
        echo "} return 0; }"
      } > "$work/example.c"
      compile "$work/example.c" || fail "$page: the example does not compile"
      examples=$((examples + 1))
      ;;
    libruncvm.pod)
      cp "$work/example.txt" "$work/example.c"
      grep -q '^main (' "$work/example.c" || fail "$page: there is no program"
      compile "$work/example.c" || fail "$page: the example does not compile"
      examples=$((examples + 1))
      ;;
  esac
done

test $pages -gt 40 || fail "the pages of $POD_DIR were not found"
test $examples -gt 40 || fail "the examples were not found"
test "$(wc -l < "$work/prototypes")" -gt 50 || fail "the headers' prototypes were not found"
exit $status
