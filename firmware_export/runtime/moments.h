/*
 * moments.h - mean and spread of returns as they come, and what a comparison of two means needs. float32, the twin of
 * esmaml_robot/adaptation/running.py and student.py, operation by operation. Nothing of libm.
 */
#ifndef MOMENTS_H
#define MOMENTS_H

#include <stdint.h>

/* All zero is of no value. */
struct moments {
    uint16_t count;
    float mean;
    float squares; /* sum of squared deviations from the mean: 0 exactly where all values are the same */
};

void moments_add(struct moments *moments, float value);

/* Whether there are two values or more, and all are the same. */
int moments_repeat(const struct moments *moments);

/* The square root, rounded to nearest as IEEE 754 has it; of infinity infinity, of anything negative NaN. */
float moments_sqrt(float value);

/* 97.5 % quantile of Student's t with so many (1 or more) degrees of freedom. */
float moments_t975(uint16_t freedom);

#endif
