/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* watch DIRECTORY...: what inotify tells of them, a line "LETTERS DIRECTORY NAME" each: w closed after writing, e attributes,
   m contents, n made, d removed. */
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

int
main (int argc, char **argv)
{
  static const struct
  {
    unsigned mask;
    char letter;
  } letters[] = { { IN_CLOSE_WRITE, 'w' }, { IN_ATTRIB, 'e' }, { IN_MODIFY, 'm' }, { IN_CREATE, 'n' }, { IN_DELETE, 'd' } };
  char buffer[4096] __attribute__ ((aligned (8)));
  int fd = inotify_init ();
  ssize_t n;

  for (int i = 1; i < argc; i++)
    if (inotify_add_watch (fd, argv[i], IN_CLOSE_WRITE | IN_ATTRIB | IN_MODIFY | IN_CREATE | IN_DELETE) != i)
      return 1;
  setvbuf (stdout, NULL, _IOLBF, 0);
  puts ("ready");
  while ((n = read (fd, buffer, sizeof buffer)) > 0)
    for (char *p = buffer; p < buffer + n;)
      {
        const struct inotify_event *e = (const struct inotify_event *) p;

        for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
          if (e->mask & letters[i].mask)
            putchar (letters[i].letter);
        printf (" %s %s\n", argv[e->wd], e->len ? e->name : "");
        p += sizeof *e + e->len;
      }
  return 1;
}
