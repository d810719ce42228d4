#include "loadtest/base/processors.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

double processors_busy_s(void)
{
    unsigned long long user, nice, system, idle, io_wait, irq, soft_irq;
    FILE *file = fopen("/proc/stat", "re");
    int read = file ? fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
                             &idle, &io_wait, &irq, &soft_irq)
                    : 0;
    if (file)
        fclose(file);
    if (read != 7)
        return (double)NAN;
    return (double)(user + nice + system + irq + soft_irq) / (double)sysconf(_SC_CLK_TCK);
}

unsigned processors_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}
