/*
 * adaptation.h - hill climbing on the controller alone: the twin of esmaml_robot/adaptation/hill_climb.py, and the same
 * decisions from the same returns. The base parameters are the best so far, a candidate is (seed, sigma), so all that is
 * remembered are these few numbers.
 */
#ifndef ADAPTATION_H
#define ADAPTATION_H

#include <stdint.h>

struct adaptation {
    uint8_t running;
    uint16_t queries; /* episodes after the first, which is that of the base */
    uint16_t told;
    uint32_t seed;
    float pivot; /* return to beat */
    float sigma; /* of the next step */
    float shrink;
};

/* What to run next: base + sigma * direction(direction_seed), or the base itself where sigma is 0. */
struct adaptation_episode {
    uint32_t direction_seed;
    float sigma;
    uint32_t episode_seed;
};

/* Begins; returns 0 and stays as it was if a number is out of its range. */
int adaptation_start(struct adaptation *adaptation, uint32_t seed, uint16_t queries, float sigma, float shrink);

/* The next episode; the same one until adaptation_tell(). */
struct adaptation_episode adaptation_ask(const struct adaptation *adaptation);

/* The episode returned `value`, which is finite. Returns 1 if its candidate is the new base. `running` is 0 once that
 * was the last one. */
int adaptation_tell(struct adaptation *adaptation, float value);

#endif
