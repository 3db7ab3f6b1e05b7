/*
 * float_functions.c - the functions of a generated network against those of the C library in double, over float32.
 *
 *   float_functions STRIDE       each STRIDEth of the 2^32 bit patterns, a line a function:
 *                                name, largest error in units of 2^-23, its argument, largest magnitude, wrong NaNs
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "network.c"

static float tanh_c(float x) { return tanh_of(x); }
static float sigmoid_c(float x) { return sigmoid_of(x); }
static float elu_c(float x) { return elu_of(x, 2.0f); }
static float softsign_c(float x) { return softsign_of(x); }

static double sigmoid_exact(double x) { return 1.0 / (1.0 + exp(-x)); }
static double elu_exact(double x) { return x > 0.0 ? x : expm1(x); }
static double softsign_exact(double x) { return x / (1.0 + fabs(x)); }

static const struct {
    const char *name;
    float (*ours)(float);
    double (*exact)(double);
} functions[] = {
    {"tanh", tanh_c, tanh}, {"sigmoid", sigmoid_c, sigmoid_exact}, {"elu", elu_c, elu_exact},
    {"softsign", softsign_c, softsign_exact},
};

int main(int argc, char **argv)
{
    const uint64_t stride = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    size_t f;

    if (stride == 0) {
        fprintf(stderr, "usage: float_functions STRIDE\n");
        return 2;
    }
    for (f = 0; f < sizeof functions / sizeof *functions; f++) {
        double worst = 0.0, largest = 0.0;
        float where = 0.0f;
        unsigned long wrong = 0;
        uint64_t k;

        for (k = 0; k < (uint64_t)1 << 32; k += stride) {
            const uint32_t bits = (uint32_t)k;
            float x, y;
            double exact;

            memcpy(&x, &bits, sizeof x);
            y = functions[f].ours(x);
            if (x != x || y != y) {
                /* softsign of an infinity is NaN, as its formula says */
                wrong += (x != x) != (y != y) && !(isinf(x) && f == 3);
                continue;
            }
            exact = functions[f].exact((double)x);
            if (f == 2 && x > 0.0f) {
                wrong += y != x; /* exact, and of any size */
                continue;
            }
            if (fabs((double)y) > largest) {
                largest = fabs((double)y);
            }
            if (fabs((double)y - exact) > worst) {
                worst = fabs((double)y - exact);
                where = x;
            }
        }
        printf("%s %.4f %.9g %.9g %lu\n", functions[f].name, worst * 0x1p23, (double)where, largest, wrong);
        fflush(stdout);
    }
    return 0;
}
