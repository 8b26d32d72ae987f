/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few threads that may wait for a disk.  They are made when there is work that no idle one takes. */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs-server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"

enum
{
  WORKERS_MAX = 16,
  STACK = 256 << 10
};

struct worker
{
  struct nfs_pool *pool;
  pthread_t id;
  struct nfs_thread thread;
};

struct nfs_pool
{
  struct nfs_server *server;
  pthread_mutex_t lock;
  pthread_cond_t work;
  struct nfs_job *first, **last, *done;
  unsigned n_workers, n_idle, n_queued, max;
  bool stop;
  int fd;
  struct worker *workers[WORKERS_MAX];
};

struct nfs_pool *
rcvmi_nfs_pool_new (struct nfs_server *s, unsigned max_workers, rcvm_error **err)
{
  struct nfs_pool *p = calloc (1, sizeof *p);

  if (!p)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  p->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (p->fd < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot make an event fd");
      free (p);
      return NULL;
    }
  p->server = s;
  p->max = max_workers > WORKERS_MAX ? WORKERS_MAX : max_workers;
  p->last = &p->first;
  pthread_mutex_init (&p->lock, NULL);
  pthread_cond_init (&p->work, NULL);
  return p;
}

int
rcvmi_nfs_pool_fd (const struct nfs_pool *p)
{
  return p->fd;
}

static void
deliver (struct nfs_pool *p, struct nfs_job *job)
{
  static const uint64_t one = 1;
  bool first = !p->done;

  job->next = p->done;
  p->done = job;
  if (first && write (p->fd, &one, sizeof one) != sizeof one)
    /* An eventfd's counter cannot overflow by that. */
    abort ();
}

static void *
work (void *user)
{
  struct worker *w = user;
  struct nfs_pool *p = w->pool;

  pthread_mutex_lock (&p->lock);
  for (;;)
    {
      struct nfs_job *job;

      while (!p->first && !p->stop)
        {
          p->n_idle++;
          pthread_cond_wait (&p->work, &p->lock);
          p->n_idle--;
        }
      if (p->stop)
        break;
      job = p->first;
      p->first = job->next;
      if (!p->first)
        p->last = &p->first;
      p->n_queued--;
      pthread_mutex_unlock (&p->lock);
      rcvmi_nfs_rpc_run (&w->thread, &job->call);
      pthread_mutex_lock (&p->lock);
      deliver (p, job);
    }
  pthread_mutex_unlock (&p->lock);
  return NULL;
}

static void
add_worker (struct nfs_pool *p)
{
  struct worker *w = calloc (1, sizeof *w);
  pthread_attr_t attr;

  if (!w)
    return;
  w->pool = p;
  w->thread.server = p->server;
  w->thread.worker = true;
  pthread_attr_init (&attr);
  pthread_attr_setstacksize (&attr, STACK);
  if (pthread_create (&w->id, &attr, work, w) == 0)
    p->workers[p->n_workers++] = w;
  else
    free (w);
  pthread_attr_destroy (&attr);
}

void
rcvmi_nfs_pool_submit (struct nfs_pool *p, struct nfs_job *job)
{
  pthread_mutex_lock (&p->lock);
  job->next = NULL;
  *p->last = job;
  p->last = &job->next;
  p->n_queued++;
  if (p->n_idle < p->n_queued && p->n_workers < p->max)
    add_worker (p);
  if (p->n_workers == 0)
    {
      /* Not one thread is to be had: then it is done here. */
      p->first = NULL;
      p->last = &p->first;
      p->n_queued = 0;
      job->call.thread->worker = true;
      rcvmi_nfs_rpc_run (job->call.thread, &job->call);
      job->call.thread->worker = false;
      deliver (p, job);
    }
  else
    pthread_cond_signal (&p->work);
  pthread_mutex_unlock (&p->lock);
}

struct nfs_job *
rcvmi_nfs_pool_take (struct nfs_pool *p)
{
  struct nfs_job *done;
  uint64_t count;

  pthread_mutex_lock (&p->lock);
  if (read (p->fd, &count, sizeof count) < 0 && errno != EAGAIN)
    abort ();
  done = p->done;
  p->done = NULL;
  pthread_mutex_unlock (&p->lock);
  return done;
}

void
rcvmi_nfs_pool_stop (struct nfs_pool *p)
{
  pthread_mutex_lock (&p->lock);
  p->stop = true;
  pthread_cond_broadcast (&p->work);
  pthread_mutex_unlock (&p->lock);
  for (unsigned i = 0; i < p->n_workers; i++)
    {
      pthread_join (p->workers[i]->id, NULL);
      free (p->workers[i]);
    }
  p->n_workers = 0;
  while (p->first)
    {
      struct nfs_job *job = p->first;

      p->first = job->next;
      job->next = p->done;
      p->done = job;
    }
}

void
rcvmi_nfs_pool_free (struct nfs_pool *p)
{
  close (p->fd);
  pthread_mutex_destroy (&p->lock);
  pthread_cond_destroy (&p->work);
  free (p);
}
