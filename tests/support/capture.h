/* Captures what a function prints on stdout or stderr. */
#ifndef FLASHOVER_TESTS_SUPPORT_CAPTURE_H
#define FLASHOVER_TESTS_SUPPORT_CAPTURE_H

struct capture {
    int fd;     /* STDOUT_FILENO or STDERR_FILENO */
    int former; /* a duplicate of the original */
    int file;
    char text[16384]; /* set by capture_end(); cut if too long */
};

/* Between the two no check may fail: cmocka's report would be captured too. */
void capture_begin(struct capture *capture, int fd);
void capture_end(struct capture *capture);

#endif
