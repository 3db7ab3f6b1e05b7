/*
 * act.h - what the policy makes of the sensors of one control period. Two files have it: act.c for a policy in float32,
 * whose parameters may change, and frozen/act.c for one in integers, from the sensors' counts to the actuators'.
 */
#ifndef ACT_H
#define ACT_H

#include "episode.h"

/* Of episode->sensors and episode->si: wanted[ROBOT_ACTUATORS], counts within their range, rate limits still to come;
 * FLAG_CLIPPED into episode->flags. Returns 1; or 0 where the policy gave NaN, which integers cannot. */
int act_wanted(struct episode *episode, const float *parameters, int32_t *wanted);

#endif
