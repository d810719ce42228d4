/*
 * The toggles and their values, a row each: the only list of them in the program.
 *
 * TOGGLE_TABLE(T) is T(ID, name, VALUES) for each toggle, and VALUES(V) is V(name, value, KIND,
 * help) for each of its values. The value's operations are `name_value`, in `NAME/VALUE.c`. The
 * first value is the default, KIND tells what the others are: BUG, FIX or MITIGATION.
 *
 * `help` is what docs/configuration.md has; tests/checks/toggles-and-options names whatever a new
 * row still lacks.
 */
#ifndef FLASHOVER_SERVICE_VARIANTS_TOGGLES_TBL_H
#define FLASHOVER_SERVICE_VARIANTS_TOGGLES_TBL_H

/* clang-format off */
#define TOGGLE_TABLE(T) \
    T(QUERY, query, QUERY_VALUES) \
    T(MAP, map, MAP_VALUES) \
    T(RELEASE, release, RELEASE_VALUES) \
    T(ADMISSION, admission, ADMISSION_VALUES) \
    T(FATAL, fatal, FATAL_VALUES) \
    T(DEADLINE, deadline, DEADLINE_VALUES) \
    T(CANCEL, cancel, CANCEL_VALUES)

#define QUERY_VALUES(V) \
    V(query, batched, DEFAULT, "one query and checkout for the feed") \
    V(query, per_item, BUG, "a thread, a checkout and a query per item") \
    V(query, bounded, MITIGATION, "per_item with --fan-out-limit threads") \
    V(query, pipelined, FIX, "the list, then all items in one libpq pipeline") \
    V(query, nested, BUG, "per_item; keeps the list's connection meanwhile") \
    V(query, connect_per_item, BUG, "per_item, each with a new connection, no pool")

#define MAP_VALUES(V) \
    V(map, mutex, DEFAULT, "one lock") \
    V(map, unsafe, BUG, "no lock; a second writer ends the process") \
    V(map, unchecked, BUG, "no lock, no check: a 200 may lack items") \
    V(map, slots, FIX, "a slot per item: no lock needed")

#define RELEASE_VALUES(V) \
    V(release, always, DEFAULT, "the connection returns on every path") \
    V(release, on_success, BUG, "it returns only after a successful query")

#define ADMISSION_VALUES(V) \
    V(admission, deadline, DEFAULT, "no connection for a waiter past its deadline") \
    V(admission, blind, BUG, "it gets one and may not write")

#define FATAL_VALUES(V) \
    V(fatal, abort, DEFAULT, "a concurrent write ends the process by SIGABRT") \
    V(fatal, exit_thread, BUG, "it ends that thread, which keeps its connection")

#define DEADLINE_VALUES(V) \
    V(deadline, propagated, DEFAULT, "it reaches every checkout, connect and query") \
    V(deadline, ignored, BUG, "only the handler has one; its threads go on")

#define CANCEL_VALUES(V) \
    V(cancel, siblings, DEFAULT, "an item's error stops the rest of its request") \
    V(cancel, never, BUG, "the rest goes on")
/* clang-format on */

#endif
