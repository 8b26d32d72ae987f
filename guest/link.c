/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "link.h"

#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "modules.h"
#include "netif.h"
#include "rtnl.h"

int
link_bring_up (const struct net_interface *i, struct failure *f)
{
  autoclose int rtnl = -1;
  int index;

  /* The device was there before the kernel: once its driver is there, it is found. */
  if (modules_load ("virtio_net") < 0)
    return fail (f, "mount", errno, "cannot load the kernel module virtio_net for the link to the volumes: take another kernel, or transport=tunnel");
  rtnl = rtnl_open (0);
  if (rtnl < 0)
    return fail (f, "mount", errno, "cannot open a netlink socket for the link to the volumes");
  index = i->has_mac ? netif_find (rtnl, i->mac, NULL) : 0;
  if (!index)
    return fail (f, "mount", ENODEV, "the guest's kernel shows no network device for the link to the volumes (virtio_net): take another kernel, or transport=tunnel");
  return netif_configure (rtnl, index, i, f);
}
