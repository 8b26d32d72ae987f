/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* config.json and features documents. */
#ifndef RUNCVM_SPEC_H
#define RUNCVM_SPEC_H

#include <runcvm/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A config.json to start from (what `runc spec` is for).  Since 0.1. */
char *rcvm_spec_default_json (rcvm_error **err);
/* Checks the text of a config.json: RCVM_E_SPEC with the first field that is missing or wrong,
   RCVM_E_UNSUPPORTED with the first that cannot be honoured in a VM.  Since 0.1. */
int rcvm_spec_check (const char *json, rcvm_error **err);
/* The OCI features document (features.md) of this library.  Since 0.1. */
char *rcvm_features_json (rcvm_error **err);

#ifdef __cplusplus
}
#endif
#endif
