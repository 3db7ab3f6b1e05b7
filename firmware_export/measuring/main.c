/*
 * main.c - inferences on the vectors of vectors.h, each between two marks; results go out as bytes.
 *
 * What is measured stands in another file (bench_infer), so a call and a return are part of every figure, and no
 * compiler sees through it.
 */
#include "bench.h"

#define VECTORS_HERE
#include "vectors.h"

static bench_input input[BENCH_INPUTS];
static bench_output output[BENCH_OUTPUTS];

static void put_result(void)
{
    const unsigned char *bytes = (const unsigned char *)output;
    unsigned k;

    for (k = 0; k < sizeof output; k++) {
        port_put(bytes[k]);
    }
}

int main(void)
{
    unsigned v;

    port_begin();
    bench_prepare();
    for (v = 0; v < BENCH_VECTORS; v++) {
        port_load(input, &vectors[v][0], sizeof input);
#ifdef BENCH_BETWEEN
        bench_between(v);
#endif
        port_start();
        bench_infer(input, output);
        port_stop();
        put_result();
    }
    port_end();
    return 0;
}
