/*
 * protocol.h - the messages between host and controller.
 * Rendered from esmaml_robot/bridge/messages.py (python -m firmware_export.protocol_header); change that file, not this one.
 *
 * A payload is a header and the fields of its type, little endian, packed, of exactly one length. The functions below
 * put and get byte by byte, so neither alignment nor byte order nor padding of the controller matters.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdint.h>
#include <string.h>

#include "robot_model.h"

#define PROTOCOL_MAJOR 1
#define PROTOCOL_MINOR 0
#define PROTOCOL_SCHEMA_HASH 0x7B83708AUL
#define PROTOCOL_MAX_PAYLOAD 250
#define PROTOCOL_CHUNK_FLOATS 16

#define MSG_HELLO 0x01 /* to controller: Opens a session: the number in the header; 0 only asks. */
#define MSG_HELLO_REPLY 0x02 /* to host: Who the controller is. */
#define MSG_ACK 0x03 /* to host: Answer to a command. */
#define MSG_STATUS 0x04 /* to controller: Asks for STATUS_REPLY. Does not feed the watchdog. */
#define MSG_STATUS_REPLY 0x05 /* to host: State and counters since the start. */
#define MSG_READ 0x06 /* to controller: Asks for READINGS. Does not feed the watchdog. */
#define MSG_READINGS 0x07 /* to host: What the pins say now, in any state. */
#define MSG_PARAMS_BEGIN 0x10 /* to controller: Announces parameters; the base stays until PARAMS_END. */
#define MSG_PARAMS_CHUNK 0x11 /* to controller: Some of the parameters, in order. */
#define MSG_PARAMS_END 0x12 /* to controller: Takes the parameters as base if all came and the CRC fits. */
#define MSG_COMMIT 0x13 /* to controller: base += sigma * direction, refused unless the result has this CRC. */
#define MSG_SELFTEST 0x14 /* to controller: Replays the policy's test vectors; detail: largest error as bits. */
#define MSG_PARAMS_READ 0x15 /* to controller: Asks for PARAMS_VALUES: some of the base parameters. */
#define MSG_PARAMS_VALUES 0x16 /* to host: Some of the base parameters. */
#define MSG_PARAMS_STORE 0x17 /* to controller: Keeps the base parameters over power off, or forgets those kept. */
#define MSG_ARM 0x20 /* to controller: IDLE to ARMED. */
#define MSG_DISARM 0x21 /* to controller: To IDLE, unless in ESTOP; ends an episode, acknowledges a fault. */
#define MSG_RUN 0x22 /* to controller: Runs one episode on the controller. Starts the watchdog. */
#define MSG_KEEP_ALIVE 0x23 /* to controller: The only message that feeds the watchdog during an episode. */
#define MSG_STOP 0x24 /* to controller: Ends the episode; the controller stays armed. */
#define MSG_ESTOP 0x25 /* to controller: Emergency stop: any session, any state, latched. */
#define MSG_CLEAR_ESTOP 0x26 /* to controller: ESTOP to IDLE. */
#define MSG_ADAPT 0x27 /* to controller: An operator from the base, on the controller alone: needs no host. */
#define MSG_RUN_HOSTED 0x28 /* to controller: Runs one episode whose actions come from the host. */
#define MSG_ACTION 0x29 /* to controller: A motion command. Feeds the watchdog, if it is the one waited for. */
#define MSG_PAUSE 0x2A /* to controller: Drops the running episode of ADAPT; no torque until RESUME. */
#define MSG_RESUME 0x2B /* to controller: Goes on with ADAPT, with the same episode. */
#define MSG_PROGRESS 0x2C /* to controller: Asks for ADAPTATION. Does not feed the watchdog. */
#define MSG_TELEMETRY 0x30 /* to host: One control period of an episode. */
#define MSG_EPISODE_END 0x31 /* to host: The last message of an episode; t_us is the time of its end. */
#define MSG_SENSED 0x33 /* to host: Asks for the ACTION of a control period that has begun. */
#define MSG_ADAPTATION 0x32 /* to host: After each episode of ADAPT, when that ends, and as answer to PROGRESS. */

/* length of each payload in bytes, header included */
#define PROTOCOL_HEADER_LENGTH 9
#define LENGTH_HELLO (15)
#define LENGTH_HELLO_REPLY (76)
#define LENGTH_ACK (17)
#define LENGTH_STATUS (9)
#define LENGTH_STATUS_REPLY (63)
#define LENGTH_READ (9)
#define LENGTH_READINGS (10 + 4 * ROBOT_SENSORS + 4 * ROBOT_ACTUATORS)
#define LENGTH_PARAMS_BEGIN (17)
#define LENGTH_PARAMS_CHUNK (78)
#define LENGTH_PARAMS_END (9)
#define LENGTH_COMMIT (21)
#define LENGTH_SELFTEST (9)
#define LENGTH_PARAMS_READ (13)
#define LENGTH_PARAMS_VALUES (78)
#define LENGTH_PARAMS_STORE (10)
#define LENGTH_ARM (9)
#define LENGTH_DISARM (9)
#define LENGTH_RUN (25)
#define LENGTH_KEEP_ALIVE (15)
#define LENGTH_STOP (9)
#define LENGTH_ESTOP (9)
#define LENGTH_CLEAR_ESTOP (9)
#define LENGTH_ADAPT (35)
#define LENGTH_RUN_HOSTED (17)
#define LENGTH_ACTION (15 + 4 * ROBOT_ACTUATORS)
#define LENGTH_PAUSE (9)
#define LENGTH_RESUME (9)
#define LENGTH_PROGRESS (9)
#define LENGTH_TELEMETRY (16 + 4 * ROBOT_SENSORS + 4 * ROBOT_ACTUATORS)
#define LENGTH_EPISODE_END (21)
#define LENGTH_SENSED (15 + 4 * ROBOT_SENSORS)
#define LENGTH_ADAPTATION (27)
/* of those whose length does not depend on the robot */
#define PROTOCOL_LONGEST_FIXED 78

enum protocol_state {
    STATE_BOOT = 0,
    STATE_IDLE = 1,
    STATE_ARMED = 2,
    STATE_RUN = 3,
    STATE_HOLD = 4,
    STATE_FAULT = 5,
    STATE_ESTOP = 6
};

enum protocol_result {
    RESULT_OK = 0,
    RESULT_BUSY = 1,
    RESULT_WRONG_STATE = 2,
    RESULT_NOT_FINITE = 3,
    RESULT_BAD_CRC = 4,
    RESULT_BAD_RANGE = 5,
    RESULT_SELFTEST_FAILED = 6,
    RESULT_OTHER_SCHEMA = 7,
    RESULT_ESTOPPED = 8,
    RESULT_FAULTED = 9,
    RESULT_NOT_STORED = 10,
    RESULT_NO_OPERATOR = 11,
    RESULT_FROZEN = 12
};

enum protocol_reason {
    REASON_COMPLETED = 0,
    REASON_ABORTED = 1,
    REASON_STOPPED = 2,
    REASON_DISARMED = 3,
    REASON_ESTOPPED = 4,
    REASON_WATCHDOG = 5,
    REASON_FAULTED = 6,
    REASON_PAUSED = 7
};

enum protocol_fault {
    FAULT_NONE = 0,
    FAULT_SELFTEST = 1,
    FAULT_OTHER_ROBOT = 2,
    FAULT_WATCHDOG = 3,
    FAULT_NOT_FINITE = 4,
    FAULT_BUS_LOST = 5,
    FAULT_SERVO_ALERT = 6,
    FAULT_SERVO_STOPPED = 7,
    FAULT_SERVO_SETUP = 8,
    FAULT_NOT_WIRED = 9
};

enum protocol_flag {
    FLAG_CLIPPED = 1,
    FLAG_RATE_LIMITED = 2,
    FLAG_HELD = 4,
    FLAG_RELEASED = 8,
    FLAG_FINAL = 16,
    FLAG_LATE = 32,
    FLAG_REUSED = 64
};

enum protocol_operator {
    OPERATOR_HILL_CLIMB = 0,
    OPERATOR_BATCH_HILL_CLIMB = 1,
    OPERATOR_CONFIRMED_HILL_CLIMB = 2,
    OPERATOR_ES_GRADIENT = 3
};

enum protocol_option {
    OPTION_AVERAGE = 1,
    OPTION_ANTITHETIC = 2,
    OPTION_NORMALISE = 4
};

enum protocol_progress {
    PROGRESS_NONE = 0,
    PROGRESS_RUNNING = 1,
    PROGRESS_PAUSED = 2,
    PROGRESS_DONE = 3,
    PROGRESS_ENDED = 4
};

struct protocol_header {
    uint8_t type; /* id of the message */
    uint16_t session; /* number that the host drew at its HELLO; frames of other sessions are dropped */
    uint16_t sequence; /* counts the sender's messages; a repeated command keeps its number */
    uint32_t t_us; /* sender's clock, wraps [us] */
};

struct msg_hello {
    uint8_t protocol_major; /* PROTOCOL_VERSION of the host */
    uint8_t protocol_minor; /* PROTOCOL_VERSION of the host */
    uint32_t schema; /* SCHEMA_HASH of the host */
};

struct msg_hello_reply {
    uint8_t protocol_major; /* PROTOCOL_VERSION of the controller */
    uint8_t protocol_minor; /* PROTOCOL_VERSION of the controller */
    uint32_t schema; /* SCHEMA_HASH of the controller */
    uint8_t board[16]; /* name of the board */
    uint32_t firmware_id; /* hash of the sources the firmware was built from */
    uint32_t boot_id; /* another number after every start */
    uint8_t spec_hash[8]; /* the robot that the firmware was built for */
    uint8_t layout_hash[8]; /* the architecture of its policy */
    uint8_t policy_hash[8]; /* the policy that was compiled in */
    uint8_t state; /* State */
    uint8_t n_sensors; /* sensors in a telemetry record */
    uint8_t n_actuators; /* actuators in a telemetry record */
    uint32_t n_parameters; /* parameters of the policy */
    uint32_t control_period_us; /* control period [us] */
    uint16_t current_session; /* session in force when the HELLO came; 0 for none since the start */
};

struct msg_ack {
    uint8_t acknowledged; /* type of the command */
    uint16_t acknowledged_sequence; /* its sequence */
    uint8_t result; /* Result */
    uint32_t detail; /* see Result */
};

struct msg_status_reply {
    uint8_t state; /* State */
    uint8_t fault; /* Fault, the last one */
    uint32_t fault_detail; /* what it is about, see Fault */
    uint32_t bad_frames; /* frames with a wrong CRC, length or type */
    uint32_t wrong_session; /* frames of another session, dropped */
    uint32_t stale; /* commands that came again or too late, dropped */
    uint32_t watchdog_trips; /* episodes that the first stage of the watchdog ended */
    uint32_t overruns; /* control periods that ended after their deadline */
    uint32_t unsent; /* frames dropped because the line was full */
    uint32_t reused; /* answers missing on the servo bus, for each of which last values were used again */
    uint32_t crc32; /* CRC-32 (zlib) of the base parameters */
    uint32_t longest_tick_us; /* longest computation of a control period; 0 where time is virtual [us] */
    uint16_t stack_bytes; /* deepest stack; 0 where the board does not know [bytes] */
    uint16_t stack_left; /* memory that no stack ever reached; 0 where the board does not know [bytes] */
    uint32_t asked_us; /* t_us of the question [us] */
    uint32_t received_us; /* controller's clock when the question came [us] */
};

struct msg_readings {
    uint8_t state; /* State */
    int32_t sensors[ROBOT_SENSORS]; /* as read now [counts] */
    int32_t actuators[ROBOT_ACTUATORS]; /* as last commanded [counts] */
};

struct msg_params_begin {
    uint32_t count; /* number of parameters */
    uint32_t crc32; /* CRC-32 (zlib) of the parameters as little-endian float32 */
};

struct msg_params_chunk {
    uint32_t offset; /* index of the first */
    uint8_t used; /* how many of the values count */
    float values[16]; /* the parameters */
};

struct msg_commit {
    uint32_t direction_seed; /* seed of the search direction (directions.py) */
    float sigma; /* candidate = base + sigma * direction; 0 is the base itself */
    uint32_t crc32; /* CRC-32 (zlib) of the parameters as little-endian float32 */
};

struct msg_params_read {
    uint32_t offset; /* index of the first */
};

struct msg_params_values {
    uint32_t offset; /* index of the first */
    uint8_t used; /* how many of the values count */
    float values[16]; /* the parameters */
};

struct msg_params_store {
    uint8_t keep; /* 1 to keep, 0 to forget */
};

struct msg_run {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint32_t episode_seed; /* what varies between episodes (start position) */
    uint32_t direction_seed; /* seed of the search direction (directions.py) */
    float sigma; /* candidate = base + sigma * direction; 0 is the base itself */
};

struct msg_keep_alive {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint16_t tick; /* last control period whose telemetry the host has seen [control periods] */
};

struct msg_adapt {
    uint32_t episode_id; /* number of the first episode; the others count up from it */
    uint32_t operator_seed; /* what the operator's directions and episodes are drawn from */
    uint8_t operator_code; /* Operator; it ignores the settings that it does not have */
    uint8_t options; /* Option */
    uint16_t queries; /* episodes or rounds after those of the base */
    uint16_t parallel; /* episodes in a round of batch_hill_climb */
    float sigma; /* standard deviation of a step in each parameter */
    float shrink; /* by which sigma is multiplied with each step taken, in (0, 1] */
    float alpha; /* step size of es_gradient */
};

struct msg_run_hosted {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint32_t episode_seed; /* what varies between episodes (start position) */
};

struct msg_action {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint16_t tick; /* control period that it is for [control periods] */
    int32_t actuators[ROBOT_ACTUATORS]; /* wanted; the controller clips them and limits their rate [counts] */
};

struct msg_telemetry {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint16_t tick; /* control period of the episode, from 0 [control periods] */
    uint8_t flags; /* Flag */
    int32_t sensors[ROBOT_SENSORS]; /* as read at this tick [counts] */
    int32_t actuators[ROBOT_ACTUATORS]; /* as applied from this tick on [counts] */
};

struct msg_episode_end {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint8_t reason; /* Reason */
    uint16_t steps; /* control periods run [control periods] */
    float episode_return; /* sum of rewards */
    uint8_t abort_index; /* 1 + index of the abort condition, or 0 */
};

struct msg_sensed {
    uint32_t episode_id; /* number that the host gave to the episode */
    uint16_t tick; /* control period of the episode, from 0 [control periods] */
    int32_t sensors[ROBOT_SENSORS]; /* as read at this tick [counts] */
};

struct msg_adaptation {
    uint8_t progress; /* Progress */
    uint8_t operator_code; /* Operator */
    uint16_t told; /* episodes that the operator has been told of */
    uint16_t episodes; /* episodes that it takes in all */
    float sigma; /* of the next step */
    float pivot; /* return to beat; of es_gradient, the return of the base */
    uint32_t crc32; /* CRC-32 (zlib) of the parameters as little-endian float32 */
};

static inline uint8_t *put_u8(uint8_t *p, uint8_t value)
{
    p[0] = value;
    return p + 1;
}

static inline uint8_t *put_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value & 0xFFu);
    p[1] = (uint8_t)(value >> 8);
    return p + 2;
}

static inline uint8_t *put_u32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value & 0xFFu);
    p[1] = (uint8_t)((value >> 8) & 0xFFu);
    p[2] = (uint8_t)((value >> 16) & 0xFFu);
    p[3] = (uint8_t)(value >> 24);
    return p + 4;
}

static inline uint8_t *put_i32(uint8_t *p, int32_t value)
{
    return put_u32(p, (uint32_t)value);
}

static inline uint8_t *put_f32(uint8_t *p, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_u32(p, bits);
}

static inline const uint8_t *get_u8(const uint8_t *p, uint8_t *value)
{
    *value = p[0];
    return p + 1;
}

static inline const uint8_t *get_u16(const uint8_t *p, uint16_t *value)
{
    *value = (uint16_t)(p[0] | ((unsigned)p[1] << 8));
    return p + 2;
}

static inline const uint8_t *get_u32(const uint8_t *p, uint32_t *value)
{
    *value = (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
    return p + 4;
}

static inline const uint8_t *get_i32(const uint8_t *p, int32_t *value)
{
    uint32_t bits;
    p = get_u32(p, &bits);
    memcpy(value, &bits, sizeof bits);
    return p;
}

static inline const uint8_t *get_f32(const uint8_t *p, float *value)
{
    uint32_t bits;
    p = get_u32(p, &bits);
    memcpy(value, &bits, sizeof bits);
    return p;
}

/* Header at the start of a payload: both return where the fields begin. */
static inline uint8_t *protocol_header_put(uint8_t *p, const struct protocol_header *header)
{
    p = put_u8(p, header->type);
    p = put_u16(p, header->session);
    p = put_u16(p, header->sequence);
    p = put_u32(p, header->t_us);
    return p;
}

static inline const uint8_t *protocol_header_get(const uint8_t *p, struct protocol_header *header)
{
    p = get_u8(p, &header->type);
    p = get_u16(p, &header->session);
    p = get_u16(p, &header->sequence);
    p = get_u32(p, &header->t_us);
    return p;
}

/* Fields of HELLO, behind the header: both return where the payload ends. */
static inline uint8_t *msg_hello_put(uint8_t *p, const struct msg_hello *m)
{
    p = put_u8(p, m->protocol_major);
    p = put_u8(p, m->protocol_minor);
    p = put_u32(p, m->schema);
    return p;
}

static inline const uint8_t *msg_hello_get(const uint8_t *p, struct msg_hello *m)
{
    p = get_u8(p, &m->protocol_major);
    p = get_u8(p, &m->protocol_minor);
    p = get_u32(p, &m->schema);
    return p;
}

/* Fields of HELLO_REPLY, behind the header: both return where the payload ends. */
static inline uint8_t *msg_hello_reply_put(uint8_t *p, const struct msg_hello_reply *m)
{
    int i;
    p = put_u8(p, m->protocol_major);
    p = put_u8(p, m->protocol_minor);
    p = put_u32(p, m->schema);
    for (i = 0; i < 16; i++) {
        p = put_u8(p, m->board[i]);
    }
    p = put_u32(p, m->firmware_id);
    p = put_u32(p, m->boot_id);
    for (i = 0; i < 8; i++) {
        p = put_u8(p, m->spec_hash[i]);
    }
    for (i = 0; i < 8; i++) {
        p = put_u8(p, m->layout_hash[i]);
    }
    for (i = 0; i < 8; i++) {
        p = put_u8(p, m->policy_hash[i]);
    }
    p = put_u8(p, m->state);
    p = put_u8(p, m->n_sensors);
    p = put_u8(p, m->n_actuators);
    p = put_u32(p, m->n_parameters);
    p = put_u32(p, m->control_period_us);
    p = put_u16(p, m->current_session);
    return p;
}

static inline const uint8_t *msg_hello_reply_get(const uint8_t *p, struct msg_hello_reply *m)
{
    int i;
    p = get_u8(p, &m->protocol_major);
    p = get_u8(p, &m->protocol_minor);
    p = get_u32(p, &m->schema);
    for (i = 0; i < 16; i++) {
        p = get_u8(p, &m->board[i]);
    }
    p = get_u32(p, &m->firmware_id);
    p = get_u32(p, &m->boot_id);
    for (i = 0; i < 8; i++) {
        p = get_u8(p, &m->spec_hash[i]);
    }
    for (i = 0; i < 8; i++) {
        p = get_u8(p, &m->layout_hash[i]);
    }
    for (i = 0; i < 8; i++) {
        p = get_u8(p, &m->policy_hash[i]);
    }
    p = get_u8(p, &m->state);
    p = get_u8(p, &m->n_sensors);
    p = get_u8(p, &m->n_actuators);
    p = get_u32(p, &m->n_parameters);
    p = get_u32(p, &m->control_period_us);
    p = get_u16(p, &m->current_session);
    return p;
}

/* Fields of ACK, behind the header: both return where the payload ends. */
static inline uint8_t *msg_ack_put(uint8_t *p, const struct msg_ack *m)
{
    p = put_u8(p, m->acknowledged);
    p = put_u16(p, m->acknowledged_sequence);
    p = put_u8(p, m->result);
    p = put_u32(p, m->detail);
    return p;
}

static inline const uint8_t *msg_ack_get(const uint8_t *p, struct msg_ack *m)
{
    p = get_u8(p, &m->acknowledged);
    p = get_u16(p, &m->acknowledged_sequence);
    p = get_u8(p, &m->result);
    p = get_u32(p, &m->detail);
    return p;
}

/* Fields of STATUS_REPLY, behind the header: both return where the payload ends. */
static inline uint8_t *msg_status_reply_put(uint8_t *p, const struct msg_status_reply *m)
{
    p = put_u8(p, m->state);
    p = put_u8(p, m->fault);
    p = put_u32(p, m->fault_detail);
    p = put_u32(p, m->bad_frames);
    p = put_u32(p, m->wrong_session);
    p = put_u32(p, m->stale);
    p = put_u32(p, m->watchdog_trips);
    p = put_u32(p, m->overruns);
    p = put_u32(p, m->unsent);
    p = put_u32(p, m->reused);
    p = put_u32(p, m->crc32);
    p = put_u32(p, m->longest_tick_us);
    p = put_u16(p, m->stack_bytes);
    p = put_u16(p, m->stack_left);
    p = put_u32(p, m->asked_us);
    p = put_u32(p, m->received_us);
    return p;
}

static inline const uint8_t *msg_status_reply_get(const uint8_t *p, struct msg_status_reply *m)
{
    p = get_u8(p, &m->state);
    p = get_u8(p, &m->fault);
    p = get_u32(p, &m->fault_detail);
    p = get_u32(p, &m->bad_frames);
    p = get_u32(p, &m->wrong_session);
    p = get_u32(p, &m->stale);
    p = get_u32(p, &m->watchdog_trips);
    p = get_u32(p, &m->overruns);
    p = get_u32(p, &m->unsent);
    p = get_u32(p, &m->reused);
    p = get_u32(p, &m->crc32);
    p = get_u32(p, &m->longest_tick_us);
    p = get_u16(p, &m->stack_bytes);
    p = get_u16(p, &m->stack_left);
    p = get_u32(p, &m->asked_us);
    p = get_u32(p, &m->received_us);
    return p;
}

/* Fields of READINGS, behind the header: both return where the payload ends. */
static inline uint8_t *msg_readings_put(uint8_t *p, const struct msg_readings *m)
{
    int i;
    p = put_u8(p, m->state);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = put_i32(p, m->sensors[i]);
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = put_i32(p, m->actuators[i]);
    }
    return p;
}

static inline const uint8_t *msg_readings_get(const uint8_t *p, struct msg_readings *m)
{
    int i;
    p = get_u8(p, &m->state);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = get_i32(p, &m->sensors[i]);
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = get_i32(p, &m->actuators[i]);
    }
    return p;
}

/* Fields of PARAMS_BEGIN, behind the header: both return where the payload ends. */
static inline uint8_t *msg_params_begin_put(uint8_t *p, const struct msg_params_begin *m)
{
    p = put_u32(p, m->count);
    p = put_u32(p, m->crc32);
    return p;
}

static inline const uint8_t *msg_params_begin_get(const uint8_t *p, struct msg_params_begin *m)
{
    p = get_u32(p, &m->count);
    p = get_u32(p, &m->crc32);
    return p;
}

/* Fields of PARAMS_CHUNK, behind the header: both return where the payload ends. */
static inline uint8_t *msg_params_chunk_put(uint8_t *p, const struct msg_params_chunk *m)
{
    int i;
    p = put_u32(p, m->offset);
    p = put_u8(p, m->used);
    for (i = 0; i < 16; i++) {
        p = put_f32(p, m->values[i]);
    }
    return p;
}

static inline const uint8_t *msg_params_chunk_get(const uint8_t *p, struct msg_params_chunk *m)
{
    int i;
    p = get_u32(p, &m->offset);
    p = get_u8(p, &m->used);
    for (i = 0; i < 16; i++) {
        p = get_f32(p, &m->values[i]);
    }
    return p;
}

/* Fields of COMMIT, behind the header: both return where the payload ends. */
static inline uint8_t *msg_commit_put(uint8_t *p, const struct msg_commit *m)
{
    p = put_u32(p, m->direction_seed);
    p = put_f32(p, m->sigma);
    p = put_u32(p, m->crc32);
    return p;
}

static inline const uint8_t *msg_commit_get(const uint8_t *p, struct msg_commit *m)
{
    p = get_u32(p, &m->direction_seed);
    p = get_f32(p, &m->sigma);
    p = get_u32(p, &m->crc32);
    return p;
}

/* Fields of PARAMS_READ, behind the header: both return where the payload ends. */
static inline uint8_t *msg_params_read_put(uint8_t *p, const struct msg_params_read *m)
{
    p = put_u32(p, m->offset);
    return p;
}

static inline const uint8_t *msg_params_read_get(const uint8_t *p, struct msg_params_read *m)
{
    p = get_u32(p, &m->offset);
    return p;
}

/* Fields of PARAMS_VALUES, behind the header: both return where the payload ends. */
static inline uint8_t *msg_params_values_put(uint8_t *p, const struct msg_params_values *m)
{
    int i;
    p = put_u32(p, m->offset);
    p = put_u8(p, m->used);
    for (i = 0; i < 16; i++) {
        p = put_f32(p, m->values[i]);
    }
    return p;
}

static inline const uint8_t *msg_params_values_get(const uint8_t *p, struct msg_params_values *m)
{
    int i;
    p = get_u32(p, &m->offset);
    p = get_u8(p, &m->used);
    for (i = 0; i < 16; i++) {
        p = get_f32(p, &m->values[i]);
    }
    return p;
}

/* Fields of PARAMS_STORE, behind the header: both return where the payload ends. */
static inline uint8_t *msg_params_store_put(uint8_t *p, const struct msg_params_store *m)
{
    p = put_u8(p, m->keep);
    return p;
}

static inline const uint8_t *msg_params_store_get(const uint8_t *p, struct msg_params_store *m)
{
    p = get_u8(p, &m->keep);
    return p;
}

/* Fields of RUN, behind the header: both return where the payload ends. */
static inline uint8_t *msg_run_put(uint8_t *p, const struct msg_run *m)
{
    p = put_u32(p, m->episode_id);
    p = put_u32(p, m->episode_seed);
    p = put_u32(p, m->direction_seed);
    p = put_f32(p, m->sigma);
    return p;
}

static inline const uint8_t *msg_run_get(const uint8_t *p, struct msg_run *m)
{
    p = get_u32(p, &m->episode_id);
    p = get_u32(p, &m->episode_seed);
    p = get_u32(p, &m->direction_seed);
    p = get_f32(p, &m->sigma);
    return p;
}

/* Fields of KEEP_ALIVE, behind the header: both return where the payload ends. */
static inline uint8_t *msg_keep_alive_put(uint8_t *p, const struct msg_keep_alive *m)
{
    p = put_u32(p, m->episode_id);
    p = put_u16(p, m->tick);
    return p;
}

static inline const uint8_t *msg_keep_alive_get(const uint8_t *p, struct msg_keep_alive *m)
{
    p = get_u32(p, &m->episode_id);
    p = get_u16(p, &m->tick);
    return p;
}

/* Fields of ADAPT, behind the header: both return where the payload ends. */
static inline uint8_t *msg_adapt_put(uint8_t *p, const struct msg_adapt *m)
{
    p = put_u32(p, m->episode_id);
    p = put_u32(p, m->operator_seed);
    p = put_u8(p, m->operator_code);
    p = put_u8(p, m->options);
    p = put_u16(p, m->queries);
    p = put_u16(p, m->parallel);
    p = put_f32(p, m->sigma);
    p = put_f32(p, m->shrink);
    p = put_f32(p, m->alpha);
    return p;
}

static inline const uint8_t *msg_adapt_get(const uint8_t *p, struct msg_adapt *m)
{
    p = get_u32(p, &m->episode_id);
    p = get_u32(p, &m->operator_seed);
    p = get_u8(p, &m->operator_code);
    p = get_u8(p, &m->options);
    p = get_u16(p, &m->queries);
    p = get_u16(p, &m->parallel);
    p = get_f32(p, &m->sigma);
    p = get_f32(p, &m->shrink);
    p = get_f32(p, &m->alpha);
    return p;
}

/* Fields of RUN_HOSTED, behind the header: both return where the payload ends. */
static inline uint8_t *msg_run_hosted_put(uint8_t *p, const struct msg_run_hosted *m)
{
    p = put_u32(p, m->episode_id);
    p = put_u32(p, m->episode_seed);
    return p;
}

static inline const uint8_t *msg_run_hosted_get(const uint8_t *p, struct msg_run_hosted *m)
{
    p = get_u32(p, &m->episode_id);
    p = get_u32(p, &m->episode_seed);
    return p;
}

/* Fields of ACTION, behind the header: both return where the payload ends. */
static inline uint8_t *msg_action_put(uint8_t *p, const struct msg_action *m)
{
    int i;
    p = put_u32(p, m->episode_id);
    p = put_u16(p, m->tick);
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = put_i32(p, m->actuators[i]);
    }
    return p;
}

static inline const uint8_t *msg_action_get(const uint8_t *p, struct msg_action *m)
{
    int i;
    p = get_u32(p, &m->episode_id);
    p = get_u16(p, &m->tick);
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = get_i32(p, &m->actuators[i]);
    }
    return p;
}

/* Fields of TELEMETRY, behind the header: both return where the payload ends. */
static inline uint8_t *msg_telemetry_put(uint8_t *p, const struct msg_telemetry *m)
{
    int i;
    p = put_u32(p, m->episode_id);
    p = put_u16(p, m->tick);
    p = put_u8(p, m->flags);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = put_i32(p, m->sensors[i]);
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = put_i32(p, m->actuators[i]);
    }
    return p;
}

static inline const uint8_t *msg_telemetry_get(const uint8_t *p, struct msg_telemetry *m)
{
    int i;
    p = get_u32(p, &m->episode_id);
    p = get_u16(p, &m->tick);
    p = get_u8(p, &m->flags);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = get_i32(p, &m->sensors[i]);
    }
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = get_i32(p, &m->actuators[i]);
    }
    return p;
}

/* Fields of EPISODE_END, behind the header: both return where the payload ends. */
static inline uint8_t *msg_episode_end_put(uint8_t *p, const struct msg_episode_end *m)
{
    p = put_u32(p, m->episode_id);
    p = put_u8(p, m->reason);
    p = put_u16(p, m->steps);
    p = put_f32(p, m->episode_return);
    p = put_u8(p, m->abort_index);
    return p;
}

static inline const uint8_t *msg_episode_end_get(const uint8_t *p, struct msg_episode_end *m)
{
    p = get_u32(p, &m->episode_id);
    p = get_u8(p, &m->reason);
    p = get_u16(p, &m->steps);
    p = get_f32(p, &m->episode_return);
    p = get_u8(p, &m->abort_index);
    return p;
}

/* Fields of SENSED, behind the header: both return where the payload ends. */
static inline uint8_t *msg_sensed_put(uint8_t *p, const struct msg_sensed *m)
{
    int i;
    p = put_u32(p, m->episode_id);
    p = put_u16(p, m->tick);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = put_i32(p, m->sensors[i]);
    }
    return p;
}

static inline const uint8_t *msg_sensed_get(const uint8_t *p, struct msg_sensed *m)
{
    int i;
    p = get_u32(p, &m->episode_id);
    p = get_u16(p, &m->tick);
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = get_i32(p, &m->sensors[i]);
    }
    return p;
}

/* Fields of ADAPTATION, behind the header: both return where the payload ends. */
static inline uint8_t *msg_adaptation_put(uint8_t *p, const struct msg_adaptation *m)
{
    p = put_u8(p, m->progress);
    p = put_u8(p, m->operator_code);
    p = put_u16(p, m->told);
    p = put_u16(p, m->episodes);
    p = put_f32(p, m->sigma);
    p = put_f32(p, m->pivot);
    p = put_u32(p, m->crc32);
    return p;
}

static inline const uint8_t *msg_adaptation_get(const uint8_t *p, struct msg_adaptation *m)
{
    p = get_u8(p, &m->progress);
    p = get_u8(p, &m->operator_code);
    p = get_u16(p, &m->told);
    p = get_u16(p, &m->episodes);
    p = get_f32(p, &m->sigma);
    p = get_f32(p, &m->pivot);
    p = get_u32(p, &m->crc32);
    return p;
}

/* Payload length of a message to the controller; 0 for every other type. */
static inline unsigned protocol_command_length(uint8_t type)
{
    switch (type) {
    case MSG_HELLO: return LENGTH_HELLO;
    case MSG_STATUS: return LENGTH_STATUS;
    case MSG_READ: return LENGTH_READ;
    case MSG_PARAMS_BEGIN: return LENGTH_PARAMS_BEGIN;
    case MSG_PARAMS_CHUNK: return LENGTH_PARAMS_CHUNK;
    case MSG_PARAMS_END: return LENGTH_PARAMS_END;
    case MSG_COMMIT: return LENGTH_COMMIT;
    case MSG_SELFTEST: return LENGTH_SELFTEST;
    case MSG_PARAMS_READ: return LENGTH_PARAMS_READ;
    case MSG_PARAMS_STORE: return LENGTH_PARAMS_STORE;
    case MSG_ARM: return LENGTH_ARM;
    case MSG_DISARM: return LENGTH_DISARM;
    case MSG_RUN: return LENGTH_RUN;
    case MSG_KEEP_ALIVE: return LENGTH_KEEP_ALIVE;
    case MSG_STOP: return LENGTH_STOP;
    case MSG_ESTOP: return LENGTH_ESTOP;
    case MSG_CLEAR_ESTOP: return LENGTH_CLEAR_ESTOP;
    case MSG_ADAPT: return LENGTH_ADAPT;
    case MSG_RUN_HOSTED: return LENGTH_RUN_HOSTED;
    case MSG_ACTION: return LENGTH_ACTION;
    case MSG_PAUSE: return LENGTH_PAUSE;
    case MSG_RESUME: return LENGTH_RESUME;
    case MSG_PROGRESS: return LENGTH_PROGRESS;
    default: return 0;
    }
}

#endif
