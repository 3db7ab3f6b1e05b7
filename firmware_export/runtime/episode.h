/*
 * episode.h - one episode, tick by tick: what the simulator does, in the same order and with the same bits.
 * Knows neither the link nor the clock.
 */
#ifndef EPISODE_H
#define EPISODE_H

#include <stdint.h>

#include "policy.h"
#include "robot_model.h"

enum episode_outcome {
    EPISODE_GOES_ON = 0, /* `command` is to be applied */
    EPISODE_COMPLETE = 1,
    EPISODE_ABORT = 2,
    EPISODE_NOT_FINITE = 3 /* the policy gave NaN; `command` is the safe one */
};

struct episode {
    uint32_t id;
    float total;                     /* return so far */
    float si[ROBOT_SENSORS];
    int32_t sensors[ROBOT_SENSORS];  /* counts of this tick */
    int32_t command[ROBOT_ACTUATORS]; /* counts applied from this tick on */
    struct policy_state policy;
    uint16_t tick;                   /* of the last call; not valid before the first */
    uint8_t begun;
    uint8_t flags;                   /* of the last tick, enum protocol_flag */
    uint8_t abort_index;             /* 1 + index of the abort condition met, or 0 */
};

void episode_start(struct episode *episode, uint32_t id);

/* One control period while the policy is in charge: sensor counts in, episode->command out. */
enum episode_outcome episode_tick(struct episode *episode, const float *parameters, const int32_t *sensors);

/* The same in two steps, for actions that come from elsewhere: first what the sensors say, which may end the episode, */
enum episode_outcome episode_sense(struct episode *episode, const int32_t *sensors);

/* then wanted[ROBOT_ACTUATORS], counts, clipped and limited, as episode->command. */
void episode_command(struct episode *episode, const int32_t *wanted);

/* One control period in HOLD: no policy, no reward; the actuators keep episode->command. Returns as above. */
enum episode_outcome episode_tick_held(struct episode *episode, const int32_t *sensors);

/* First stage of the watchdog: episode->command becomes the hold values. */
void episode_hold(struct episode *episode);

/* episode->command becomes the safe values. */
void episode_release(struct episode *episode);

#endif
