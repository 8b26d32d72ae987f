/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tag-length-value records: the one encoding that the library, its monitor and the guest's
 * agent speak.
 *
 * A record is a run of fields.  A field is a 16-bit tag, a 32-bit length (both little endian)
 * and that many bytes; the bytes of a field may themselves be a record.  Strings carry their
 * terminating NUL, so a reader can use them where they lie.  Unknown tags are skipped, which
 * lets either side be newer.
 *
 * The reader trusts nothing: every accessor checks length and form, and the first violation
 * sticks in the reader, so that a parser may run through a record and ask once at the end.
 */
#ifndef RCVM_COMMON_TLV_H
#define RCVM_COMMON_TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tlv_writer
{
  unsigned char *data;
  size_t len;
  size_t cap;
  bool failed; /* out of memory, or a field over 4 GiB; the record is then useless */
};

#define TLV_WRITER_INIT ((struct tlv_writer){ 0 })

void tlv_writer_free (struct tlv_writer *w);

void tlv_put (struct tlv_writer *w, uint16_t tag, const void *data, size_t len);
void tlv_put_u32 (struct tlv_writer *w, uint16_t tag, uint32_t value);
void tlv_put_u64 (struct tlv_writer *w, uint16_t tag, uint64_t value);
/* NULL is written as no field at all. */
void tlv_put_str (struct tlv_writer *w, uint16_t tag, const char *s);
/* A nested record: what is put between begin and end becomes the field's bytes. */
size_t tlv_begin (struct tlv_writer *w, uint16_t tag);
void tlv_end (struct tlv_writer *w, size_t mark);

struct tlv_reader
{
  const unsigned char *pos;
  const unsigned char *end;
  bool bad;
};

struct tlv_field
{
  uint16_t tag;
  uint32_t len;
  const unsigned char *data;
};

void tlv_reader_init (struct tlv_reader *r, const void *data, size_t len);
/* False at the end of the record and after a violation. */
bool tlv_next (struct tlv_reader *r, struct tlv_field *f);

uint32_t tlv_get_u32 (struct tlv_reader *r, const struct tlv_field *f);
uint64_t tlv_get_u64 (struct tlv_reader *r, const struct tlv_field *f);
/* Points into the record; "" after a violation (no NUL at the end, or one before it). */
const char *tlv_get_str (struct tlv_reader *r, const struct tlv_field *f);
/* A reader over the nested record.  Violations in it are the caller's to pass on. */
struct tlv_reader tlv_get_record (const struct tlv_field *f);

#endif
