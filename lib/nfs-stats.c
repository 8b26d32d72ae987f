/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures.  Latencies lie in buckets whose width is an eighth of their power of two, as in an HDR
   histogram. */
#include "config.h"

#include "nfs-server.h"

enum
{
  LINEAR = 16, /* microseconds that have a bucket each */
  SUB = 8
};

static unsigned
bucket_of (uint64_t usec)
{
  unsigned log, i;

  if (usec < LINEAR)
    return (unsigned) usec;
  log = 63 - (unsigned) __builtin_clzll (usec);
  i = LINEAR + (log - 4) * SUB + (unsigned) (usec >> (log - 3) & (SUB - 1));
  return i < RCVMI_NFS_BUCKETS ? i : RCVMI_NFS_BUCKETS - 1;
}

/* The highest value in it. */
static uint64_t
bucket_end (unsigned i)
{
  unsigned log;

  if (i < LINEAR)
    return i;
  log = 4 + (i - LINEAR) / SUB;
  return (UINT64_C (1) << log) + ((uint64_t) ((i - LINEAR) % SUB + 1) << (log - 3)) - 1;
}

void
rcvmi_nfs_stats_add (struct nfs_stats *s, const struct nfs_call *c, int64_t now)
{
  struct nfs_figures *f = &s->of[c->prog == NFS_PROGRAM ? c->proc : NFS_PROCEDURES + c->proc];

  f->calls++;
  f->errors += c->status != NFS3_OK;
  f->latency[bucket_of (now > c->arrived ? (uint64_t) (now - c->arrived) : 0)]++;
  s->bytes_read += c->bytes_out;
  s->bytes_written += c->bytes_in;
}

uint64_t
rcvmi_nfs_stats_percentile (const struct nfs_figures *f, double percent)
{
  uint64_t total = 0, seen = 0;
  double rank;

  for (unsigned i = 0; i < RCVMI_NFS_BUCKETS; i++)
    total += f->latency[i];
  if (total == 0)
    return 0;
  rank = (double) total * percent / 100;
  for (unsigned i = 0; i < RCVMI_NFS_BUCKETS; i++)
    {
      seen += f->latency[i];
      if (seen > 0 && (double) seen >= rank)
        return bucket_end (i);
    }
  return bucket_end (RCVMI_NFS_BUCKETS - 1);
}
