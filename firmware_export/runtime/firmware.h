/*
 * firmware.h - the controller: one struct, fed with bytes and with control periods.
 *
 * firmware_poll() takes what came over the line, firmware_tick() runs one control period. Both watch the clock, so
 * the watchdog needs either of them to be called. Safety is owned here and not by the host: whatever the host does or
 * fails to do, torque is on in RUN and HOLD only, and both end by themselves.
 */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdint.h>

#include "adaptation.h"
#include "bridge.h"
#include "episode.h"
#include "params.h"
#include "protocol.h"
#include "safety.h"

/* What the host asked while a control period was near, answered behind it. */
struct question {
    uint8_t type; /* enum protocol_message; 0: none */
    uint8_t fields[LENGTH_PARAMS_READ - PROTOCOL_HEADER_LENGTH];
    uint16_t tick;
    uint32_t asked_us;
    uint32_t received_us;
};

struct firmware {
    struct bridge_receiver receiver;
    struct params params;
    struct episode episode;
#ifndef POLICY_FROZEN
    struct adaptation adaptation; /* of an adaptation that needs no host (alone.h) */
    uint32_t first_episode; /* of it */
#endif
    uint8_t progress;       /* enum protocol_progress */
    uint8_t made;           /* the candidate is the base and the steps ordered since */
    uint8_t unreported;     /* the host has not heard what the operator made of the last episode */

    uint8_t state;      /* enum protocol_state */
    uint8_t fault;      /* enum protocol_fault: the last one */
    uint32_t fault_detail; /* what it is about, see enum protocol_fault */
    uint8_t unfit;      /* enum protocol_fault: why this firmware must not be armed, or FAULT_NONE */
    uint8_t same_schema; /* the host of this session has our table of messages */
    uint8_t link_silent; /* the host has not been heard for ROBOT_RELEASE_US */

    uint8_t hosted; /* the actions of this episode come from the host */
    uint8_t awaits; /* that of this control period has not come yet */

    uint16_t session;       /* 0: none since the start */
    uint16_t hello_sequence; /* of the HELLO that opened it */
    uint16_t last_sequence; /* of the newest command accepted */
    uint16_t sent;          /* sequence of our next message */
    uint16_t alive_tick;    /* newest control period that the host has seen */
    uint32_t heard_us;      /* last accepted message of this session */
    uint32_t alive_us;      /* time that the host is known to have seen: what the watchdog counts from */
    uint32_t first_tick_us; /* time of tick 0 */

    struct msg_ack last_ack; /* repeated when the command comes again */
    uint8_t has_ack;
    struct question owed;

    uint32_t bad_messages; /* intact frames of unknown type or wrong length */
    uint32_t wrong_session;
    uint32_t stale;
    uint32_t watchdog_trips;
    uint32_t overruns;
    uint32_t longest_tick_us;
    uint32_t unsent;
    uint32_t reused; /* hal_devices.reused, as of the last control period */

    const char *board;
    uint32_t firmware_id;
    uint32_t boot_id;
};

/* Checks the build and the policy, actuators safe, torque off; then IDLE, or FAULT. boot_id differs at each start. */
void firmware_init(struct firmware *firmware, const char *board, uint32_t firmware_id, uint32_t boot_id);

/* Behind firmware_init(): the board itself has a reason, `fault`, why it must not be armed until the next start. */
void firmware_unfit(struct firmware *firmware, uint8_t fault);

/* Handles received bytes (a bounded number a call), the watchdog, and what an adaptation does between episodes. */
void firmware_poll(struct firmware *firmware);

/* One control period. */
void firmware_tick(struct firmware *firmware);

/* ---- between firmware.c, commands.c and alone.c ---- */

/* Handles one intact payload. */
void firmware_command(struct firmware *firmware, const uint8_t *payload, size_t length);

/* Header of a message into payload; returns where the fields begin. */
uint8_t *firmware_header(struct firmware *firmware, uint8_t *payload, uint8_t type, uint16_t session);

/* Frames and sends payload up to `end`. */
void firmware_send(struct firmware *firmware, const uint8_t *payload, const uint8_t *end);

/* Begins an episode with the candidate that has been made: to state RUN. */
void firmware_begin_episode(struct firmware *firmware, uint32_t id, uint32_t episode_seed);

/* The action that the running episode waited for. */
void firmware_action(struct firmware *firmware, const int32_t *wanted);

/* Notes a fault, and what it is about. */
void firmware_fault(struct firmware *firmware, uint8_t fault, uint32_t detail);

/* To a state without torque: actuators safe, power stage off. */
void firmware_release(struct firmware *firmware, uint8_t state);

/* Ends the running episode and goes to `state`; tells the host why. */
void firmware_end_episode(struct firmware *firmware, uint8_t state, uint8_t reason);

#endif
