/* Addresses become names: in this program, which has debug information, and in a library, which has
 * none. */
#include "service/dump/symbols.h"

#include "tests/support/support.h"

#include <string.h>
#include <unistd.h>

static struct dump_symbols *symbols;
static struct dump_resolver resolver;
static uintptr_t inside; /* an address in the inlined function below; its caller sets it */

static int open_symbols(void **state)
{
    (void)state;
    symbols = dump_symbols_open();
    if (!symbols || !dump_symbols_read_map(symbols, getpid()))
        return -1;
    resolver = dump_symbols_resolver(symbols);
    return 0;
}

static int close_symbols(void **state)
{
    (void)state;
    dump_symbols_close(symbols);
    dump_symbols_close(NULL);
    return 0;
}

/* Notes where its caller is: the return address less one is within the call. */
static void __attribute__((noinline)) note_caller(void)
{
    inside = (uintptr_t)__builtin_return_address(0) - 1;
}

static const unsigned inner_line = __LINE__ + 3;
static inline void __attribute__((always_inline)) inner(void)
{
    note_caller();
}

static const unsigned outer_line = __LINE__ + 3;
static void __attribute__((noinline)) outer(void)
{
    inner();
}

/* The innermost frame comes first, then the inlined function's caller, each with its own line. */
static void test_inlined_calls_are_frames_of_their_own(void **state)
{
    const struct dump_frame *frames;
    (void)state;
    outer();
    unsigned count = resolver.resolve(resolver.context, inside, &frames);
    assert_int_equal(count, 2);
    assert_string_equal(frames[0].function, "inner");
    assert_string_equal(frames[0].file, "tests/unit/service/test_dump_symbols.c");
    assert_int_equal(frames[0].line, inner_line);
    assert_string_equal(frames[1].function, "outer");
    assert_string_equal(frames[1].file, "tests/unit/service/test_dump_symbols.c");
    assert_int_equal(frames[1].line, outer_line);
}

/* A report keeps pointers to frames while it resolves others. */
static void test_what_was_resolved_stays(void **state)
{
    const struct dump_frame *first, *again, *other;
    (void)state;
    outer();
    (void)resolver.resolve(resolver.context, inside, &first);
    for (uintptr_t i = 0; i < 2000; i++)
        (void)resolver.resolve(resolver.context, (uintptr_t)open_symbols + i, &other);
    assert_string_equal(first->function, "inner");
    assert_int_equal(resolver.resolve(resolver.context, inside, &again), 2);
    assert_ptr_equal(again, first);
}

/* More addresses than the cache holds, as in a dump of very many threads: the rest are resolved
 * anew each time. */
static void test_more_addresses_than_there_is_room_for(void **state)
{
    enum { MORE = 9000 };
    const struct dump_frame *frames;
    (void)state;
    outer();
    assert_true(dump_symbols_read_map(symbols, getpid()));
    for (uintptr_t address = 16; address < 16 + MORE; address++)
        assert_int_equal(resolver.resolve(resolver.context, address, &frames), 1);
    assert_int_equal(resolver.resolve(resolver.context, inside, &frames), 2);
    assert_string_equal(frames[0].function, "inner");
    assert_int_equal(resolver.resolve(resolver.context, (uintptr_t)outer, &frames), 1);
    assert_string_equal(frames[0].function, "outer");
}

/* Only the symbol table is there. The library's name takes the place of the file's. */
static void test_a_library_without_lines(void **state)
{
    const struct dump_frame *frames;
    (void)state;
    assert_int_equal(
        resolver.resolve(resolver.context, (uintptr_t)_cmocka_run_group_tests, &frames), 1);
    assert_string_equal(frames[0].function, "_cmocka_run_group_tests");
    assert_non_null(strstr(frames[0].file, "libcmocka.so"));
    assert_null(strchr(frames[0].file, '/'));
    assert_int_equal(frames[0].line, 0);
}

static void test_an_address_of_nothing(void **state)
{
    const struct dump_frame *frames;
    (void)state;
    assert_int_equal(resolver.resolve(resolver.context, 16, &frames), 1);
    assert_string_equal(frames[0].function, "?+0x10");
    assert_string_equal(frames[0].file, "?");
    assert_int_equal(frames[0].line, 0);
}

/* The helper reads the map of a process that may be gone by then. In that case it reads its own
 * map, which is the same. */
static void test_a_process_that_is_gone_has_our_map(void **state)
{
    enum { NOBODY = 0x7ffffff0 }; /* beyond the kernel's highest pid */
    struct dump_symbols *anew = dump_symbols_open();
    const struct dump_frame *frames;
    (void)state;
    assert_non_null(anew);
    assert_true(dump_symbols_read_map(anew, NOBODY));
    struct dump_resolver by = dump_symbols_resolver(anew);
    assert_true(by.resolve(by.context, (uintptr_t)outer, &frames) > 0);
    assert_string_equal(frames[0].function, "outer");
    dump_symbols_close(anew);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inlined_calls_are_frames_of_their_own),
        cmocka_unit_test(test_what_was_resolved_stays),
        cmocka_unit_test(test_a_library_without_lines),
        cmocka_unit_test(test_an_address_of_nothing),
        cmocka_unit_test(test_a_process_that_is_gone_has_our_map),
        cmocka_unit_test(test_more_addresses_than_there_is_room_for),
    };
    return cmocka_run_group_tests_name("dump_symbols", tests, open_symbols, close_symbols);
}
