#include "loadtest/base/processors.h"

#include <math.h>
#include <sched.h>
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
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (unsigned)count : 1;
}
