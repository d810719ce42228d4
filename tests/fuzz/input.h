/*
 * What every fuzz target needs: the entry that libFuzzer (or replay.c) calls, and the input's bytes
 * taken front to back.
 */
#ifndef FLASHOVER_TESTS_FUZZ_INPUT_H
#define FLASHOVER_TESTS_FUZZ_INPUT_H

#include "common/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name is libFuzzer's. Returns 0; a finding ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* The next byte, 0 after the end. */
static inline unsigned fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

/* Copies the bytes that are left into a string, which the caller frees. The allocation ends with
 * the string, so that AddressSanitizer sees a read beyond it. */
static inline char *fuzz_string(const struct fuzz_input *input)
{
    char *text = malloc(input->left + 1);
    assert(text);
    if (input->left > 0)
        memcpy(text, input->at, input->left);
    text[input->left] = '\0';
    return text;
}

#endif
