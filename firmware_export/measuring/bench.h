/* bench.h - between main.c, a port (port_*.c) and an adapter (the generated code's own entry behind bench_infer). */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <string.h>

#include "types.h"

/* the adapter's: once before all, and once a vector */
void bench_prepare(void);
void bench_infer(const bench_input *x, bench_output *y);
#ifdef BENCH_BETWEEN
void bench_between(unsigned vector); /* in front of each vector, and no part of its figure */
#endif

/* the port's */
void port_begin(void);
void port_load(void *to, const void *from, unsigned size); /* from constant memory */
void port_start(void);
void port_stop(void);
void port_put(unsigned char byte);
void port_end(void); /* does not return */

#endif
