/* What a function prints on stdout or stderr, for the test to read. */
#ifndef FLASHOVER_TEST_CAPTURE_H
#define FLASHOVER_TEST_CAPTURE_H

struct capture {
    int fd;     /* STDOUT_FILENO or STDERR_FILENO */
    int former; /* where that led to */
    int file;
    char text[16384]; /* once it has ended; cut short where it is longer */
};

/* Nothing in between may fail the test: its report would be captured too. */
void capture_begin(struct capture *capture, int fd);
void capture_end(struct capture *capture);

#endif
