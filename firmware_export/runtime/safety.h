/*
 * safety.h - the safety machine as one table: state x event -> state.
 * States are enum protocol_state (protocol.h). Torque is on in RUN and HOLD only.
 */
#ifndef SAFETY_H
#define SAFETY_H

#include <stdint.h>

#define SAFETY_STATES 7

enum safety_event {
    EVENT_BOOTED = 0,      /* start-up checks passed */
    EVENT_FAULT = 1,       /* start-up checks failed, the policy gave NaN, or a device failed */
    EVENT_ARM = 2,
    EVENT_DISARM = 3,
    EVENT_RUN = 4,
    EVENT_STOP = 5,        /* the host ends the episode */
    EVENT_FINISHED = 6,    /* the episode ran its length, or an abort condition was met */
    EVENT_HOLD = 7,        /* watchdog, first stage */
    EVENT_RELEASE = 8,     /* watchdog, second stage */
    EVENT_ESTOP = 9,
    EVENT_CLEAR_ESTOP = 10,
    EVENT_TAKEOVER = 11,   /* another host opened a session */
    SAFETY_EVENTS = 12
};

#define SAFETY_REFUSED 0xFFu /* the event is not allowed in this state, which stays */

/* The state after `event` in `state`, or SAFETY_REFUSED. */
uint8_t safety_next(uint8_t state, uint8_t event);

int safety_torque(uint8_t state);

#endif
