#include "loadtest/command.h"

#include <curl/curl.h>
#include <stdio.h>

/* Outlives every run: signal handlers point to it. */
static struct stop stop;

int main(int argc, char **argv)
{
    if (stop_init(&stop) || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        fputs("loadtest: cannot start: no descriptors or no memory\n", stderr);
        return 1;
    }
    stop_on_signals(&stop);
    int status = command_dispatch(argc, argv, &stop);
    curl_global_cleanup();
    stop_destroy(&stop);
    return status;
}
