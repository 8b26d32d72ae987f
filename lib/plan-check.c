/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a config.json could be run: by making the plan of it and throwing it away. */
#include "config.h"

#define RCVMI_STAGE "spec"

#include <runcvm/spec.h>

#include <string.h>

#include "err.h"
#include "plan.h"
#include "visibility.h"

RCVM_PUBLIC int
rcvm_spec_check (const char *json, rcvm_error **err)
{
  struct rcvmi_options options = RCVMI_OPTIONS_INIT;
  rcvm_error *error = NULL;
  struct rcvmi_plan *plan = NULL;
  struct rcvmi_spec *spec;

  if (!json)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "there is no text to check");
  /* Paths that are relative to the bundle are as good as others here; the text lies in no bundle
     yet. */
  options.id = (char *) "check";
  options.bundle = (char *) "/";
  options.config_json = (char *) json;
  spec = rcvmi_spec_load (&options, &error);
  if (spec)
    plan = rcvmi_plan_new (spec, &options, NULL, &error);
  rcvmi_plan_free (plan);
  return plan ? 0 : rcvmi_error_pass (err, error);
}
