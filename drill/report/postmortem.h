/*
 * The draft of a postmortem: what the record knows is filled in, and what needs judgement is a
 * question. The sections follow Google's (SRE Book, appendix D) and PagerDuty's templates, with
 * contributing factors in place of the one root cause.
 */
#ifndef FLASHOVER_DRILL_REPORT_POSTMORTEM_H
#define FLASHOVER_DRILL_REPORT_POSTMORTEM_H

#include "common/text.h"
#include "drill/report/replay.h"

/* The headings of the second level, in order; ends with NULL. The lint asks for all of them. */
extern const char *const postmortem_sections[];

/* Appends the draft, as Markdown. `text`.failed without memory. */
void postmortem_write(const struct replay *replay, struct text *out);

/* A time as the draft and the lint write it: "12:34:56" after the load's start, as H:MM:SS. */
#define POSTMORTEM_TIME_SIZE 48
void postmortem_time(double at_s, char out[POSTMORTEM_TIME_SIZE]);

#endif
