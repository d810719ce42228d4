/*
 * The table of outcomes: how a scheduled request can end. A row makes the enumerator, the key in
 * JSON, metrics and --slo, the label in the reports, and the rules of the books. A new outcome is a
 * row here, the code that ends a request by it, its lines in docs/ and its colour in
 * report/html/report.css; tests/checks/outcomes-listed names what is missing.
 *
 * ROW(name, key, label, class, answered, meaning): `class` is one of enum outcome_class, `answered`
 * tells whether a whole HTTP answer came, `meaning` is the docs' line.
 */
#ifndef FLASHOVER_LOADTEST_BOOKS_OUTCOME_TBL_H
#define FLASHOVER_LOADTEST_BOOKS_OUTCOME_TBL_H

/* clang-format off */
#define OUTCOME_TABLE(ROW)                                                                         \
    ROW(OK, "ok", "ok", RIGHT, true,                                                               \
        "right status and, with --check feed, right body")                                         \
    ROW(WRONG, "wrong", "wrong map in a 200", WRONG, true,                                         \
        "200, but the body breaks the data rule")                                                  \
    ROW(HTTP_ERROR, "http_error", "HTTP error", SERVICE, true,                                     \
        "whole answer, another status")                                                            \
    ROW(PROTOCOL_ERROR, "protocol_error", "protocol error", SERVICE, false,                        \
        "not HTTP, or a feed over 1 MiB")                                                          \
    ROW(TIMEOUT, "timeout", "timeout", SERVICE, false,                                             \
        "no whole answer until intended start + --timeout")                                        \
    ROW(CONNECT_ERROR, "connect_error", "refused (no connection)", CONNECTION, false,              \
        "refused, unreachable, or out of descriptors")                                             \
    ROW(RESET, "reset", "reset (cut off)", CONNECTION, false,                                      \
        "connection ended before the whole answer")                                                \
    ROW(IN_FLIGHT_AT_END, "in_flight_at_end", "in flight at the end", UNFINISHED, false,           \
        "the run was stopped")                                                                     \
    ROW(DROPPED, "dropped", "dropped (in-flight cap)", NOT_SENT, false,                            \
        "never sent: --max-in-flight was reached")
/* clang-format on */

#endif
