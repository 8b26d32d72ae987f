/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libnftnl, loaded when the first VM has host networking: no other use needs it. */
#ifndef RCVM_LIB_NET_NFTNL_H
#define RCVM_LIB_NET_NFTNL_H

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>

#include <runcvm/error.h>

#define RCVMI_NFTNL_FUNCTIONS(X) \
  X (nftnl_batch_begin) \
  X (nftnl_batch_end) \
  X (nftnl_chain_alloc) \
  X (nftnl_chain_free) \
  X (nftnl_chain_nlmsg_build_payload) \
  X (nftnl_chain_set_s32) \
  X (nftnl_chain_set_str) \
  X (nftnl_chain_set_u32) \
  X (nftnl_expr_alloc) \
  X (nftnl_expr_set) \
  X (nftnl_expr_set_u32) \
  X (nftnl_nlmsg_build_hdr) \
  X (nftnl_rule_add_expr) \
  X (nftnl_rule_alloc) \
  X (nftnl_rule_free) \
  X (nftnl_rule_nlmsg_build_payload) \
  X (nftnl_rule_set_str) \
  X (nftnl_table_alloc) \
  X (nftnl_table_free) \
  X (nftnl_table_nlmsg_build_payload) \
  X (nftnl_table_set_str) \
  X (nftnl_table_set_u32)

struct rcvmi_nftnl
{
#define X(name) __typeof__ (name) *name;
  RCVMI_NFTNL_FUNCTIONS (X)
#undef X
};

/* It stays loaded. */
int rcvmi_nftnl_load (struct rcvmi_nftnl *lib, rcvm_error **err);

#endif
