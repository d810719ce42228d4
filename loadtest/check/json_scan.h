/*
 * Reads JSON front to back without building it. The load tester needs what a parsed object no
 * longer shows: the same key twice in one object. It also costs a fraction of a tree of objects,
 * so that checking the answers does not become the bottleneck of the generator.
 * The grammar is RFC 8259; that strings are valid UTF-8 is not looked at. No memory is allocated.
 */
#ifndef FLASHOVER_LOADTEST_CHECK_JSON_SCAN_H
#define FLASHOVER_LOADTEST_CHECK_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_scan {
    const char *at;
    const char *end;
    bool at_start; /* just behind '{' or '[': no comma is due */
    bool failed;   /* the text is no JSON; every function then returns false and reads no further */
};

/* `bytes` is borrowed; NULL for none. */
void json_scan_init(struct json_scan *scan, const char *bytes, size_t size_bytes);

/* Enters an object. False, with the value skipped, when the value is another one. */
bool json_scan_object(struct json_scan *scan);

/* Inside an object: reads the next key, decoded and cut to `key_size`, and the colon; its value
 * must be read next. False behind the last member, with the '}' read. */
bool json_scan_member(struct json_scan *scan, char *key, size_t key_size);

/* Reads an integer of 64 bits. False, with the value skipped, for any other value. */
bool json_scan_integer(struct json_scan *scan, int64_t *out);

/* Reads a string, decoded and cut to `out_size`. False, with the value skipped, for any other. */
bool json_scan_string(struct json_scan *scan, char *out, size_t out_size);

/* Skips one value of any kind, nested at most 64 deep. */
void json_scan_skip(struct json_scan *scan);

/* True when nothing but white space is left and all that was read is JSON. */
bool json_scan_end(struct json_scan *scan);

#endif
