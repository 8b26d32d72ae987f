/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libFuzzer: a config.json all the way to the plan, and a process object to an EXEC record.  See
 * HACKING for how to build and run it; tests/fixtures is a corpus to start from.
 *
 * What is decoded from a record that the plan made must be well-formed, whatever the text was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "options.h"
#include "plan.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_record (const struct tlv_writer *w)
{
  struct tlv_reader r;
  struct tlv_field f;

  if (w->failed || w->len > AGENT_REQUEST_MAX)
    abort ();
  if (w->len == 0)
    return;
  tlv_reader_init (&r, w->data, w->len);
  while (tlv_next (&r, &f))
    ;
  if (r.bad)
    abort ();
}

static void
fuzz_exec (const struct rcvmi_plan *plan, const char *json)
{
  struct rcvmi_exec_options o = RCVMI_EXEC_OPTIONS_INIT;
  struct tlv_writer w = TLV_WRITER_INIT;
  char *args[] = { (char *) "sh", NULL };
  rcvm_error *err = NULL;
  bool terminal;

  o.process_json = (char *) json;
  if (!json)
    o.args = args;
  if (rcvmi_plan_exec (plan, &o, &w, &terminal, &err) == 0)
    check_record (&w);
  else if (!err || !*rcvm_error_get_message (err))
    abort ();
  rcvm_error_free (err);
  tlv_writer_free (&w);
}

static void
fuzz_options (const uint8_t *data, size_t size)
{
  struct rcvmi_options o;

  if (rcvmi_options_decode (&o, data, size, NULL) == 0)
    {
      struct tlv_writer w = TLV_WRITER_INIT;

      rcvmi_options_encode (&o, &w);
      check_record (&w);
      tlv_writer_free (&w);
    }
  rcvmi_options_clear (&o);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const char minimal[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"/\"},"
                                "\"process\":{\"args\":[\"a\"],\"cwd\":\"/\"}}";
  struct rcvmi_options o = RCVMI_OPTIONS_INIT;
  struct rcvmi_plan *plan = NULL;
  struct rcvmi_spec *spec;
  rcvm_error *err = NULL;
  char *text;

  fuzz_options (data, size);
  text = malloc (size + 1);
  if (!text)
    return 0;
  memcpy (text, data, size);
  text[size] = 0;

  o.id = (char *) "fuzz";
  o.bundle = (char *) "/b";
  spec = rcvmi_spec_parse (text, size, &err);
  if (spec)
    plan = rcvmi_plan_new (spec, &o, NULL, &err);
  if (plan)
    {
      if (err)
        abort ();
      check_record (&plan->setup);
      check_record (&plan->exec);
      fuzz_exec (plan, NULL);
      rcvmi_plan_free (plan);
    }
  else if (!err || !*rcvm_error_get_message (err))
    abort ();
  rcvm_error_free (err);

  spec = rcvmi_spec_parse (minimal, strlen (minimal), NULL);
  plan = spec ? rcvmi_plan_new (spec, &o, NULL, NULL) : NULL;
  if (plan)
    fuzz_exec (plan, text);
  rcvmi_plan_free (plan);
  free (text);
  return 0;
}
