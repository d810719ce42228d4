/*
 * From an address to function, file and line, by libdw: what the binary and its libraries tell of
 * themselves. One process, one thread; it allocates, so a dying process leaves it to its helper.
 */
#ifndef FLASHOVER_SERVICE_DUMP_SYMBOLS_H
#define FLASHOVER_SERVICE_DUMP_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dump_frame {
    char function[96]; /* "libc.so.6+0x891f4" where it has no name */
    char file[128]; /* relative to where it was compiled; or the library, where no line is known */
    unsigned line;  /* 0: unknown */
};

/* Turns addresses into frames; a test has its own. */
struct dump_resolver {
    /* The frames of an address, the innermost first (several where calls were inlined), at least
     * one. They stay until the resolver ends. */
    unsigned (*resolve)(void *context, uintptr_t address, const struct dump_frame **frames);
    void *context;
};

struct dump_symbols;

/* NULL without memory. */
struct dump_symbols *dump_symbols_open(void) __attribute__((warn_unused_result));

/* Reads the memory map of process `pid`, or of this one when that is gone: a forked helper has the
 * same. What was resolved before is still known. False when neither can be read. */
bool dump_symbols_read_map(struct dump_symbols *symbols, pid_t pid)
    __attribute__((warn_unused_result));

/* A resolver over it. */
struct dump_resolver dump_symbols_resolver(struct dump_symbols *symbols);

void dump_symbols_close(struct dump_symbols *symbols);

#endif
