/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* config.json as data: the OCI runtime spec's fields, checked for form, not yet decided upon. */
#ifndef RCVM_LIB_SPEC_H
#define RCVM_LIB_SPEC_H

#include <stddef.h>

#include <runcvm/error.h>

#include "options.h"

struct rcvmi_spec;

/* The sources, in the order of preference: options->config_json; BUNDLE/config.json; the defaults
   of rcvm_spec_default_json for a bare rootfs. */
struct rcvmi_spec *rcvmi_spec_load (const struct rcvmi_options *options, rcvm_error **err);
struct rcvmi_spec *rcvmi_spec_parse (const char *json, size_t len, rcvm_error **err);
void rcvmi_spec_free (struct rcvmi_spec *spec);

/* "1.0.2", as config.json says. */
const char *rcvmi_spec_get_oci_version (const struct rcvmi_spec *spec);

#endif
