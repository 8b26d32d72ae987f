/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records that come over the control socket, and a state.json that somebody has damaged. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "options.h"
#include "state.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_exec_options exec_options;
  struct rcvmi_options options;
  struct rcvmi_state state;
  rcvm_error *err = NULL;
  char *text;

  if (rcvmi_options_decode (&options, data, size, NULL) == 0)
    rcvmi_options_clear (&options);
  if (rcvmi_exec_options_decode (&exec_options, data, size, NULL) == 0)
    rcvmi_exec_options_clear (&exec_options);
  rcvmi_control_get_error (data, size, &err);
  rcvm_error_free (err);
  text = malloc (size + 1);
  if (!text)
    return 0;
  memcpy (text, data, size);
  text[size] = 0;
  if (rcvmi_state_from_json (&state, text, NULL) == 0)
    free (rcvmi_state_to_json (&state, false, NULL));
  rcvmi_state_clear (&state);
  free (text);
  return 0;
}
