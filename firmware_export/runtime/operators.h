/*
 * operators.h - between adaptation.c and the operators: each has the same three functions, and numbers its candidates
 * and episodes as its twin in Python does.
 */
#ifndef OPERATORS_H
#define OPERATORS_H

#include "adaptation.h"

struct adaptation_order order_step(const struct adaptation *adaptation, uint16_t candidate, float factor);
struct adaptation_order order_run(const struct adaptation *adaptation);
struct adaptation_order order_plain(uint8_t kind);

void climb_start(struct adaptation *adaptation, const struct adaptation_settings *settings);
struct adaptation_order climb_next(struct adaptation *adaptation);
void climb_tell(struct adaptation *adaptation, float value);

void confirmed_start(struct adaptation *adaptation, const struct adaptation_settings *settings);
struct adaptation_order confirmed_next(struct adaptation *adaptation);
void confirmed_tell(struct adaptation *adaptation, float value);
float confirmed_pivot(const struct confirmed *confirmed);

void gradient_start(struct adaptation *adaptation, const struct adaptation_settings *settings);
struct adaptation_order gradient_next(struct adaptation *adaptation);
void gradient_tell(struct adaptation *adaptation, float value);

#endif
